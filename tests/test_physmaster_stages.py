"""PhysMaster's stages on a network with an encoder: what each trains, what the reference is, and that rollouts are learned from with it."""

from dataclasses import replace

import numpy as np
import pytest
import stirred
import torch
from test_physics_encoder import with_encoder
from test_posttraining import DIFFUSION, FRAMES, gradient_of, sequences
from test_training import assert_equal, tensors_of

from worldsim.data.actions import normalise
from worldsim.posttraining.objective import PostOptions, PostTraining
from worldsim.posttraining.taken import GroupRelative, retrace
from worldsim.posttraining.trainable import make_trainable, merge_adapters
from worldsim.simulator import Sampler, VideoWorldModel
from worldsim.training.loop import LoopConfig, train


def objective(mode: str, trainable: str, net=None) -> PostTraining:
    net = net or with_encoder()
    clips = sequences(2 if mode == "dpo" else 1)
    reference = make_trainable(net, trainable, rank=2)
    return PostTraining(net, reference, stirred.autoencoder(), clips, DIFFUSION, PostOptions(mode, 4, FRAMES, beta=100.0))


def moved(made: PostTraining, path) -> set[str]:
    """The parts of which a parameter moves in two steps."""
    before = tensors_of(made.model)
    train(made, LoopConfig(path, iterations=2, learning_rate=1e-2, average=0.0))
    return {name for name, tensor in merge_adapters(made.model).state_dict().items() if not torch.equal(tensor, before.get(name, tensor))}


def test_in_stage_three_the_gradient_is_on_the_head_and_on_nothing_else():
    made = objective("dpo", "encoder_head")
    found = gradient_of(made.loss(torch.Generator().manual_seed(0)), made.model)
    assert set(found) == {f"encoder.head.{name}" for name, _ in made.model.encoder.head.named_parameters()}
    assert all(gradient.any() for gradient in found.values())


def test_the_reference_of_stage_three_keeps_its_own_head(tmp_path):
    """After a step the two say different things of one picture."""
    made = objective("dpo", "encoder_head")
    names = moved(made, tmp_path)
    assert names
    assert all(name.startswith("encoder.head.") for name in names)
    pictures = torch.rand(1, 32, 32, 3)
    own, old = (each.context_for(pictures, pictures)["physics"] for each in (made.model, made.reference))
    assert not torch.equal(own, old)
    assert torch.equal(old, with_encoder().context_for(pictures, pictures)["physics"])


def test_stage_two_adapts_what_predicts_frames_and_leaves_the_encoder(tmp_path):
    made = objective("dpo", "lora")
    before = tensors_of(made.model.encoder)
    train(made, LoopConfig(tmp_path, iterations=2, learning_rate=1e-2, average=0.0))
    assert_equal(tensors_of(made.model.encoder), before)
    assert any("lora_" in name for name, _ in made.model.named_parameters())
    assert_equal(tensors_of(merge_adapters(made.model).encoder), before)


@pytest.mark.parametrize("fresh", [True, False])
def test_stage_one_trains_everything_from_a_fresh_encoder_too(tmp_path, fresh):
    names = {name.split(".")[0] for name in moved(objective("sft", "all", with_encoder(trained=not fresh)), tmp_path)}
    assert {"encoder", "enter", "middle"} <= names


def test_steps_are_retraced_with_what_the_encoder_said():
    """The retraced path ends at the rollout; told of other pictures it would not."""
    world = VideoWorldModel(stirred.SPEC, with_encoder(), stirred.autoencoder(), Sampler(steps=3, eta=1.0))
    seeds, led = np.arange(2), stirred.actions(2, FRAMES - 1)
    state = world.start(stirred.pictures(2), seeds)
    latents = [state.latest]
    for action in led:
        state, _ = world.step(state, action)
        latents.append(state.latest)
    into = torch.from_numpy(np.concatenate([np.zeros((1, 2, 3), np.float32), normalise(led, stirred.ACTION)]).swapaxes(0, 1))
    advantages, path = torch.tensor([1.0, -1.0]), torch.stack(latents, 1)
    given = (world.network, world.sampler, path, into, seeds.tolist(), 1, advantages)
    taken = retrace(*given, context=state.context)
    torch.testing.assert_close(taken.path[-1][:, 1:], path[:, 1:], atol=2e-4, rtol=1e-3)
    swapped = retrace(*given, context={"physics": state.context["physics"].flip(0)})
    assert (swapped.path[-1][:, 1:] - path[:, 1:]).abs().max() > 1e-2
    reference = make_trainable(world.network, "encoder_head")
    made = GroupRelative(world.network, reference, world.autoencoder, replace(taken), DIFFUSION, PostOptions("grpo", 2, FRAMES))
    made.sampler = world.sampler
    assert made.loss(torch.Generator().manual_seed(0)).isfinite()
