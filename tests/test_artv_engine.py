"""The engine on a tiny model: what it draws, how often it runs the networks, the real loop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from standin import story
from tiny import LATENT, PREFERENCES, SIZE, noise, tiny_folder, tiny_model
from torch import nn

from artv_cli.artv_engine import ArtvEngine, load_engine
from artv_cli.cache.store import FrameStore
from artv_cli.engine import Engine, FrameRequest
from artv_cli.errors import ModelError, RenderError, UsageError
from artv_cli.latents import Latents, Pixels
from artv_cli.masks import MaskAlbum
from artv_cli.model.folder import find_model
from artv_cli.plan import ModelIdentity, RenderPlan, make_plan
from artv_cli.render import Frame, render
from artv_cli.settings import Guidance

FINGERPRINT = "f" * 64
REQUEST = FrameRequest("the cat walks", seed=1, size=SIZE, sampling=PREFERENCES.sampling)
ALL_SCALES = Guidance(text=3.0, reference=0.5, anchor=0.5, on="dynamic")
PICTURE: Pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def engine() -> ArtvEngine:
    return ArtvEngine(tiny_model(), FINGERPRINT)


def latents(seed: int = 0) -> Latents:
    return Latents("float32", LATENT, noise(*LATENT, seed=seed).numpy().tobytes())


PREVIOUS, EARLIER, ANCHOR = latents(1), latents(2), latents(3)


def draw(engine: Engine, request: FrameRequest = REQUEST, **other: Any) -> Latents:
    frames = {"references": (PREVIOUS, EARLIER), "anchor": ANCHOR, **other}
    return engine.next_frame(request, frames["references"], frames["anchor"])


def sampled(**change: Any) -> FrameRequest:
    return replace(REQUEST, sampling=replace(REQUEST.sampling, **change))


def values(frame: Latents) -> np.ndarray[Any, Any]:
    return np.frombuffer(frame.data, "<f4").reshape(frame.shape)


@contextmanager
def rows_seen(module: nn.Module) -> Iterator[list[int]]:
    """Note the batch size of every forward pass of a module."""
    rows: list[int] = []
    hook = module.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    try:
        yield rows
    finally:
        hook.remove()


# ---------------------------------------------------------------- the contract


def test_a_picture_that_is_no_numbers_is_an_error_and_never_a_black_frame() -> None:
    broken = tiny_model()
    next(iter(broken.vae.decoder.parameters())).data.fill_(float("nan"))
    with pytest.raises(RenderError, match="no numbers"):
        ArtvEngine(broken, FINGERPRINT).decode(PREVIOUS)


def test_engine_says_who_it_is_and_where_it_runs(engine: ArtvEngine) -> None:
    assert engine.fingerprint == FINGERPRINT
    assert engine.environment["torch"] == torch.__version__
    assert engine.environment["device"].startswith("cpu")
    assert all(isinstance(value, str) for value in engine.environment.values())


@pytest.mark.parametrize("asked", ["cuda", "cuda:0", "cuda:1"])
def test_the_environment_names_the_card_and_not_how_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    engine = ArtvEngine(tiny_model(), FINGERPRINT, device=asked)
    assert engine.environment["device"] == "cuda (NVIDIA H200)"


def test_a_picture_becomes_latents_and_latents_a_picture(engine: ArtvEngine) -> None:
    encoded = engine.encode(PICTURE)
    assert (encoded.dtype, encoded.shape) == ("float32", LATENT)
    decoded = engine.decode(encoded)
    assert decoded.dtype == np.uint8 and decoded.shape == PICTURE.shape
    assert np.array_equal(engine.decode(encoded), decoded)
    assert engine.encode(PICTURE) == encoded


def test_a_wide_frame_is_wide(engine: ArtvEngine) -> None:
    wide = engine.key_frame(replace(REQUEST, size=(64, 32)))
    assert wide.shape == (4, 8, 16)
    assert engine.decode(wide).shape == (32, 64, 3)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_latents_come_back_from_their_bytes_exactly(dtype: Any) -> None:
    torch_dtype = getattr(torch, dtype)
    engine = ArtvEngine(tiny_model(), FINGERPRINT, dtype=dtype)
    tensor = noise(1, *LATENT).to(torch_dtype)
    packed = engine._to_latents(tensor)
    assert (packed.dtype, packed.shape) == (dtype, LATENT)
    unpacked = engine._to_tensor(packed)
    assert unpacked.dtype == torch_dtype
    assert torch.equal(unpacked, tensor)
    assert engine._to_latents(unpacked) == packed


# ---------------------------------------------------------------- what decides a frame


def test_same_request_gives_the_same_bits_in_another_engine(engine: ArtvEngine) -> None:
    other = ArtvEngine(tiny_model(), FINGERPRINT)
    engine.key_frame(replace(REQUEST, seed=99))  # what was drawn before does not matter
    torch.manual_seed(5)
    assert draw(engine) == draw(engine) == draw(other)
    assert engine.key_frame(REQUEST) == other.key_frame(REQUEST)


@pytest.mark.parametrize(
    "other",
    [
        replace(REQUEST, seed=2),
        replace(REQUEST, prompt="a rocket flies"),
        sampled(steps=2),
        sampled(sampler="euler"),
        sampled(noise_level=50),
        sampled(guidance=replace(PREFERENCES.sampling.guidance, text=1.0)),
        sampled(guidance=replace(PREFERENCES.sampling.guidance, rescale=0.7)),
        sampled(guidance=replace(PREFERENCES.sampling.guidance, interval=(400, 999))),
    ],
    ids=["seed", "prompt", "steps", "sampler", "noise level", "guidance", "rescale", "interval"],
)
def test_everything_in_a_request_changes_key_frames_and_next_frames(
    engine: ArtvEngine, other: FrameRequest
) -> None:
    assert engine.key_frame(other) != engine.key_frame(REQUEST)
    assert draw(engine, other) != draw(engine)


@pytest.mark.parametrize(
    "other",
    [
        {"references": (latents(9), EARLIER)},
        {"references": (PREVIOUS, latents(9))},
        {"references": (EARLIER, PREVIOUS)},
        {"anchor": latents(9)},
    ],
    ids=["previous", "earlier", "order", "anchor"],
)
def test_every_frame_before_changes_the_next(engine: ArtvEngine, other: dict[str, Any]) -> None:
    assert draw(engine, **other) != draw(engine)


@pytest.mark.parametrize("sampler", ["dpmpp_2s_ancestral", "dpmpp_2m", "euler"])
@pytest.mark.parametrize("on", ["dynamic", "composed"])
def test_every_sampler_draws_with_guidance_in_either_place(
    engine: ArtvEngine, sampler: Any, on: Any
) -> None:
    request = sampled(sampler=sampler, guidance=replace(ALL_SCALES, on=on))
    for frame in (engine.key_frame(request), draw(engine, request)):
        assert frame.shape == LATENT
        assert np.isfinite(values(frame)).all()


def test_a_mask_of_1_copies_the_previous_frame() -> None:
    model = tiny_model()
    nn.init.constant_(model.networks.mask.unet.conv_out.bias, 100.0)
    copied = draw(ArtvEngine(model, FINGERPRINT))
    np.testing.assert_allclose(values(copied), values(PREVIOUS), atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_draws_nearly_the_same_frame(engine: ArtvEngine, dtype: Any) -> None:
    model = tiny_model()
    for module in (model.networks, model.vae, model.text):
        module.to(getattr(torch, dtype))
    half = ArtvEngine(model, FINGERPRINT, dtype=dtype)
    frame = draw(half)
    assert frame.dtype == dtype
    ours, theirs = half._to_tensor(frame).float(), torch.from_numpy(values(draw(engine)).copy())
    assert (ours - theirs).square().mean() < 0.01 * theirs.square().mean()
    assert half.decode(frame).shape == PICTURE.shape


# ---------------------------------------------------------------- how much it computes


NO_GUIDANCE = Guidance(text=0, reference=0, anchor=0, on="dynamic")
TEXT_ALONE = Guidance(text=3, reference=0, anchor=0, on="dynamic")


@pytest.mark.parametrize(
    ("guidance", "next_rows", "key_rows"),
    [(ALL_SCALES, 4, 2), (TEXT_ALONE, 2, 2), (NO_GUIDANCE, 1, 1)],
    ids=["all", "text", "none"],
)
def test_a_branch_whose_scale_is_0_or_whose_condition_is_blank_does_not_run(
    engine: ArtvEngine, guidance: Guidance, next_rows: int, key_rows: int
) -> None:
    request = sampled(guidance=guidance)
    with rows_seen(engine._model.networks.dynamic) as rows:
        draw(engine, request)
        assert rows == [next_rows] * REQUEST.sampling.steps
        rows.clear()
        engine.key_frame(request)
        assert rows == [key_rows] * REQUEST.sampling.steps


@pytest.mark.parametrize("on", ["dynamic", "composed"])
def test_outside_the_interval_one_branch_runs_and_its_conditions_are_prepared_no_second_time(
    engine: ArtvEngine, on: Any
) -> None:
    assert engine._model.schedule.timesteps(3) == [999, 666, 333]
    request = sampled(guidance=replace(ALL_SCALES, on=on, interval=(600, 700)))
    networks, masks = engine._model.networks, 4 if on == "composed" else 1
    draw(engine, request)  # the prompt and the blank conditions stand prepared
    with (
        rows_seen(networks.dynamic) as dynamic,
        rows_seen(networks.mask) as mask,
        rows_seen(networks.dynamic.adapter) as references,
    ):
        draw(engine, request)
        assert (dynamic, mask, references) == ([1, 4, 1], [1, masks, 1], [1])
        dynamic.clear()
        engine.key_frame(request)
        assert dynamic == [1, 2, 1]


@pytest.mark.parametrize("sampler", ["dpmpp_2s_ancestral", "dpmpp_2m", "euler"])
@pytest.mark.parametrize("on", ["dynamic", "composed"])
def test_where_no_timestep_is_guided_the_frame_is_one_without_guidance(
    engine: ArtvEngine, on: Any, sampler: Any
) -> None:
    guided = replace(ALL_SCALES, on=on, rescale=0.7, interval=(998, 998))
    frames = [
        (engine.key_frame(request), draw(engine, request))
        for guidance in (guided, replace(NO_GUIDANCE, on=on))
        for request in [sampled(guidance=guidance, sampler=sampler)]
    ]
    assert frames[0] == frames[1]


def test_where_nothing_is_guided_neither_rescale_nor_interval_matters(engine: ArtvEngine) -> None:
    plain, told = (
        sampled(guidance=guidance)
        for guidance in (NO_GUIDANCE, replace(NO_GUIDANCE, rescale=0.7, interval=(0, 500)))
    )
    assert draw(engine, told) == draw(engine, plain)
    assert engine.key_frame(told) == engine.key_frame(plain)


@pytest.mark.parametrize(("on", "rows_of_masks"), [("dynamic", 1), ("composed", 4)])
def test_masks_are_computed_only_where_they_are_read(
    engine: ArtvEngine, on: Any, rows_of_masks: int
) -> None:
    with rows_seen(engine._model.networks.mask) as rows:
        draw(engine, sampled(guidance=replace(ALL_SCALES, on=on)))
    assert rows == [rows_of_masks] * REQUEST.sampling.steps


@pytest.mark.parametrize("on", ["dynamic", "composed"])
def test_whoever_watches_hears_each_mask_and_changes_no_bit(engine: ArtvEngine, on: Any) -> None:
    request = sampled(guidance=replace(ALL_SCALES, on=on))
    heard: list[tuple[int, Any]] = []
    references = (PREVIOUS, EARLIER)
    watched = engine.next_frame(request, references, ANCHOR, lambda *one: heard.append(one))
    assert watched == draw(engine, request)
    timesteps = [timestep for timestep, _ in heard]
    assert len(timesteps) == request.sampling.steps
    assert timesteps == sorted(timesteps, reverse=True)
    for _, mask in heard:
        assert (mask.dtype, mask.shape) == (np.float32, LATENT[1:])
        assert 0 < mask.min() < mask.max() < 1
    draw(engine, request)
    assert len(heard) == request.sampling.steps, "nobody watches the next one"


def test_the_paper_sampler_asks_twice_a_step_and_once_in_the_last(engine: ArtvEngine) -> None:
    with rows_seen(engine._model.networks.dynamic) as rows:
        draw(engine, sampled(sampler="dpmpp_2s_ancestral", steps=4))
    assert len(rows) == 2 * 4 - 1


def test_prompts_and_blank_conditions_are_prepared_once_for_all_frames() -> None:
    engine = ArtvEngine(tiny_model(), FINGERPRINT)
    with (
        rows_seen(engine._model.text) as prompts,
        rows_seen(engine._model.networks.dynamic.adapter) as references,
    ):
        for seed in range(3):
            draw(engine, replace(REQUEST, seed=seed))
        engine.key_frame(REQUEST)
    assert len(prompts) == 2  # the prompt and the empty one
    assert len(references) == 3 + 1  # one per frame, and the blank ones


def test_conditions_are_prepared_once_a_frame_not_once_a_step(engine: ArtvEngine) -> None:
    draw(engine)
    adapter, stem = engine._model.networks.dynamic.adapter, engine._model.networks.mask.anchor.stem
    with rows_seen(adapter) as references, rows_seen(stem) as anchors:
        draw(engine, sampled(steps=5))
    assert references == anchors == [1]


# ---------------------------------------------------------------- loading


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("model"))


def test_a_loaded_engine_draws_what_the_saved_model_drew(engine: ArtvEngine, folder: Path) -> None:
    """To the bit: weights used where they lie in a mapped file, off alignment, gave other bits."""
    model = find_model(str(folder))
    loaded = load_engine(model, device="cpu")
    assert loaded.fingerprint == model.fingerprint
    assert draw(loaded) == draw(engine)


def test_weights_that_changed_since_the_plan_give_another_fingerprint(tmp_path: Path) -> None:
    model = find_model(str(tiny_folder(tmp_path / "model")))
    config = model.path / "text_encoder" / "config.json"
    config.write_text(config.read_text() + "\n")
    assert load_engine(model).fingerprint != model.fingerprint


def test_dtype_is_the_models_own_unless_said(folder: Path) -> None:
    model = find_model(str(folder))
    assert load_engine(model).key_frame(REQUEST).dtype == "float32"
    assert load_engine(model, dtype="bfloat16").key_frame(REQUEST).dtype == "bfloat16"


@pytest.mark.parametrize("device", ["gpu", "", "meta", "hpu", "cpu:-1", "cuda:99"])
def test_a_device_that_is_not_there_is_a_usage_error(folder: Path, device: str) -> None:
    with pytest.raises(UsageError, match="there is no device") as caught:
        load_engine(find_model(str(folder)), device=device)
    assert "\n" not in caught.value.message


# ---------------------------------------------------------------- the real loop


STORY = story(
    {"prompt": "a cat walks", "frames": 3},
    {"prompt": "the cat flies", "frames": 2},
    {"prompt": "a rocket flies", "frames": 2, "start": "cut", "image": "rocket.png"},
    title="tiny",
)


@pytest.fixture(scope="module")
def plan(folder: Path) -> RenderPlan:
    model = find_model(str(folder))
    identity = ModelIdentity.of(model)
    return make_plan(STORY, identity, {"rocket.png": "a" * 64})


def frames_of(
    plan: RenderPlan, root: Path, folder: Path, masks: MaskAlbum | None = None
) -> Iterator[Frame]:
    def refuse(message: str) -> None:
        raise AssertionError(message)

    def build() -> Engine:
        return load_engine(find_model(str(folder)), device="cpu")

    return render(plan, FrameStore(root, warn=refuse), build, lambda _: PICTURE, masks=masks)


def test_a_story_that_was_stopped_at_any_frame_ends_in_the_same_bits(
    plan: RenderPlan, folder: Path, tmp_path: Path
) -> None:
    whole = list(frames_of(plan, tmp_path / "whole", folder))
    assert [frame.reused for frame in whole] == [False] * 7
    assert len({frame.entry.digest for frame in whole}) == 7

    for stop in (2, 4):
        root = tmp_path / f"stopped at {stop}"
        stopped = frames_of(plan, root, folder)
        for _ in range(stop):
            next(stopped)
        resumed = list(frames_of(plan, root, folder))
        assert [frame.reused for frame in resumed] == [True] * stop + [False] * (7 - stop)
        assert [frame.entry for frame in resumed] == [frame.entry for frame in whole]


def test_masks_of_frames_drawn_now_are_those_of_the_cached_ones_drawn_again(
    plan: RenderPlan, folder: Path, tmp_path: Path
) -> None:
    written = []
    for name in ("now", "again"):
        album = MaskAlbum(plan, tmp_path / name)
        frames = list(frames_of(plan, tmp_path / "cache", folder, album))
        for frame in frames:
            album.add(frame.plan, frame.entry, frame.again)
        album.write()
        assert album.different == 0
        written.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert [frame.again is not None for frame in frames] == [False, *[True] * 4, False, True]
    assert written[0] == written[1]
    masks = [name for name in sorted(written[0]) if name.startswith("mask-")]
    assert masks == [f"mask-{number:05}.png" for number in (2, 3, 4, 5, 7)]


def test_the_loop_refuses_weights_that_the_plan_was_not_made_for(
    plan: RenderPlan, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="not those that the plan was made for"):
        list(frames_of(replace(plan, fingerprint="0" * 64), tmp_path, folder))
