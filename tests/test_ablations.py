"""Ablations: what is missing is silent and stays so, and each variant is a model like any other."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from replay import FRAMES_LONG, SEGMENTS, ReplayEngine, ReplayJudge, replay_model, replay_stories
from tiny import LATENT, TEXT_WIDTH, TOKENS, tiny_folder, tiny_model
from torch import Tensor

from artv_cli.model.artv import ArtV
from artv_cli.model.folder import find_model
from artv_cli.model.weights import load_model
from artv_cli.train.bank import build_bank
from artv_cli.train.run_folder import MODEL
from artv_cli.train.storybook import RECIPE
from artv_cli.train.storybook_session import BANK
from benchmarks.ablations import ABLATIONS, NEVER, Ablation, Ablations, without_anchor, without_mask

STORIES = replay_stories()
AS_IT_IS, NO_MASK, NO_ANCHOR, NO_NOISE, *STATIC_NOISES = ABLATIONS


@pytest.fixture
def ablations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ablations:
    """Of a run with a tiny model and two clips, trained for one small step."""
    monkeypatch.setattr("benchmarks.ablations.RECIPE", replace(RECIPE, batch_size=4))
    run = tmp_path / "run"
    run.mkdir()
    tiny_folder(run).rename(run / MODEL)
    model = load_model(find_model(str(run / MODEL)))
    build_bank(model.vae, run / BANK, clips=2, length=3, shard=2, report=lambda _: None)
    return Ablations(
        run=run,
        out=tmp_path / "out",
        judge=ReplayJudge(STORIES),
        samples=4,
        segments=SEGMENTS,
        long_stories=1,
        frames_long=FRAMES_LONG,
        say=lambda _: None,
    )


@torch.no_grad()
def evaluated(networks: ArtV, anchor: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mask and the dynamic noise for one input, whatever the anchor."""
    torch.manual_seed(1)
    references, y_t = torch.randn(1, 2 * LATENT[0], *LATENT[1:]), torch.randn(1, *LATENT)
    text = networks.prepare_text(torch.randn(1, TOKENS, TEXT_WIDTH))
    conditions = networks.prepare(references, anchor, text, torch.tensor([200]))
    told: tuple[Tensor, Tensor] = networks(y_t, torch.tensor([500]), conditions)
    return told


def test_without_its_mask_a_model_copies_nothing() -> None:
    networks = tiny_model().networks
    anchor = torch.randn(1, *LATENT)
    mask, noise = evaluated(networks, anchor)
    assert mask.mean() > 0.01
    without_mask(networks)
    silent, same = evaluated(networks, anchor)
    assert silent.max() < 1e-12 and torch.equal(same, noise)


def test_without_its_anchor_a_model_draws_the_same_under_every_anchor() -> None:
    networks = tiny_model().networks
    anchors = torch.randn(1, *LATENT), torch.randn(1, *LATENT)
    heard = [evaluated(networks, anchor) for anchor in anchors]
    assert not torch.equal(heard[0][1], heard[1][1])
    without_anchor(networks)
    deaf = [evaluated(networks, anchor) for anchor in anchors]
    assert all(torch.equal(*pair) for pair in zip(*deaf, strict=True))


def test_what_is_missing_stays_missing_through_training(ablations: Ablations) -> None:
    before = load_model(ablations.start).networks.dynamic.unet.conv_in.weight
    mute, deaf = (load_model(ablations.train(a)).networks for a in (NO_MASK, NO_ANCHOR))
    for networks in (mute, deaf):
        assert not torch.equal(networks.dynamic.unet.conv_in.weight, before), "it was trained"
    assert float(mute.mask.unet.conv_out.bias) == NEVER != float(deaf.mask.unet.conv_out.bias)
    assert _last_of_anchor(mute).any() and not _last_of_anchor(deaf).any()


def _last_of_anchor(networks: ArtV) -> Tensor:
    weight: Tensor = networks.dynamic.anchor.transformers[0].proj_out.weight
    return weight


def test_a_variant_is_used_as_it_was_trained_and_trained_once(ablations: Ablations) -> None:
    clean = ablations.train(NO_NOISE)
    assert clean.preferences.sampling.noise_level == 0
    assert clean.preferences.key_sampling.noise_level == 0
    written = clean.path.stat().st_mtime_ns
    assert ablations.train(NO_NOISE).path.stat().st_mtime_ns == written
    assert ablations.train(STATIC_NOISES[0]).preferences.static_noise == "input_minus_reference"


def test_what_another_start_was_trained_to_is_never_taken(
    ablations: Ablations, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(self: Ablations, ablation: Ablation, folder: Path) -> None:
        shutil.copytree(self.start.path, folder / MODEL)

    monkeypatch.setattr(Ablations, "_train", train)
    there = ablations.train(NO_NOISE).path
    with (ablations.start.path / "dynamic" / "config.json").open("a") as config:
        config.write("\n")
    other = replace(ablations)
    assert other.start.fingerprint != ablations.start.fingerprint
    assert other.train(NO_NOISE).path != there


def test_the_report_has_a_column_for_each_variant_and_each_setting(
    ablations: Ablations, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = ReplayEngine(STORIES)
    monkeypatch.setattr(Ablations, "train", lambda self, ablation: replay_model())
    monkeypatch.setattr("benchmarks.ablations.load_engine", lambda folder: engine)
    report = ablations.report()
    names = [variant.name for variant in report.variants]
    assert names[:6] == [ablation.name for ablation in ABLATIONS]
    assert names[6:] == [f"noise_level={level}" for level in (0, 100, 200, 400)] + [
        "guidance.text=1.5",
        "guidance.on=composed",
        "guidance.rescale=0.7",
        "guidance.interval=200-900",
    ]
    assert "## The same under other settings" in report.to_markdown()
    assert report.facts["training of each"].startswith("4 examples, 4 a step")
