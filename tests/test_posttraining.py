"""The objective of post-training in closed form: what it is at the reference, what it ignores, and which way it goes."""

import math
from dataclasses import replace

import numpy as np
import pytest
import stirred
import torch
from torch import Tensor

from worldsim.data.actions import normalise
from worldsim.diffusion.schedule import get_schedule
from worldsim.errors import InvalidInput, UnknownName
from worldsim.posttraining.feedback import Reward, frames_of
from worldsim.posttraining.objective import PostOptions, PostTraining
from worldsim.posttraining.objectives import (
    Preference,
    Steps,
    clip_error,
    dpo_loss,
    group_advantages,
    grpo_loss,
    reward_weights,
    rwr_loss,
    sft_loss,
)
from worldsim.posttraining.sequences import Sequences, after, parted
from worldsim.posttraining.taken import GroupRelative, check_policy, retrace
from worldsim.posttraining.trainable import adapters_off, add_adapters, make_trainable, merge_adapters
from worldsim.simulator import Sampler, VideoWorldModel
from worldsim.training.loss import Diffusion

DIFFUSION = Diffusion(get_schedule("linear"))
GIVEN, FRAMES = 2, 6


def errors(seed: int = 0) -> Tensor:
    return torch.rand((5, FRAMES), generator=torch.Generator().manual_seed(seed))


def mask() -> Tensor:
    return after(GIVEN, 5, FRAMES)


def sequences(versions: int = 1, count: int = 8, seed: int = 0) -> Sequences:
    """Clips of latents; of two versions, the second parts from the first after the given frames."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn((count, FRAMES, 4, 4, 4), generator=generator)
    clips = [first]
    for _ in range(versions - 1):
        other = first.clone()
        other[:, GIVEN:] += torch.randn((count, FRAMES - GIVEN, 4, 4, 4), generator=generator)
        clips.append(other)
    actions = torch.rand((count, FRAMES, 3), generator=generator) * 2 - 1
    return Sequences(torch.stack(clips).half(), actions, after(GIVEN, count, FRAMES), torch.ones(count, FRAMES))


def objective(mode: str, trainable: str = "all", network=None, **options) -> PostTraining:
    network = network or stirred.network()
    reference = make_trainable(network, trainable, rank=2)
    clips = sequences(2 if mode == "dpo" else 1)
    return PostTraining(network, reference, stirred.autoencoder(), clips, DIFFUSION, PostOptions(mode, 4, FRAMES, **options))


def gradient_of(loss: Tensor, network: torch.nn.Module) -> dict[str, Tensor]:
    loss.backward()
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def test_at_the_reference_the_loss_is_log_2_and_nothing_is_preferred():
    same = Preference(errors(0), errors(1), errors(0), errors(1))
    loss, seen = dpo_loss(same, mask(), beta=1234.0)
    assert loss.item() == pytest.approx(math.log(2), abs=1e-7)
    assert seen["rewards/accuracies"] == 0
    assert seen["rewards/margins"] == 0


@pytest.mark.parametrize("trainable", ["all", "lora"])
def test_a_network_that_has_not_moved_is_its_reference(trainable):
    made = objective("dpo", trainable, beta=1000.0)
    loss = made.loss(torch.Generator().manual_seed(1))
    assert loss.item() == pytest.approx(math.log(2), abs=1e-3)  # two copies of the weights may be summed in another order
    assert made.seen["kl_proxy"] < 1e-10


def test_swapping_chosen_and_rejected_flips_the_margin():
    given = Preference(*(errors(seed) for seed in range(4)))
    (_, seen), (_, swapped) = (dpo_loss(each, mask(), beta=10.0) for each in (given, given.swapped()))
    assert seen["rewards/margins"] == -swapped["rewards/margins"] != 0
    assert seen["rewards/chosen"] == swapped["rewards/rejected"]


def test_dpo_by_hand():
    row = [torch.tensor([[9.0, 9.0, value, value]]) for value in (0.1, 0.4, 0.2, 0.3)]
    loss, seen = dpo_loss(Preference(*row), after(2, 1, 4), beta=10.0, lambda_sft=0.5)
    margin = -5 * ((0.1 - 0.2) - (0.4 - 0.3))
    assert seen["rewards/margins"].item() == pytest.approx(margin)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-margin)) + 0.05)
    assert seen["winner_error_change"].item() == pytest.approx(-0.1)


def test_regression_with_weight_1_is_finetuning():
    assert rwr_loss(errors(), mask(), torch.ones(5)) == sft_loss(errors(), mask())
    assert rwr_loss(errors(), mask(), torch.zeros(5)) == 0
    each = [objective(mode).loss(torch.Generator().manual_seed(3)) for mode in ("sft", "rwr")]
    assert each[0] == each[1]


def test_a_weight_per_frame_is_a_weight_per_clip_where_all_are_alike():
    weights = torch.rand(5)
    whole, dense = (rwr_loss(errors(), mask(), each) for each in (weights, weights[:, None].expand(-1, FRAMES)))
    torch.testing.assert_close(whole, dense)


def test_frames_that_do_not_count_get_exactly_no_gradient_whatever_they_are():
    given = errors().requires_grad_()
    broken = torch.where(mask(), given, torch.nan)
    for loss in (sft_loss(broken, mask()), rwr_loss(broken, mask(), torch.rand(5))):
        assert loss.isfinite()
    (grad,) = torch.autograd.grad(sft_loss(given, mask()), given)
    assert not grad[:, :GIVEN].any()
    assert grad[:, GIVEN:].all()


def test_a_target_in_the_context_changes_nothing():
    """The same clip but for its first frames' own noise: they are predicted too, and nobody looks."""
    made = objective("sft")
    batch = made.clips.draw(4, FRAMES, torch.Generator().manual_seed(0))
    own, _ = made.residuals(batch, torch.Generator().manual_seed(1))
    (grad,) = torch.autograd.grad(clip_error(own[0].square().mean((2, 3, 4)), batch.mask).sum(), own)
    assert not grad[0, :, :GIVEN].any()
    assert grad[0, :, GIVEN:].any()


@pytest.mark.parametrize("two_streams", [True, False])
def test_future_frames_cannot_change_earlier_errors(two_streams):
    made = objective("sft")
    made.model.two_streams = made.reference._network.two_streams = two_streams
    batch = made.clips.draw(4, FRAMES, torch.Generator().manual_seed(0))
    later = batch.versions.clone()
    later[:, :, 4:] += 1
    each = [made.residuals(replace(batch, versions=v), torch.Generator().manual_seed(1))[0] for v in (batch.versions, later)]
    torch.testing.assert_close(each[0][:, :, :4], each[1][:, :, :4], atol=1e-6, rtol=0)
    assert (each[0] - each[1])[:, :, 4:].abs().max() > 0.1


@pytest.mark.parametrize("trainable", ["all", "lora"])
def test_one_step_lowers_the_loss_on_its_batch(trainable):
    made = objective("dpo", trainable, beta=100.0)
    before = made.loss(torch.Generator().manual_seed(1))
    gradient_of(before, made.model)
    torch.optim.SGD([p for p in made.model.parameters() if p.requires_grad], 1e-3).step()
    assert made.loss(torch.Generator().manual_seed(1)) < before
    assert made.seen["kl_proxy"] > 0
    assert made.seen["rewards/accuracies"] > 0.5


def test_both_sides_and_the_reference_have_the_same_actions_hidden():
    made, asked = objective("dpo", dropout=0.5), []
    made.model.register_forward_hook(lambda module, given, output: asked.append(given))
    made.reference._network.register_forward_hook(lambda module, given, output: asked.append(given))
    made.loss(torch.Generator().manual_seed(1))
    (_, levels, _, known, *_), (_, reference_levels, _, reference_known, *_) = asked
    assert torch.equal(known, reference_known)
    assert torch.equal(levels, reference_levels)
    chosen, rejected = known.chunk(2)
    assert torch.equal(chosen, rejected)
    assert 0 < known[:, 1, 1:].mean() < 1


def test_equal_rewards_give_grpo_no_gradient():
    rewards = torch.full((3, 4), 0.1 + 0.2)
    assert not group_advantages(rewards).any()
    own = torch.zeros(12, FRAMES, requires_grad=True)
    loss, _ = grpo_loss(Steps(own, torch.zeros(12, FRAMES), 0 * own), after(2, 12, FRAMES), group_advantages(rewards).flatten(), 0.2)
    loss.backward()
    assert not own.grad.any()


def test_advantages_by_hand():
    rewards = torch.tensor([[1.0, 2.0, 3.0]])
    torch.testing.assert_close(group_advantages(rewards), torch.tensor([[-1.0, 0.0, 1.0]]) / 1.0001)
    torch.testing.assert_close(group_advantages(rewards, scale_rewards=False), torch.tensor([[-1.0, 0.0, 1.0]]))
    frames = torch.stack([rewards, 3 * rewards.flip(1)], 2)  # [1, 3, 2]: each frame among its own
    expected = torch.stack([group_advantages(each) for each in frames.unbind(2)], 2)
    assert torch.equal(group_advantages(frames), expected)


def test_a_reward_that_all_frames_share_is_the_clips():
    steps = Steps(torch.randn(4, FRAMES), torch.randn(4, FRAMES), torch.rand(4, FRAMES))
    shared = torch.randn(4)
    whole, dense = (grpo_loss(steps, after(2, 4, FRAMES), each, 0.2)[0] for each in (shared, shared[:, None].expand(4, FRAMES)))
    assert whole == dense


def test_rewards_of_frames_are_those_of_the_imagined_ones():
    rewards = [Reward(-1.0, (0.0, -1.0, -2.0)), Reward(-2.0, (0.0, -2.0, -4.0))]
    assert frames_of(rewards, 2, given=2).tolist() == [[[-1.0, -2.0], [-2.0, -4.0]]]
    with pytest.raises(InvalidInput, match="type credit=clip"):
        frames_of([*rewards, Reward(1.0)], 3, given=2)


def test_the_ratio_is_clipped_on_the_side_that_gains():
    own = torch.tensor([[0.0, 0.5]]).log1p()[:, 1:].requires_grad_()  # ratio 1.5
    for advantage, clipped in ((1.0, True), (-1.0, False)):
        loss, _ = grpo_loss(Steps(own, torch.zeros(1, 1), 0 * own), torch.ones(1, 1, dtype=torch.bool), torch.tensor([advantage]), 0.2)
        assert loss.item() == pytest.approx(-1.2 if clipped else 1.5)
        (grad,) = torch.autograd.grad(loss, own)
        assert grad.any() != clipped


def test_weights_of_rewards():
    rewards = torch.tensor([0.0, 1.0])
    assert torch.equal(reward_weights(rewards, "identity", 1.0), rewards)
    torch.testing.assert_close(reward_weights(rewards - 7, "exp", 0.5), torch.tensor([math.exp(-2), 1.0]))
    with pytest.raises(InvalidInput, match="type weighting=exp"):
        reward_weights(rewards - 1, "identity", 1.0)


def test_two_versions_part_where_they_first_differ():
    first, second = torch.zeros(1, 5, 2, 2, 1), torch.zeros(1, 5, 2, 2, 1)
    second[0, 3, 0, 0] = 1
    assert parted(first, second, 1).tolist() == [[False, False, False, True, True]]
    assert parted(first, second, 4).tolist() == [[False] * 5]


def test_every_window_has_a_frame_that_counts_and_a_past():
    clips = sequences(count=3)
    for seed in range(20):
        batch = clips.draw(6, 3, torch.Generator().manual_seed(seed))
        assert batch.mask.any(1).all()
        assert not batch.mask[:, 0].any()
        assert batch.versions.shape == (1, 6, 3, 4, 4, 4)


def test_merged_adapters_are_an_ordinary_network():
    net, plain = stirred.network(), stirred.network()
    add_adapters(net, 2, seed=0)
    x, levels, actions, known = torch.randn(1, 2, 5, 4, 4, 4), torch.rand(1, 2, 5), torch.rand(1, 5, 3), torch.ones(1, 2, 5)
    with torch.no_grad():
        torch.testing.assert_close(net(x, levels, actions, known), plain(x, levels, actions, known), atol=1e-5, rtol=1e-5)
        for name, parameter in net.named_parameters():
            if "lora_" in name:
                parameter.add_(0.1)
        moved = net(x, levels, actions, known)
        with adapters_off(net):
            torch.testing.assert_close(net(x, levels, actions, known), plain(x, levels, actions, known), atol=1e-5, rtol=1e-5)
        merged = merge_adapters(net)
        torch.testing.assert_close(merged(x, levels, actions, known), moved, atol=1e-4, rtol=1e-4)
    assert (moved - plain(x, levels, actions, known)).abs().max() > 1e-3
    assert merged.state_dict().keys() == plain.state_dict().keys()
    assert all(parameter.requires_grad for parameter in merged.parameters())


def test_parts_that_are_not_there_cannot_be_trained():
    with pytest.raises(InvalidInput, match="no parameters for trainable=encoder_head"):
        make_trainable(stirred.network(), "encoder_head")
    with pytest.raises(UnknownName, match='did you mean "lora"'):
        make_trainable(stirred.network(), "lorra")


def grouped(**options) -> tuple[GroupRelative, VideoWorldModel]:
    """Rollouts of the stirred world with ancestral noise, and the objective on their steps."""
    world = stirred.world_model(steps=3, eta=1.0)
    seeds, led = np.arange(4), stirred.actions(4, FRAMES - 1)
    state = world.start(stirred.pictures(4), seeds)
    latents = [state.latest]
    for action in led:
        state, _ = world.step(state, action)
        latents.append(state.latest)
    into = np.concatenate([np.zeros((1, 4, 3), np.float32), normalise(led, stirred.ACTION)]).swapaxes(0, 1)
    advantages = torch.tensor([1.0, -1.0, 0.5, -0.5])
    latents = torch.stack(latents, 1)
    taken = retrace(world.network, world.sampler, latents, torch.from_numpy(into), seeds.tolist(), 1, advantages)
    torch.testing.assert_close(taken.path[-1][:, 1:], latents[:, 1:], atol=2e-4, rtol=1e-3)
    reference = make_trainable(world.network, "all")
    made = GroupRelative(world.network, reference, world.autoencoder, taken, DIFFUSION, PostOptions("grpo", 4, FRAMES, **options))
    made.sampler = world.sampler
    return made, world


def test_steps_are_retraced_from_latents_and_seed_alone():
    """The last point of the path is the rollout itself (asserted above), and at first every ratio is 1."""
    made, _ = grouped(beta=1.0)
    loss = made.loss(torch.Generator().manual_seed(0))
    assert made.seen["kl"] < 1e-10
    assert abs(loss.item()) < 2  # minus the mean advantage of the batch
    assert any(grad.any() for grad in gradient_of(loss, made.model).values())


def test_a_step_of_grpo_lowers_its_loss():
    made, _ = grouped(beta=0.0, epsilon=0.5)
    before = made.loss(torch.Generator().manual_seed(0))
    gradient_of(before, made.model)
    torch.optim.SGD(made.model.parameters(), 1e-3).step()
    assert made.loss(torch.Generator().manual_seed(0)) < before


@pytest.mark.parametrize("sampler", [{"steps": 2}, {"steps": 1, "eta": 1.0}, {"steps": 2, "eta": 1.0, "guidance": 2.0}])
def test_samplers_without_a_policy_are_refused(sampler):
    with pytest.raises(InvalidInput, match="type mode=rwr"):
        check_policy(stirred.network(), Sampler(**sampler))
