"""`artv train` at tiny size: from shards and a model folder to a model folder that renders."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from shards import moving_square, write_shards
from tiny import PREFERENCES, SIZE, tiny_folder, tiny_model
from typer.testing import CliRunner

import artv_cli.train.checkpoint as checkpoint
from artv_cli.artv_engine import load_engine
from artv_cli.cli import app
from artv_cli.engine import FrameRequest
from artv_cli.errors import RenderError, UsageError
from artv_cli.model.folder import find_model
from artv_cli.model.weights import load_model, save_model
from artv_cli.train.loop import Trainer
from artv_cli.train.run_folder import alone
from artv_cli.train.session import Session
from artv_cli.train.shards import find_samples, split
from artv_cli.train.training_recipe import load_training_recipe
from artv_cli.train.video_clips import VideoClips

CLIPS = {f"clip{n}": ("a cat walks", moving_square(6)) for n in range(6)}
RECIPE = """
model: tiny
data: clips
batch_size: 2
samples: 8
learning_rate: 1e-3
precision: fp32
workers: 2
log_interval: 2
tensorboard: off
validation: {share: 0.4, every: 3, examples: 2}
sheets: {every: 3, clips: 1, frames: 2, steps: 1}
"""


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, clips and a recipe."""
    folder = tmp_path_factory.mktemp("studio")
    tiny_folder(folder)
    write_shards(folder / "clips", CLIPS, shards=2)
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def finished(studio: Path) -> Path:
    """The folder of a run that went through."""
    run(studio, "whole")
    return studio / "whole"


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    yield
    AcceleratorState._reset_state()
    PartialState._reset_state()


def run(studio: Path, out: str, *arguments: str, recipe: str = "recipe.yaml", code: int = 0) -> Any:
    command = ["train", str(studio / recipe), "--out", str(studio / out), *arguments]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == code, result.output
    return result


def variant(studio: Path, name: str, **change: str) -> str:
    """Write another recipe, with some keys changed or added; return its name."""
    lines = [line for line in RECIPE.splitlines() if line.partition(":")[0] not in change]
    (studio / name).write_text("\n".join([*lines, *(f"{k}: {v}" for k, v in change.items())]))
    return name


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def same(one: Path, other: Path) -> bool:
    ours, theirs = load_file(one), load_file(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_a_run_leaves_a_log_a_sheet_and_a_model_that_renders(finished: Path) -> None:
    told = rows(finished)
    assert all(row["seconds"] > 0 for row in told if "loss" in row)
    assert [(row["step"], row["samples"]) for row in told if "loss" in row] == [(2, 4), (4, 8)]
    (measured,) = (row for row in told if "validation_loss" in row)
    assert measured["step"] == 3 and 0 < measured["validation_loss"] < 10
    (sheet,) = (finished / "samples").iterdir()
    assert sheet.name == "step-0000003.png"
    gap = 4
    with Image.open(sheet) as picture:
        assert picture.size == tuple(2 * (side + gap) + gap for side in SIZE)
    folder = find_model(str(finished / "model"))
    assert folder.preferences.size == SIZE
    engine = load_engine(folder, device="cpu")
    frame = engine.key_frame(FrameRequest("a cat", 0, SIZE, folder.preferences.sampling))
    assert np.isfinite(np.frombuffer(frame.data, "<f4")).all()


def test_the_model_holds_the_averages_and_the_base_is_as_it_was(
    studio: Path, finished: Path
) -> None:
    state = load_file(finished / "state.safetensors")
    model = load_model(find_model(str(finished / "model")))
    for name, weight in model.networks.named_parameters():
        assert torch.equal(weight, state[f"average/networks.{name}"]), name
    assert not [name for name in state if ".text" in name or name.startswith("weights/text")]
    for part in ("vae", "text_encoder", "tokenizer", "scheduler"):
        for file in (finished / "model" / part).iterdir():
            assert file.read_bytes() == (studio / "tiny" / part / file.name).read_bytes()
    for file in (finished / "model").rglob("*.json"):
        assert str(studio) not in file.read_text()


def test_only_the_process_that_writes_the_model_keeps_its_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept: list[int] = []
    gathered: list[weakref.ref[torch.Tensor]] = []

    def gather(weight: torch.Tensor) -> torch.Tensor:
        kept.append(sum(tensor() is not None for tensor in gathered))
        copy = weight.clone()
        gathered.append(weakref.ref(copy))
        return copy

    monkeypatch.setattr("artv_cli.train.session.whole", gather)
    weights = {f"networks.{n}": torch.zeros(2) for n in range(5)}
    second: Any = SimpleNamespace(
        trainer=SimpleNamespace(average=SimpleNamespace(weights=weights)),
        accelerator=SimpleNamespace(is_main_process=False),
        out=Path("run"),
    )
    Session._export(second)
    assert len(kept) == 5, "spread weights are gathered by all processes together"
    assert max(kept) <= 1


def test_a_stopped_run_goes_on_to_the_same_bits(studio: Path, finished: Path) -> None:
    run(studio, "stopped", "--samples", "4")
    result = run(studio, "stopped", "--json")
    told = json.loads(result.stdout)
    assert (told["step"], told["samples"]) == (4, 8)
    assert same(studio / "stopped" / "state.safetensors", finished / "state.safetensors")
    assert find_model(told["model"]).fingerprint == find_model(str(finished / "model")).fingerprint


def test_steps_that_are_taken_again_stand_in_the_log_once(
    studio: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die() -> None:
        with (studio / "logged" / "log.jsonl").open("a") as log:
            log.write('{"step": 3, "validation_l')
        raise KeyboardInterrupt

    run(studio, "logged", "--samples", "2")
    with monkeypatch.context() as patch:
        failing_at(4, patch, die)
        run(studio, "logged", code=130)  # step 2 is in the log, step 1 in the state
    run(studio, "logged")
    told = [row["step"] for row in rows(studio / "logged")]
    assert told == [1, *(row["step"] for row in rows(finished))]  # 1: where the first run ended


def failing_at(step: int, monkeypatch: pytest.MonkeyPatch, fail: Callable[[], None]) -> None:
    whole_step = Trainer.train_step

    def train_step(self: Trainer) -> torch.Tensor:
        if self.step == step - 1:
            fail()
        return whole_step(self)

    monkeypatch.setattr(Trainer, "train_step", train_step)


@pytest.mark.usefixtures("signals_of_the_command_line")
def test_interrupted_a_run_keeps_its_step_and_says_how_to_go_on(
    studio: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        failing_at(3, patch, lambda: os.kill(os.getpid(), signal.SIGINT))
        patch.setattr(sys, "argv", ["artv", "train", "recipe.yaml"])
        result = run(studio, "asked", code=130)
    assert "stopped after step 3" in result.stderr
    assert "To go on:\n  artv train recipe.yaml" in result.stderr
    assert "with --minutes 0 the same command writes its model" in " ".join(result.stderr.split())
    assert "frame" not in result.stderr and not (studio / "asked" / "model").exists()
    run(studio, "asked", "--minutes", "0")
    assert find_model(str(studio / "asked" / "model")).fingerprint
    with safe_open(studio / "asked" / "state.safetensors", "pt") as file:
        assert file.metadata()["step"] == "3"
    run(studio, "asked")
    assert same(studio / "asked" / "state.safetensors", finished / "state.safetensors")


def test_where_memory_is_short_the_recipe_is_what_to_change(
    studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore")

    failing_at(1, monkeypatch, fail)
    recipe = variant(studio, "large.yaml", checkpoint_activations="true")
    told = " ".join(run(studio, "large", recipe=recipe, code=1).stderr.split())
    assert "no memory left: CUDA out of memory. Tried to allocate 2 GiB." in told
    assert "Set pass_size: 1, ema_on: cpu, precision: bf16 in the recipe" in told
    assert "`lora: {rank: 16}`" in told
    assert "--offload" not in told and "frames" not in told


def test_a_card_is_asked_for_room_before_anything_is_put_onto_it(
    studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("artv_cli.train.session.free_memory", lambda name: asked.append(name) or 99)
    session: Any = SimpleNamespace(
        recipe=load_training_recipe(studio / "recipe.yaml"),
        accelerator=SimpleNamespace(device=torch.device("cuda:1"), is_fsdp2=False),
        _load=tiny_model,
    )
    with pytest.raises(UsageError, match="before its first step the training needs"):
        Session._prepare(session, [], [], None)
    assert asked == ["cuda:1"]


def test_with_deterministic_kernels_a_cpu_comes_to_the_bits_that_it_comes_to_without(
    studio: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    seen: list[bool] = []
    recipe = variant(studio, "deterministic.yaml", deterministic="true")
    with monkeypatch.context() as patch:
        failing_at(2, patch, lambda: seen.append(torch.are_deterministic_algorithms_enabled()))
        run(studio, "deterministic", recipe=recipe)
    assert seen == [True] and not torch.are_deterministic_algorithms_enabled()
    assert same(studio / "deterministic" / "state.safetensors", finished / "state.safetensors")


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory.\nmore"), RenderError("it is NaN")]
)
def test_a_sheet_that_cannot_be_drawn_costs_no_training(
    studio: Path, finished: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr("artv_cli.train.session.draw_sheet", fail)
    out = f"no-sheet-{type(error).__name__}"
    said = " ".join(run(studio, out).stderr.split())
    reason = str(error).splitlines()[0]
    assert f"no sheet of step 3 could be drawn: {reason}; the training goes on" in said
    assert not (studio / out / "samples").exists()
    assert same(studio / out / "state.safetensors", finished / "state.safetensors")


def test_a_finished_run_says_where_its_model_is(studio: Path, finished: Path) -> None:
    before = (finished / "log.jsonl").read_text()
    assert run(studio, "whole", "--quiet").stdout.strip() == str(finished / "model")
    assert (finished / "log.jsonl").read_text() == before


def test_lora_trains_matrices_alone_and_merges_them(studio: Path) -> None:
    recipe = variant(studio, "lora.yaml", lora="{rank: 2}", samples="4", sheets="{every: 0}")
    run(studio, "lora", recipe=recipe)
    state = load_file(studio / "lora" / "state.safetensors")
    assert {name.split(".")[-3] for name in state} == {"lora_A", "lora_B"}
    adapter = load_file(studio / "lora" / "lora" / "adapter_model.safetensors")
    assert len(adapter) == sum(name.startswith("weights/") for name in state)

    base, trained = (load_model(find_model(str(studio / f))) for f in ("tiny", "lora/model"))
    changed = {
        name
        for name, weight in trained.networks.named_parameters()
        if not torch.equal(weight, base.networks.get_parameter(name))
    }
    assert changed and all(".to_" in name for name in changed)
    frames = [
        load_engine(find_model(str(studio / f)), device="cpu").key_frame(
            FrameRequest("a cat", 0, SIZE, find_model(str(studio / f)).preferences.sampling)
        )
        for f in ("tiny", "lora/model")
    ]
    assert frames[0].data != frames[1].data


def test_lora_may_train_what_is_fresh_in_full(studio: Path) -> None:
    recipe = variant(
        studio, "whole.yaml", samples="2", sheets="{every: 0}",
        lora="{rank: 2, whole: [mask, adapter]}",
    )  # fmt: skip
    run(studio, "lora-whole", recipe=recipe)
    base, trained = (load_model(find_model(str(studio / f))) for f in ("tiny", "lora-whole/model"))
    moved = [
        (name, not torch.equal(weight, base.networks.get_parameter(name)))
        for name, weight in trained.networks.named_parameters()
    ]
    assert all(has for name, has in moved if name.startswith(("mask.", "dynamic.adapter.")))
    assert not any(has for name, has in moved if name.startswith("dynamic.unet.conv_in"))
    assert not (studio / "lora-whole" / "lora").exists()  # alone it would not be the training


def test_the_recipe_for_one_consumer_card_is_gone_on_with_to_the_same_bits(
    studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the README, with the averages in main memory; once through, and once killed."""
    recipe = variant(
        studio, "consumer.yaml", pass_size="1", checkpoint_activations="true", ema_on="cpu",
        lora="{rank: 16, whole: [mask, adapter, anchor, class_embedding]}",
        sheets="{every: 3, frames: 2, steps: 1, prompts: [a cat walks through snow]}",
        checkpoint_every="1ms",
    )  # fmt: skip

    def die() -> None:
        raise KeyboardInterrupt

    run(studio, "card-whole", "--lora", "2", recipe=recipe)
    with monkeypatch.context() as patch:
        failing_at(4, patch, die)
        run(studio, "card-killed", "--lora", "2", recipe=recipe, code=130)
    run(studio, "card-killed", "--lora", "2", recipe=recipe)
    one, other = (studio / f / "state.safetensors" for f in ("card-whole", "card-killed"))
    assert same(one, other)
    sheets = [f.parent / "samples" / "step-0000003.png" for f in (one, other)]
    assert sheets[0].read_bytes() == sheets[1].read_bytes()
    with Image.open(sheets[0]) as picture:  # a clip has two rows, the prompt one
        assert picture.size == tuple(
            count * (side + 4) + 4 for count, side in zip((2, 3), SIZE, strict=True)
        )
    state = load_file(one)
    assert {w.shape[0] for name, w in state.items() if "lora_A" in name} == {2}
    assert any("average/networks.mask.unet.class_embedding" in name for name in state)
    base, trained = (load_model(find_model(str(studio / f))) for f in ("tiny", "card-whole/model"))
    still = [
        name
        for name, weight in trained.networks.named_parameters()
        if torch.equal(weight, base.networks.get_parameter(name))
    ]
    fresh = ("mask.", "dynamic.adapter.", "dynamic.unet.class_embedding.")
    assert still and not [name for name in still if name.startswith(fresh)]


@pytest.mark.parametrize("asked", [None, "reference_minus_input"])
def test_one_static_noise_is_trained_drawn_and_exported(studio: Path, asked: str | None) -> None:
    model = studio / "inverted"
    if not model.exists():
        save_model(model, tiny_model(), PREFERENCES.model_copy(
            update={"static_noise": "input_minus_reference"}))  # fmt: skip
    change = {} if asked is None else {"static_noise": asked}
    recipe = variant(studio, "noise.yaml", model="inverted", samples="2", **change)
    session = Session(load_training_recipe(studio / recipe), studio / f"noise-{asked}")
    outcome = session.run()
    form = asked or "input_minus_reference"
    assert session.trainer.recipe.static_noise == form
    assert session._model.static_noise == form  # which the sheets draw with
    assert find_model(str(outcome.model)).preferences.static_noise == form


def test_a_run_of_another_model_is_not_gone_on_with(studio: Path, finished: Path) -> None:
    run(studio, "of-tiny", "--samples", "2")
    recipe = variant(studio, "other.yaml", model="whole/model")
    result = run(studio, "of-tiny", recipe=recipe, code=2)
    assert "it began with another model" in result.stderr


def test_the_base_is_never_written_over(studio: Path, finished: Path) -> None:
    before = find_model(str(finished / "model")).fingerprint
    recipe = variant(studio, "over.yaml", model="whole/model")
    assert "would write over" in run(studio, "whole", recipe=recipe, code=2).stderr
    assert find_model(str(finished / "model")).fingerprint == before


@pytest.mark.parametrize(
    ("name", "value"),
    [("batch_size", "4"), ("seed", "1"), ("loss_of", "velocity"), ("lora", "{rank: 2}"),
     ("static_noise", "reference_minus_input"), ("data", "[clips, clips]"),
     ("validation", "{share: 0.2}")],
)  # fmt: skip
def test_a_state_is_not_gone_on_with_by_another_recipe(
    studio: Path, finished: Path, name: str, value: str
) -> None:
    recipe = variant(studio, "changed.yaml", **{name: value})
    said = "share of validation" if name == "validation" else name
    assert f"it began with another {said}" in run(studio, "whole", recipe=recipe, code=2).stderr


def test_a_state_is_not_gone_on_with_by_other_clips_of_the_same_names(
    studio: Path, finished: Path
) -> None:
    other = {key: ("a dog walks", moving_square(6, colour=90)) for key in CLIPS}
    write_shards(studio / "namesakes", other, shards=2)
    recipe = variant(studio, "namesakes.yaml", data="namesakes")
    assert "it began with another data" in run(studio, "whole", recipe=recipe, code=2).stderr


def test_clips_that_gained_latents_are_the_same_clips(studio: Path, finished: Path) -> None:
    more = {f"{key}.latents.safetensors": b"never read" for key in CLIPS}
    write_shards(studio / "gained", CLIPS, shards=2, more=more)
    run(studio, "whole", recipe=variant(studio, "gained.yaml", data="gained"))


def test_latents_of_another_autoencoder_are_not_trained_on(studio: Path) -> None:
    told = {"vae": "another", "shape": [4, 8, 8]}
    more = {}
    for key in CLIPS:
        more[f"{key}.latents.safetensors"] = b"never read"
        more[f"{key}.json"] = json.dumps({"frames": 6, "latents": told}).encode()
    write_shards(studio / "foreign", CLIPS, more=more)
    quick = {"samples": "2", "sheets": "{every: 0}"}
    result = run(studio, "foreign-run", recipe=variant(studio, "f.yaml", data="foreign", **quick))
    said = " ".join(result.stderr.split())
    assert said.count("the latents of 6 of 6 clips are of another autoencoder") == 1
    assert "skipped" not in said
    run(studio, "own-run", recipe=variant(studio, "own.yaml", **quick))
    own, foreign = (load_file(studio / f / "state.safetensors") for f in ("own-run", "foreign-run"))
    assert all(torch.equal(own[name], foreign[name]) for name in own)


@pytest.mark.parametrize("capability", ["AVX2", "AVX512"])
def test_where_bfloat16_is_slow_a_recipe_that_asks_for_it_is_told_so(
    studio: Path, capability: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: capability)
    quick = {"samples": "2", "sheets": "{every: 0}", "precision": "bf16"}
    recipe = variant(studio, f"{capability}.yaml", **quick)
    said = run(studio, f"half-{capability}", recipe=recipe).stderr
    assert ("`precision: fp32`" in " ".join(said.split())) == (capability == "AVX2")


def test_a_card_is_not_chosen_by_name(studio: Path) -> None:
    result = run(studio, "card", "--device", "cuda:7", code=2)
    assert "--device cuda:7 cannot be trained on by name" in result.stderr


def test_two_runs_in_one_folder_are_told_apart(studio: Path) -> None:
    with alone(studio / "shared"):
        result = run(studio, "shared", code=4)
    assert "Another process trains in" in result.stderr
    assert not (studio / "shared" / "state.safetensors").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": "36x36"}, "multiples of 8"),
        ({"batch_size": "5", "pass_size": "2"}, "in passes of 2"),
        ({"validation": "{share: 1}"}, "every clip is held out"),
        ({"lora": "{targets: [norm1]}"}, "lora cannot stand beside norm1"),
        ({"lora": "{targets: [to_q, to_kk]}"}, "nothing in the model is called to_kk"),
        ({"lora": "{whole: [mask, anchr]}"}, "nothing in the model is called anchr"),
        ({"max_grad_norm": "0"}, "'max_grad_norm' must be a number from 1e-06"),
        ({"data": "nowhere"}, "nowhere holds no shards"),
    ],
)
def test_what_does_not_fit_is_told_before_training(
    studio: Path, change: dict[str, str], message: str
) -> None:
    result = run(studio, "never", recipe=variant(studio, "bad.yaml", **change), code=2)
    assert message in result.stderr
    assert not (studio / "never" / "state.safetensors").exists()


def test_a_full_disk_is_told_and_the_last_state_stays(
    studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(studio, "full", "--samples", "2")
    before = (studio / "full" / "state.safetensors").read_bytes()

    def fail(*arguments: Any, **more: Any) -> None:
        raise checkpoint.SafetensorError("Error: I/O error: No space left (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", fail)
    result = run(studio, "full", code=5)
    assert "No space left on device" in result.stderr
    assert "the last good state is kept" in " ".join(result.stderr.split())
    assert (studio / "full" / "state.safetensors").read_bytes() == before
    assert not list((studio / "full").glob("*.tmp"))


@pytest.mark.parametrize("has_state", [False, True])
def test_without_room_for_its_states_a_training_does_not_begin(
    studio: Path, finished: Path, monkeypatch: pytest.MonkeyPatch, has_state: bool
) -> None:
    out = studio / ("whole" if has_state else "no-room")
    state = (finished / "state.safetensors").stat().st_size
    free = SimpleNamespace(free=int(1.1 * state))  # for one, not for two
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    if has_state:
        run(studio, out.name)
        return
    told = " ".join(run(studio, out.name, code=5).stderr.split())
    assert f"states of this training take {state / 1e9:.1f} GB each" in told
    assert f"{out} has room for" in told and "frames" not in told
    assert not (out / "state.safetensors").exists()


def test_where_no_step_is_left_the_model_needs_no_room_for_another_state(
    studio: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished, studio / "tight", ignore=shutil.ignore_patterns("model", ".lock"))
    state = studio / "tight" / "state.safetensors"
    before = state.stat()
    free = SimpleNamespace(free=before.st_size // 2)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    for arguments in (["--minutes", "0"], []):
        run(studio, "tight", *arguments)
        assert find_model(str(studio / "tight" / "model")).fingerprint
        assert state.stat().st_mtime_ns == before.st_mtime_ns


def test_a_new_training_of_no_minutes_leaves_nothing_that_binds_the_folder(studio: Path) -> None:
    run(studio, "none-yet", "--minutes", "0")
    assert {path.name for path in (studio / "none-yet").iterdir()} <= {".lock"}


def test_what_cannot_be_written_beside_a_state_costs_no_step(studio: Path) -> None:
    (studio / "blocked").mkdir()
    (studio / "blocked" / "samples").write_text("no folder of sheets")
    run(studio, "blocked", code=5)
    with safe_open(studio / "blocked" / "state.safetensors", "pt") as state:
        assert state.metadata()["step"] == "3"


def test_a_missing_ffmpeg_is_not_taken_for_damaged_clips(
    studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/nowhere/ffmpeg")
    result = run(studio, "no-ffmpeg", code=1)
    assert "ffmpeg" in result.stderr and not (studio / "no-ffmpeg").exists()


def test_a_refused_start_leaves_nothing_in_the_folder_of_another(studio: Path) -> None:
    recipe = variant(studio, "board.yaml", tensorboard="on")
    (studio / "busy").mkdir()
    with alone(studio / "busy"):
        before = sorted((studio / "busy").iterdir())
        run(studio, "busy", recipe=recipe, code=4)
        assert sorted((studio / "busy").iterdir()) == before


def test_a_loss_that_is_no_number_is_one_sentence_and_the_last_state_stays(studio: Path) -> None:
    run(studio, "nan", "--samples", "2")
    before = (studio / "nan" / "state.safetensors").read_bytes()
    recipe = variant(studio, "nan.yaml", learning_rate="1", max_grad_norm="1e9", samples="200",
                     validation="{share: 0.4, every: 0}", sheets="{every: 0}",
                     precision="bf16")  # fmt: skip
    session = Session(load_training_recipe(studio / recipe), studio / "nan")
    with torch.no_grad():
        session.trainer.learner.networks.dynamic.unet.conv_in.weight.fill_(float("nan"))
    with pytest.raises(Exception, match="the loss is nan and the gradients"):
        session.run()
    assert (studio / "nan" / "state.safetensors").read_bytes() == before


def spoil_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    encode = VideoClips.encode
    monkeypatch.setattr(VideoClips, "encode", lambda *given: encode(*given) * float("nan"))


def test_a_loss_that_is_no_number_keeps_the_step_before_it(
    studio: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = variant(studio, "spoilt.yaml", sheets="{every: 0}", precision="fp32")
    with monkeypatch.context() as patch:
        failing_at(3, patch, lambda: spoil_clips(patch))
        told = " ".join(run(studio, "spoilt", recipe=recipe, code=1).stderr.split())
    state = studio / "spoilt" / "state.safetensors"
    assert "the loss is nan and the gradients have norm nan at step 2" in told
    assert f"The last good state is in {state}: begin anew with a lower learning rate" in told
    with safe_open(state, "pt") as file:
        assert file.metadata()["step"] == "2"
    run(studio, "spoilt", recipe=recipe)
    assert same(state, finished / "state.safetensors")


def test_no_state_is_claimed_where_the_first_loss_is_no_number(
    studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_at(1, monkeypatch, lambda: spoil_clips(monkeypatch))
    recipe = variant(studio, "half.yaml", precision="bf16")
    told = " ".join(run(studio, "spoilt-at-once", recipe=recipe, code=1).stderr.split())
    assert "No state was kept: set `precision: fp32` and run again" in told
    assert not (studio / "spoilt-at-once" / "state.safetensors").exists()


def test_clips_that_cannot_be_read_are_listed(studio: Path) -> None:
    write_shards(studio / "some-bad", CLIPS, more={"clip1.mp4": b"no video"})
    recipe = variant(studio, "some-bad.yaml", data="some-bad", samples="6",
                     validation="{share: 0}", sheets="{every: 0}", tensorboard="on")  # fmt: skip
    result = run(studio, "listed", recipe=recipe)
    assert list((studio / "listed" / "tensorboard").rglob("events.*"))
    (row,) = map(json.loads, (studio / "listed" / "skipped.jsonl").read_text().splitlines())
    assert (row["key"], row["shard"]) == ("clip1", "shard-00000.tar")
    assert result.stderr.count("skipped clip1") == 1


def test_held_out_clips_that_cannot_be_read_cost_a_measurement_and_no_training(
    studio: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artv_cli.train.examples.PATIENCE", 3)
    _, held_out = split(find_samples([studio / "clips"]), 0.4)
    damaged = {f"{sample.key}.mp4": b"no video" for sample in held_out}
    assert damaged
    write_shards(studio / "unheld", CLIPS, shards=2, more=damaged)
    recipe = variant(studio, "unheld.yaml", data="unheld", sheets="{every: 0}")
    said = " ".join(run(studio, "unheld-run", recipe=recipe).stderr.split())
    assert said.count("no loss of step 3 could be measured") == 1
    assert not [row for row in rows(studio / "unheld-run") if "validation_loss" in row]
    assert same(studio / "unheld-run" / "state.safetensors", finished / "state.safetensors")
