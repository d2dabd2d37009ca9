"""A game without its page: what is pressed, moments that can be gone back to, the truth beside them, policies, tuning, recordings."""

import threading
from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from played import PRESSED, Same, pressed_game, robot_game, tiny_model, toy_game
from tiny import ACTION, Slide
from toy import next_frame

from worldsim.data.csgo_actions import NAMES, Press, decode
from worldsim.data.trajectory_file import read_trajectory
from worldsim.errors import InvalidInput, UnknownName, WorldsimError
from worldsim.playing.controls import Command, controls_of
from worldsim.playing.errands import Errands
from worldsim.playing.recording import record
from worldsim.playing.tuning import Tuning
from worldsim.simulator import denoising_frames
from worldsim.types import ActionSpec

RIGHT, LEFT = Command({"x": 1.0}), Command({"x": -0.5, "z": 0.25})


def walk(game, commands, at=None):
    """The moments that commands lead to, from `at` or the latest one."""
    made = [game.latest if at is None else game.story.moment(at)]
    for command in commands:
        made.append(game.step(made[-1].id, command=command))
    return made[1:]


# --- what is pressed ---

GRIPPED = ActionSpec(("x", "turn", "grip"), (-1.0, 0.5, 0.0), (2.0, 1.5, 1.0), 5.0, gripper="absolute")


@pytest.mark.parametrize(
    ("push", "expected"),
    [
        ({}, [0, 0.5, 1]),  # at rest: the legal value nearest to zero; a gripper is open
        ({"x": 1}, [2, 0.5, 1]),
        ({"x": -1}, [-1, 0.5, 1]),
        ({"x": 0.5}, [1, 0.5, 1]),
        ({"turn": 1, "grip": -1}, [0, 1.5, 0]),
        ({"turn": -1, "grip": 0}, [0, 0.5, 0.5]),
    ],
)
def test_a_push_goes_from_rest_to_the_bounds_of_the_model(push, expected):
    assert controls_of(GRIPPED).action(Command(push)).tolist() == expected


def test_a_gripper_that_closes_at_one_is_open_at_zero():
    assert controls_of(replace(GRIPPED, gripper="absolute_closed")).action(Command()).tolist() == [0, 0.5, 0]


@pytest.mark.parametrize(
    ("spec", "command", "words"),
    [
        (ACTION, Command({"q": 1.0}), 'no component "q"'),
        (ACTION, Command({"x": 1.5}), "from -1 to 1"),
        (ACTION, Command({"x": float("nan")}), "from -1 to 1"),
        (PRESSED, Command({"x": 1.0}), "driven by keys and mouse"),
        (PRESSED, Command(press=Press(keys=("q",))), 'unknown key "q"'),
        (PRESSED, Command(press=Press(mouse_x=float("inf"))), "number of pixels"),
    ],
)
def test_what_cannot_be_pressed_is_refused_in_one_line(spec, command, words):
    with pytest.raises(WorldsimError, match=words) as refusal:
        controls_of(spec).action(command)
    assert "\n" not in str(refusal.value)


def test_a_world_of_51_numbers_is_driven_by_keys_and_mouse():
    press = Press(("w", "space"), ("left",), 33, -5)
    action = controls_of(PRESSED).action(Command(press=press))
    assert decode(action) == Press(("w", "space"), ("left",), 30.0, -4.0)  # snapped to the steps that a mouse may take
    assert controls_of(PRESSED).describe()["kind"] == "presses"
    (moment,) = walk(pressed_game(), [Command(press=press)])
    assert {name for name, value in zip(NAMES, moment.action, strict=True) if value} == {
        "key_w",
        "key_space",
        "click_left",
        "mouse_x_30",
        "mouse_y_-4",
    }


# --- frames ---


def test_a_game_is_what_the_world_model_makes_of_the_same_actions():
    game, model = robot_game(seed=7), tiny_model()
    made = walk(game, [RIGHT, LEFT, RIGHT])
    state = model.start(game.task.starts[0].frames[None], np.array([7]))
    for moment in made:
        state, frames = model.step(state, moment.action[None])
        assert np.array_equal(frames[0], moment.frame)


def test_rewound_and_branched_frames_are_bit_identical():
    game = robot_game()
    first = walk(game, [RIGHT, LEFT, RIGHT, RIGHT, LEFT, LEFT, RIGHT])
    other = walk(game, [LEFT, LEFT], at=first[2].id)  # a branch of its own, and the longer line stays as it was
    again = walk(game, [RIGHT, LEFT, LEFT, RIGHT], at=first[2].id)
    for before, after in zip(first[3:], again, strict=True):
        assert np.array_equal(before.frame, after.frame)
        assert np.array_equal(before.truth.frame, after.truth.frame)
        assert before.id != after.id
    assert not np.array_equal(other[0].frame, first[3].frame)
    anew = game.begin(0, 0)
    for before, after in zip(first, walk(game, [RIGHT, LEFT, RIGHT, RIGHT, LEFT, LEFT, RIGHT], at=anew.id), strict=True):
        assert np.array_equal(before.frame, after.frame)


def test_another_seed_is_another_dream_and_the_next_start_another_place():
    game = robot_game()
    (one,) = walk(game, [RIGHT])
    (two,) = walk(game, [RIGHT], at=game.begin(0, 1).id)
    assert not np.array_equal(one.frame, two.frame)
    assert [game.begin().number for _ in range(3)] == [1, 2, 0]
    assert game.latest.seed == 1
    with pytest.raises(UnknownName, match="starts 0 to 2, not 3"):
        game.begin(3)


def test_the_true_world_is_led_along_whichever_branch_is_played():
    game = robot_game()
    first = walk(game, [RIGHT, RIGHT])
    side = walk(game, [LEFT, RIGHT], at=first[0].id)
    for line in (first, side):
        truth = Slide()
        frames, states = truth.reset([game.task.starts[0]]), truth.states()
        for moment in game.story.line(line[-1].id)[1:]:
            frames, states = truth.step(moment.action[None])
        assert np.array_equal(line[-1].truth.frame, frames[0])
        assert line[-1].truth.states["opening"] == states["opening"][0]
    apart = np.abs(first[0].frame.astype(int) - first[0].truth.frame.astype(int)).mean()
    assert first[0].apart == pytest.approx(apart)


def test_a_world_without_anything_to_tune_is_played_too():
    game = toy_game(seed=5)
    begin = game.latest
    (moment,) = walk(game, [Command({"right": 1.0})])
    assert np.array_equal(moment.frame, next_frame(begin.frame, moment.action, 5, 1))
    assert game.tuning is None
    assert game.world.histories == ()
    with pytest.raises(InvalidInput, match="no steps, guidance or history"):
        game.tune(Tuning(1, 1.0, "stream"))
    with pytest.raises(InvalidInput, match="how it came"):
        game.denoising(moment.id)


def test_the_oldest_game_is_forgotten_first_and_the_one_at_play_never():
    game = robot_game(truth=False, most=5)
    begin = game.latest
    walk(game, [RIGHT, RIGHT])
    second = game.begin()
    walk(game, [RIGHT])
    assert len(game.story) == 5
    walk(game, [RIGHT])
    assert len(game.story) == 3
    with pytest.raises(UnknownName, match="not held"):
        game.step(begin.id)
    walk(game, [RIGHT, RIGHT])
    with pytest.raises(InvalidInput, match="all 5 frames"):
        game.step(game.latest.id)
    assert game.story.line(game.latest.id)[0] == second


def test_a_world_that_breaks_says_so_and_can_be_left():
    game = robot_game(truth=False)
    (sound,) = walk(game, [RIGHT])
    broken = game.story.add(replace(sound, id=game.story.new_id(), fault="the picture stood still"))
    with pytest.raises(InvalidInput, match="stood still"):
        game.step(broken.id)
    assert game.step(sound.id).step == 2


# --- policies ---


def test_a_policy_takes_over_is_told_so_once_and_hands_back():
    game = robot_game()
    policy = Same(ACTION)
    game.pilots._loaders = {"same": lambda: policy}
    (mine,) = walk(game, [RIGHT])
    first = game.step(mine.id, "same")
    second = game.step(first.id, "same")
    assert [moment.by for moment in (mine, first, second)] == ["you", "same", "same"]
    assert second.action.tolist() == [0.25] * 3
    assert policy.resets == 1
    back = game.step(second.id, command=LEFT)
    assert back.by == "you"
    game.step(back.id, "same")  # taken over again
    game.step(first.id, "same")  # from an earlier frame
    assert policy.resets == 3
    with pytest.raises(UnknownName, match='no policy "sme"'):
        game.step(back.id, "sme")


# --- tuning ---


def test_steps_and_guidance_change_from_the_next_frame_on():
    game = robot_game(truth=False)
    (before,) = walk(game, [RIGHT])
    game.tune(Tuning(3, 1.5, "stream"))
    (after,) = walk(game, [LEFT])
    model = tiny_model().resampled(steps=3, guidance=1.5)
    _, frames = model.step(before.state.inner, after.action[None])
    assert np.array_equal(frames[0], after.frame)
    game.tune(before.tuning)
    again = game.step(before.id, command=LEFT)
    plain = tiny_model().step(before.state.inner, again.action[None])[1][0]
    assert np.array_equal(again.frame, plain)


@pytest.mark.parametrize("history", ["block", "window", "recompute"])
def test_another_history_mode_goes_on_from_the_newest_frames(history):
    game = robot_game(truth=False)
    assert history in game.world.histories
    made = walk(game, [RIGHT] * 6)
    game.tune(replace(game.tuning, history=history))
    (after,) = walk(game, [LEFT])
    (later,) = walk(game, [LEFT])
    model = tiny_model().resampled(history=history)
    frames = np.stack([moment.frame for moment in made[-model.network.window :]])
    actions = np.stack([moment.action for moment in made[-model.network.window + 1 :]])
    state = model.start(frames[None], np.array([0]), actions[None])
    for moment in (after, later):
        state, frames = model.step(state, moment.action[None])
        assert np.array_equal(frames[0], moment.frame)
    assert np.array_equal(game.step(made[-1].id, command=LEFT).frame, after.frame)


@pytest.mark.parametrize("tuning", [Tuning(0, 1.0, "stream"), Tuning(1, -1.0, "stream"), Tuning(1, 1.0, "river")])
def test_a_tuning_that_cannot_be_changes_nothing(tuning):
    game = robot_game(truth=False)
    with pytest.raises(WorldsimError):
        game.tune(tuning)
    assert game.tuning == Tuning(2, 1.0, "stream")


def test_a_frame_out_of_noise_ends_as_it_was_shown():
    game = robot_game(truth=False)
    game.tune(Tuning(4, 1.5, "stream"))
    (moment,) = walk(game, [RIGHT])
    game.tune(Tuning(1, 1.0, "stream"))  # how the frame was drawn counts, not how the next one will be
    samples, expected = game.denoising(moment.id)
    assert (len(samples), len(expected)) == (5, 4)
    assert np.array_equal(samples[-1], moment.frame)
    assert np.array_equal(expected[-1], moment.frame)  # the last step of deterministic sampling ends at what is expected
    assert not any(np.array_equal(*pair) for pair in pairwise(samples))
    with pytest.raises(InvalidInput, match="was given"):
        game.denoising(0)


def test_pure_noise_is_the_same_whatever_was_done():
    model = tiny_model()
    state = model.start(np.zeros((2, 1, 16, 16, 3), np.uint8), np.array([3, 4]))
    rows = [denoising_frames(model, state, np.full((2, 3), push, np.float32))[0] for push in (-1, 1)]
    assert rows[0].shape == (3, 2, 16, 16, 3)
    assert np.array_equal(rows[0][0], rows[1][0])
    assert not np.array_equal(rows[0][-1], rows[1][-1])
    noise = model.denoiser.noise([3, 4], torch.tensor([1, 1]), 0)
    assert np.array_equal(rows[0][0], model.pixels(noise)[0])


# --- recordings ---


def test_what_is_recorded_is_what_was_played(tmp_path):
    game = robot_game(seed=3)
    made = walk(game, [RIGHT, LEFT])
    made.append(game.step(made[-1].id, "same"))
    walk(game, [LEFT], at=made[0].id)  # a branch that is not recorded
    paths = record(tmp_path, game.story.line(made[-1].id), game.task, game.world.spec)
    imagined, truth = (read_trajectory(path) for path in paths)
    assert [path.parent.name for path in paths] == ["imagined", "truth"]
    assert np.array_equal(imagined.frames[1:], np.stack([moment.frame for moment in made]))
    assert np.array_equal(truth.frames[1:], np.stack([moment.truth.frame for moment in made]))
    assert np.array_equal(imagined.actions, np.stack([moment.action for moment in made]))
    assert np.array_equal(truth.states["opening"], [each.truth.states["opening"] for each in game.story.line(made[-1].id)])
    assert (imagined.seed, imagined.start_id, imagined.task_id) == (3, "0000000", "tiny")
    assert imagined.metadata["by"] == ["you", "you", "same"]
    assert imagined.metadata["sampler"] == [asdict(game.tuning)] * 3
    assert ActionSpec(**truth.metadata["action"]) == ACTION
    assert record(tmp_path, game.story.line(made[-1].id), game.task, game.world.spec) == paths  # once more is not another one
    assert len(list(tmp_path.rglob("*.h5"))) == 2
    with pytest.raises(InvalidInput, match="nothing was played"):
        record(tmp_path, game.story.line(0), game.task, game.world.spec)


def test_a_recording_that_cannot_be_finished_leaves_nothing(tmp_path, monkeypatch):
    game = robot_game(truth=False)
    walk(game, [RIGHT])
    monkeypatch.setattr("os.fsync", lambda file: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        record(tmp_path, game.story.line(1), game.task, game.world.spec)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


# --- errands ---


def test_errands_are_made_in_one_thread_and_none_is_left_waiting():
    errands, found = Errands(), []
    worker = threading.Thread(target=errands.run)
    worker.start()
    assert errands.ask(threading.get_ident) == worker.ident
    with pytest.raises(ZeroDivisionError):
        errands.ask(lambda: 1 / 0)
    gate, begun = threading.Event(), threading.Event()

    def wait(call):
        try:
            found.append(errands.ask(call))
        except WorldsimError as error:
            found.append(str(error))

    askers = [threading.Thread(target=wait, args=(lambda: (begun.set(), gate.wait(20)),))]
    askers[0].start()
    assert begun.wait(20)
    errands.stop()
    askers.append(threading.Thread(target=wait, args=(lambda: "too late",)))
    askers[1].start()
    gate.set()
    for thread in (*askers, worker):
        thread.join(20)
        assert not thread.is_alive()
    assert "too late" not in found
    with pytest.raises(WorldsimError, match="ending"):
        errands.ask(lambda: 1)
