"""The training loop: stopped and started again it ends in the same bits, and it does learn."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from conftest import run_in_two_processes
from safetensors.torch import load_file
from tiny import LATENT, SolidClips, noise, tiny_networks, tiny_text
from torch import Tensor

import artv_cli.train.checkpoint as checkpoint
import artv_cli.train.loop as loop
from artv_cli.diffusion.schedule import Schedule
from artv_cli.errors import ArtvError, Interrupted, StorageError, UsageError
from artv_cli.train.examples import Drops
from artv_cli.train.learner import Learner
from artv_cli.train.loop import Trainer
from artv_cli.train.progress import Row
from artv_cli.train.recipe import Recipe

STEPS, BATCH = 4, 2
RECIPE = Recipe(
    samples=STEPS * BATCH,
    batch_size=BATCH,
    learning_rate=1e-3,
    warmup=2,
    decay_share=0.5,
    bfloat16=False,  # slow where a processor has no such arithmetic
    drops=Drops(key_frames=0.2),
)


def learner(seed: int = 0) -> Learner:
    torch.manual_seed(seed)
    return Learner(tiny_networks(), tiny_text())


def clips(frames: int = 4) -> SolidClips:
    made = SolidClips()
    made.clips = [noise(frames, *LATENT, seed=seed) for seed in range(2)]
    return made


def trainer(
    folder: Path, recipe: Recipe = RECIPE, data: SolidClips | None = None, **how: Any
) -> Trainer:
    return Trainer(learner(**how), data or clips(), Schedule.scaled_linear(), recipe, folder)


def quiet(row: Row) -> None:
    """Report nothing."""


def state(trained: Trainer) -> dict[str, Tensor]:
    """Return all that the next step depends on."""
    tensors = {"step": torch.tensor(trained.step)}
    for name, parameter in trained.learner.named_parameters():
        tensors[f"weights {name}"] = parameter.detach()
        tensors[f"average {name}"] = trained.average.weights[name]
        tensors |= {
            f"{moment} {name}": value
            for moment, value in trained.optimizer.state[parameter].items()
        }
    return tensors


def assert_same(one: Trainer, other: Trainer) -> None:
    ours, theirs = state(one), state(other)
    assert ours.keys() == theirs.keys()
    assert not [name for name in ours if not torch.equal(ours[name], theirs[name])]


# ---------------------------------------------------------------- resuming


@pytest.mark.parametrize("bfloat16", [True, False])
def test_a_training_that_was_stopped_is_the_same_to_the_bit(tmp_path: Path, bfloat16: bool) -> None:
    recipe = replace(RECIPE, bfloat16=bfloat16)
    whole = trainer(tmp_path / "whole", recipe)
    whole.run(report=quiet)

    folder = tmp_path / "stopped"
    for seed, steps in ((0, 1), (7, 1), (8, 2)):  # other weights at each start, until loaded
        part = trainer(folder, recipe, seed=seed)
        for _ in range(steps):
            part.train_step()
        part.save()
    resumed = trainer(folder, recipe, seed=9)
    assert resumed.step == whole.step == STEPS
    assert_same(resumed, whole)


def test_a_killed_training_goes_on_from_its_last_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trainer(tmp_path / "whole")
    whole.run(report=quiet)

    killed = trainer(tmp_path / "killed", replace(RECIPE, checkpoint_seconds=0.0))
    step = killed.train_step

    def die_at_3() -> Tensor:
        if killed.step == 3:
            raise KeyboardInterrupt
        return step()

    monkeypatch.setattr(killed, "train_step", die_at_3)
    with pytest.raises(KeyboardInterrupt):
        killed.run(report=quiet)

    resumed = trainer(tmp_path / "killed", seed=9)
    assert resumed.step == 3
    resumed.run(report=quiet)
    assert_same(resumed, whole)


def asked_at(training: Trainer, step: int, times: int = 1) -> None:
    """Have this process interrupted in the middle of a step."""
    whole_step = training.train_step

    def train_step() -> Tensor:
        if training.step == step - 1:
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGTERM)
        return whole_step()

    training.train_step = train_step  # type: ignore[method-assign]


@pytest.mark.usefixtures("signals_of_the_command_line")
def test_asked_to_stop_a_training_saves_the_step_it_is_at(tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole")
    whole.run(report=quiet)

    looked: list[int] = []
    stopped = trainer(tmp_path / "stopped")
    asked_at(stopped, 2)
    with pytest.raises(Interrupted, match="stopped after step 2, which .*state.safetensors holds"):
        stopped.run(report=quiet, after_step=lambda: looked.append(stopped.step))
    assert looked == [1], "what is drawn and measured would keep them waiting"

    resumed = trainer(tmp_path / "stopped", seed=9)
    assert resumed.step == 2
    resumed.run(report=quiet)
    assert_same(resumed, whole)


@pytest.mark.usefixtures("signals_of_the_command_line")
def test_asked_twice_a_training_stops_at_once(tmp_path: Path) -> None:
    training = trainer(tmp_path)
    asked_at(training, 2, times=2)
    with pytest.raises(KeyboardInterrupt) as caught:
        training.run(report=quiet)
    assert caught.type is KeyboardInterrupt
    assert training.step == 1 and not (tmp_path / "state.safetensors").exists()


def test_a_finished_training_does_nothing_more(tmp_path: Path) -> None:
    finished = trainer(tmp_path)
    finished.run(report=quiet)
    again = trainer(tmp_path, seed=9)
    again.run(report=quiet)
    assert again.samples == RECIPE.samples
    assert_same(again, finished)


def test_time_ends_a_run_and_its_state_is_kept(tmp_path: Path) -> None:
    trainer(tmp_path).run(seconds=0.0, report=quiet)
    assert not list(tmp_path.iterdir()), "of no step there is nothing to keep"
    trainer(tmp_path).run(seconds=1e-9, report=quiet)
    assert trainer(tmp_path, seed=9).step == 1


def test_a_state_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = trainer(tmp_path)
    training.train_step()
    training.save()

    def fail(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
        path.write_bytes(b"half a file")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint, "save_file", fail)
    training.train_step()
    with pytest.raises(StorageError, match="No space left"):
        training.save()
    assert trainer(tmp_path, seed=9).step == 1


def test_a_state_is_written_once_for_each_step_that_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    save = loop.save_checkpoint

    def count(*state: Any, **more: Any) -> None:
        written.append(state[4])
        save(*state, **more)

    monkeypatch.setattr(loop, "save_checkpoint", count)
    trainer(tmp_path, replace(RECIPE, checkpoint_seconds=0.0)).run(report=quiet)
    assert written == [1, 2, 3, 4]
    trainer(tmp_path, seed=9).run(report=quiet)
    assert written == [1, 2, 3, 4]


@pytest.mark.parametrize("is_good", [True, False])
@pytest.mark.parametrize(
    "error", [ArtvError("100 clips in a row cannot be read"), OSError(errno.ESTALE, "stale")]
)
def test_what_ends_a_training_early_costs_no_step_that_was_good(
    tmp_path: Path, error: Exception, is_good: bool
) -> None:
    training = trainer(tmp_path)

    def fail() -> None:
        if training.step == 3:
            if not is_good:
                with torch.no_grad():
                    next(training.learner.parameters()).fill_(float("nan"))
            raise error

    with pytest.raises(type(error)) as caught:
        training.run(report=quiet, after_step=fail)
    assert caught.value is error
    assert trainer(tmp_path, seed=9).step == (3 if is_good else 0)


# ---------------------------------------------------------------- steps


def test_each_step_sees_other_examples_and_each_seed_another_training(tmp_path: Path) -> None:
    first, same = trainer(tmp_path / "a"), trainer(tmp_path / "b")
    other = trainer(tmp_path / "c", replace(RECIPE, seed=1))
    losses = [one.train_step()[0] for one in (first, same, other)]
    assert losses[0] == losses[1] != losses[2]
    assert first.train_step()[0] != losses[0]


def test_learning_rate_rises_stays_and_falls_to_nothing(tmp_path: Path) -> None:
    training = trainer(tmp_path, replace(RECIPE, samples=8, batch_size=1))
    rates = []
    while training.samples < training.recipe.samples:
        training.train_step()
        rates.append(training.optimizer.param_groups[0]["lr"] / RECIPE.learning_rate)
    assert rates == pytest.approx([0.5, 1, 1, 1, 1, 0.75, 0.5, 0.25])


def test_one_training_reaches_every_parameter_of_networks_and_text_encoder(tmp_path: Path) -> None:
    training = trainer(tmp_path)
    before = {name: p.detach().clone() for name, p in training.learner.named_parameters()}
    for _ in range(4):
        training.train_step()
    still = [n for n, p in training.learner.named_parameters() if torch.equal(p, before[n])]
    assert not still


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_state(tmp_path: Path) -> None:
    training = trainer(tmp_path)
    training.train_step()
    training.save()
    saved = load_file(tmp_path / "state.safetensors")
    for clip in training.clips.clips:
        clip.fill_(float("nan"))
    with pytest.raises(ArtvError, match="the loss is nan .* at step 1") as caught:
        training.run(report=quiet)
    assert str(tmp_path) in caught.value.remedy
    kept = load_file(tmp_path / "state.safetensors")
    assert all(torch.equal(kept[name], saved[name]) for name in saved)
    assert all(parameter.isfinite().all() for parameter in training.learner.parameters())


def test_what_is_told_of_a_loss_that_is_no_number_is_that_of_all_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = trainer(tmp_path, replace(RECIPE, pass_size=1))
    losses = training._losses
    spoilt = iter([float("nan"), 1.0])

    def spoil(*given: Any) -> tuple[Tensor, Tensor, Tensor]:
        loss, mask, weight = losses(*given)
        return loss * next(spoilt), mask, weight

    monkeypatch.setattr(training, "_losses", spoil)
    with pytest.raises(ArtvError, match="the loss is nan and the gradients have norm nan"):
        training.train_step()


def test_every_hundred_steps_say_what_they_were_on_average(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = trainer(tmp_path, replace(RECIPE, samples=250 * BATCH))

    def step() -> Tensor:
        training.step += 1
        return torch.tensor([training.step / 100, 0.5])

    monkeypatch.setattr(training, "train_step", step)
    said: list[Row] = []
    training.run(report=said.append)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rows == said
    assert [(row["step"], row["samples"]) for row in rows] == [(100, 200), (200, 400), (250, 500)]
    assert [row["loss"] for row in rows] == pytest.approx([0.505, 1.505, 2.255])
    assert [row["mask"] for row in rows] == [0.5] * 3


def test_the_last_steps_stand_in_the_log_too(tmp_path: Path) -> None:
    recipe = replace(RECIPE, samples=5 * BATCH, log_interval=3)

    def logged() -> list[int]:
        lines = (tmp_path / "log.jsonl").read_text().splitlines()
        return [json.loads(line)["step"] for line in lines]

    trainer(tmp_path, recipe).run(report=quiet)
    assert logged() == [3, 5]
    trainer(tmp_path, replace(recipe, samples=7 * BATCH)).run(report=quiet)
    assert logged() == [3, 5, 6, 7]


def test_where_the_log_is_slow_steps_are_told_by_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    training = trainer(tmp_path, replace(RECIPE, samples=8 * BATCH, log_interval=6))

    def step() -> Tensor:
        nonlocal now
        now += 12
        training.step += 1
        return torch.tensor([training.step, 0.5])

    monkeypatch.setattr(training, "train_step", step)
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now))
    said: list[Row] = []
    training.run(report=said.append)
    assert [(row["step"], row["loss"], row["seconds"]) for row in said] == [
        (3, 2.0, 36.0), (6, 3.5, 72.0), (8, 7.5, 96.0),
    ]  # fmt: skip
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rows == said[1:]


# ---------------------------------------------------------------- sharing a batch


EXACT = replace(RECIPE, batch_size=4, samples=8)


def first_step(folder: Path, recipe: Recipe = EXACT) -> dict[str, Tensor]:
    """Return what one step takes up of each gradient.

    Weights would not compare: AdamW's first step goes by the sign of a gradient, however small.
    """
    one = trainer(folder, recipe)
    one.train_step()
    one.save()
    return moments(folder)


def moments(folder: Path) -> dict[str, Tensor]:
    saved = load_file(folder / "state.safetensors")
    return {name: value for name, value in saved.items() if name.startswith("exp_avg/")}


def assert_close(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    largest = max(value.abs().max().item() for value in one.values())
    assert one.keys() == other.keys() and largest > 0
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-3, atol=1e-4 * largest)


def test_a_batch_in_passes_is_the_batch_at_once(tmp_path: Path) -> None:
    whole, parts = (
        first_step(tmp_path / str(size), replace(EXACT, pass_size=size)) for size in (None, 1)
    )
    assert_close(whole, parts)


COUNTS = (1, 5)  # of held-out examples, which two processes do not share evenly


def one_of_two(folder: Path) -> None:
    """Measure, and train until the second process alone is asked to stop, in the first step."""
    one = trainer(folder, EXACT)
    losses = [one.measure(clips(), count) for count in COUNTS]
    each = one.model.register_forward_pre_hook(lambda *_: dist.barrier())  # as spread weights have
    assert [one.measure(clips(), count) for count in COUNTS] == losses
    each.remove()
    refused = apart(folder, one.rank)
    if one.rank == 1:
        asked_at(one, 1)
    with pytest.raises(Interrupted):
        one.run(report=quiet)
    told = {"losses": losses, "step": one.step, "refused": refused}
    (folder / f"{one.rank}.json").write_text(json.dumps(told))


def apart(folder: Path, rank: int) -> str:
    """Return what each of two says that have a run folder of their own, a state in one of them."""
    own = folder / f"machine{rank}"
    if rank == 0:
        own.mkdir()
        shutil.copyfile(folder / "begun.safetensors", own / "state.safetensors")
    try:
        trainer(own, EXACT)
    except UsageError as error:
        return str(error)
    return "nothing"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes leave in their folder."""
    folder = tmp_path_factory.mktemp("two")
    begun = trainer(folder / "begun", EXACT)
    begun.step = 3
    begun.save()
    (folder / "begun" / "state.safetensors").rename(folder / "begun.safetensors")
    run_in_two_processes(one_of_two, folder)
    return folder


def test_two_processes_are_one_with_the_same_batch(two: Path, tmp_path: Path) -> None:
    assert_close(first_step(tmp_path), moments(two))


def test_a_signal_to_one_process_stops_all_after_the_same_step(two: Path) -> None:
    assert [json.loads((two / f"{rank}.json").read_text())["step"] for rank in (0, 1)] == [1, 1]


def test_processes_that_do_not_share_the_run_folder_are_refused(two: Path) -> None:
    for rank in (0, 1):
        told = json.loads((two / f"{rank}.json").read_text())["refused"]
        assert "different steps, none to 3: not all of them see the same" in told
        assert f"machine{rank}" in told and "a disk that all machines share" in told


def test_two_processes_measure_what_one_does_however_the_examples_divide(
    two: Path, tmp_path: Path
) -> None:
    one = trainer(tmp_path, EXACT)
    alone = [one.measure(clips(), count) for count in COUNTS]
    for rank in (0, 1):
        told = json.loads((two / f"{rank}.json").read_text())
        assert told["losses"] == pytest.approx(alone, rel=1e-4)


@pytest.mark.parametrize(("batch_size", "pass_size"), [(4, 3), (6, 4)])
def test_a_batch_that_cannot_be_shared_evenly_is_refused(
    tmp_path: Path, batch_size: int, pass_size: int
) -> None:
    with pytest.raises(UsageError, match=f"a batch of {batch_size} .* in passes of {pass_size}"):
        trainer(tmp_path, replace(RECIPE, batch_size=batch_size, pass_size=pass_size))


def test_the_loss_on_other_clips_is_always_of_the_same_examples(tmp_path: Path) -> None:
    one = trainer(tmp_path)
    first = one.measure(clips(), 3)
    assert one.measure(clips(), 3) == first
    one.train_step()
    assert one.measure(clips(), 3) != first


def test_what_is_frozen_has_no_average_and_may_be_left_out_of_the_state(tmp_path: Path) -> None:
    frozen = learner()
    frozen.text.requires_grad_(False)
    one = Trainer(
        frozen,
        clips(),
        Schedule.scaled_linear(),
        RECIPE,
        tmp_path,
        with_frozen=False,
        origin={"model": "a"},
    )
    one.train_step()
    one.save()
    kept = load_file(tmp_path / "state.safetensors")
    assert not [name for name in (*kept, *one.average.weights) if ".text" in f".{name}"]
    assert {name.partition("/")[0] for name in kept} == {"weights", "average", *checkpoint.MOMENTS}
    with pytest.raises(UsageError, match="began with another model"):
        trainer(tmp_path)


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.safetensors").write_bytes(b"half a fi")
    with pytest.raises(UsageError, match="state.safetensors cannot be read"):
        trainer(tmp_path)


# ---------------------------------------------------------------- learning


STILL = SolidClips()
STILL.clips = [noise(1, *LATENT).expand(4, -1, -1, -1)]


def losses_and_masks(folder: Path, steps: int, drops: Drops) -> Tensor:
    """Learn one clip that stands still; returns (2, steps)."""
    recipe = Recipe(samples=10_000, batch_size=2, learning_rate=5e-3, bfloat16=False, drops=drops)
    training = trainer(folder, recipe, STILL)
    return torch.stack([training.train_step() for _ in range(steps)]).T


def test_copying_is_learned_from_a_clip_that_stands_still(tmp_path: Path) -> None:
    loss, mask = losses_and_masks(tmp_path, 12, Drops(references=0, anchor=0, text=0))
    assert loss[-3:].mean() < loss[:3].mean() / 10
    assert mask[0] < 0.6 and mask[-1] > 0.9


def test_drawing_anew_is_learned_where_there_is_nothing_to_copy(tmp_path: Path) -> None:
    loss, mask = losses_and_masks(tmp_path, 30, Drops(references=1, anchor=1, text=0))
    assert loss[-5:].mean() < 0.7 * loss[:5].mean()
    assert not mask.any()
