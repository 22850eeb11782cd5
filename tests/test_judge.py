"""The judge: it learns, it resumes, it is kept, and it is taught windows that show one motion."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from artv_cli.errors import ModelError, UsageError
from artv_cli.evaluate.judge import (
    REQUIRED,
    STATE,
    JudgeRecipe,
    JudgeTraining,
    accuracies,
    main,
    train_judge,
)
from artv_cli.evaluate.network import STRIDE, JudgeNetwork
from artv_cli.evaluate.pool import Batch, ClipPool, disturb, foreground_share, held_out_windows
from artv_cli.evaluate.truth import (
    CLASSES,
    LAG,
    PARTS,
    WINDOW,
    Names,
    find_held_out,
    labels,
    long_captions,
    sample_truth,
    says_where,
    to_and_fro,
    window_starts,
)
from artv_cli.evaluate.verdict import CONFIG, EMBEDDED_JUDGE, WEIGHTS, count_classes, load_judge
from artv_cli.storybook.characters import EVERYBODY, PLAIN, Cast
from artv_cli.storybook.repertoire import SURROUNDINGS, held_out, motions
from artv_cli.storybook.script import sample_script
from artv_cli.storybook.world import sample_clip, world_digest
from artv_cli.train.run_folder import alone

TINY = JudgeRecipe(width=8, windows=2, clips=4, fresh=1, warmup=1)
TOY = JudgeRecipe(width=8, windows=24, rate=1e-2, warmup=5, ema=0.8)
THREE = dict.fromkeys(PARTS, 3)


class ToyWorld:
    """Red, green and blue squares before grey, yellow and violet go left, right or nowhere."""

    COLOURS = torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    SCENES = torch.tensor([[0.0, 0, 0], [0.8, 0.8, -0.5], [0.5, -0.6, 0.8]])

    def batch(self, step: int) -> Batch:
        generator = torch.Generator().manual_seed(step)
        named = torch.randint(3, (TOY.windows, 3), generator=generator)
        starts = torch.randint(4, 20, (TOY.windows, 2), generator=generator)
        clips = [self._clip(*row, *start) for row, start in zip(named, starts, strict=True)]
        frames, masks = (torch.stack(part) for part in zip(*clips, strict=True))
        return Batch(frames, named, foreground_share(masks[:, ::STRIDE]))

    def _clip(self, *drawn: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        colour, scene, motion, top, left = map(int, drawn)
        frames = self.SCENES[scene].view(1, 3, 1, 1).repeat(8, 1, 32, 32)
        masks = torch.zeros(8, 1, 32, 32, dtype=torch.bool)
        for index in range(8):
            start = left + (0, -1, 1)[motion] * (index - 4)
            masks[index, 0, top : top + 8, start : start + 8] = True
        colours = self.COLOURS[colour].view(1, 3, 1, 1)
        return torch.where(masks, colours, frames), masks


def test_the_judge_learns_a_toy_world_of_three_by_three_by_three_to_the_last_window() -> None:
    training = JudgeTraining(TOY, ToyWorld(), THREE)
    first, *_, last = (float(training.train_step()[0]) for _ in range(70))
    assert last < first / 4
    unseen = [ToyWorld().batch(10_000 + index) for index in range(3)]
    assert accuracies(training.averaged(), unseen) == dict.fromkeys(PARTS, 1.0)


def test_every_parameter_learns() -> None:
    training = JudgeTraining(TOY, ToyWorld(), THREE)
    training.train_step()
    still = [name for name, p in training.module.named_parameters() if not p.grad.abs().any()]
    assert not still


def test_the_network_has_a_few_hundred_thousand_parameters() -> None:
    network = JudgeNetwork(count_classes(), JudgeRecipe().width)
    assert 200_000 < sum(p.numel() for p in network.parameters()) < 600_000


def test_a_resumed_training_ends_in_the_same_judge(tmp_path: Path) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    said: list[str] = []
    train_judge(TINY, whole, steps=2, test=1, report=said.append)
    train_judge(TINY, halves, steps=1, test=1, report=said.append)
    train_judge(TINY, halves, steps=2, test=1, report=said.append)
    for file in (WEIGHTS, STATE):
        one, other = load_file(whole / file), load_file(halves / file)
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert "held out: character" in said[-1]


@pytest.mark.parametrize(
    ("recipe", "cast", "what"),
    [(TINY, PLAIN, "cast"), (replace(TINY, rate=1e-3), EVERYBODY, "rate")],
)
def test_a_training_never_goes_on_from_another_ones_state(
    tmp_path: Path, recipe: JudgeRecipe, cast: Cast, what: str
) -> None:
    train_judge(TINY, tmp_path, steps=1, test=1, report=lambda _: None)
    with pytest.raises(UsageError, match=f"it began with another {what}"):
        train_judge(recipe, tmp_path, steps=2, test=1, report=lambda _: None, cast=cast)


def test_what_stops_a_training_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["judge", str(tmp_path / "out"), "--model", "nobody's"])
    with pytest.raises(SystemExit, match="error: there is no model"):
        main()
    monkeypatch.setattr("sys.argv", ["judge", str(tmp_path / "out")])
    with (
        alone(tmp_path / "out"),
        pytest.raises(SystemExit, match="error: Another process trains in"),
    ):
        main()


def test_a_saved_judge_is_read_back_and_one_of_another_world_is_refused(tmp_path: Path) -> None:
    train_judge(TINY, tmp_path, steps=1, test=1, report=lambda _: None, cast=PLAIN)
    judge = load_judge(tmp_path)
    assert judge.cast == PLAIN
    frames = sample_truth(0, WINDOW, "train").frames
    names, foreground = judge.name(frames), judge.foreground(frames)
    assert all(getattr(names, part) in CLASSES[part] for part in PARTS)
    assert foreground.shape == (WINDOW, 1, 128, 128) and foreground.dtype == torch.bool
    assert judge.foreground(frames[..., :64, :96]).shape == (WINDOW, 1, 64, 96)
    assert set(judge.scores) == set(PARTS)
    assert judge.fingerprint == load_judge(tmp_path).fingerprint

    config = json.loads((tmp_path / CONFIG).read_text())
    assert config.pop("world") == world_digest()
    here = {"world": world_digest(), "classes": config["classes"] | {"scene": ["atlantis"]}}
    for other in (config, config | {"world": "0" * 64}, config | here):
        (tmp_path / CONFIG).write_text(json.dumps(other))
        with pytest.raises(ModelError, match="another world"):
            load_judge(tmp_path)


def test_the_judge_that_ships_knows_this_world_as_well_as_it_says() -> None:
    judge = load_judge(EMBEDDED_JUDGE)
    assert judge.cast == PLAIN
    assert all(judge.scores[part] >= least for part, least in REQUIRED.items())
    windows = held_out_windows(40, PLAIN, seed=1)  # others than those it was scored on
    shares = accuracies(judge.network, windows)
    assert all(shares[part] >= least - 0.08 for part, least in REQUIRED.items()), shares


@pytest.mark.parametrize("damage", ["missing", "config", "weights"])
def test_a_missing_or_damaged_judge_is_one_sentence(tmp_path: Path, damage: str) -> None:
    if damage != "missing":
        train_judge(TINY, tmp_path, steps=1, test=1, report=lambda _: None)
        (tmp_path / (CONFIG if damage == "config" else WEIGHTS)).write_bytes(b"{}")
    with pytest.raises(ModelError, match=r"no judge in|cannot be read") as caught:
        load_judge(tmp_path)
    assert "rain one" in caught.value.remedy


def test_a_batch_is_a_function_of_the_step_and_of_the_process() -> None:
    def pool(rank: int = 0) -> ClipPool:
        return ClipPool(2, clips=3, fresh=1, rank=rank, world=2)

    running = pool()
    running.batch(0)
    for one, other in zip(running.batch(1), pool().batch(1), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(pool().batch(1).frames, pool(rank=1).batch(1).frames)


def test_disturbed_windows_are_still_pictures_of_the_same_thing() -> None:
    clean = torch.stack([sample_truth(seed, 4, "train").frames for seed in (0, 1)])
    disturbed = disturb(clean.clone(), torch.Generator().manual_seed(0))
    assert disturbed.abs().max() <= 1
    assert 0 < (disturbed - clean).abs().mean() < 0.15


def test_a_window_is_labelled_by_its_later_part_if_that_begins_early_enough() -> None:
    who = [Names("cat", "snow", "left")] * 20 + [Names("cat", "snow", "jump")] * 12
    starts = window_starts(tuple(who))
    assert starts == [*range(0, 5), 20 - LAG]
    assert window_starts(tuple(who[:20])) == [0, 1, 2, 3, 4]


def test_a_window_shows_the_beginning_of_what_is_soon_over() -> None:
    who = [Names("cat", "snow", "left")] * 20 + [Names("cat", "snow", "dusk")] * 20
    assert window_starts(tuple(who)) == [*range(0, 5), *range(20 - LAG, 21)]
    assert window_starts(tuple(who[20:])) == [0]


def test_truth_is_of_one_character_and_says_whether_its_background_holds_still() -> None:
    scripts = {seed: sample_script(seed, 6) for seed in range(60)}
    together = next(seed for seed, script in scripts.items() if script.together)
    assert " and a" not in sample_truth(together, 6, "train").captions[0]
    for seed in range(12):
        truth, script = sample_truth(seed, 6, "train", (32, 32)), scripts[seed]
        rests = script.weather is None and not SURROUNDINGS & {*script.motions}
        assert truth.at_rest == truth.part(2, 4).at_rest == rests


def test_labels_are_the_places_in_the_worlds_own_lists() -> None:
    names = Names(*(CLASSES[part][-1] for part in PARTS))
    assert labels(names).tolist() == [len(CLASSES[part]) - 1 for part in PARTS]


def test_the_test_windows_are_of_combinations_that_training_never_shows() -> None:
    for batch in held_out_windows(4):
        names = (CLASSES[part][i] for part, i in zip(PARTS, batch.labels[0], strict=True))
        character, scene, motion = names
        assert held_out(character, motion, scene)


def test_foreground_is_what_is_drawn_over_the_background() -> None:
    truth = sample_truth(3, 4, "train")
    assert 0 < truth.foreground.float().mean() < 0.6
    background = sample_clip(3, 4).background  # of a clip without a companion
    rest = (truth.frames - background).abs().amax(1, keepdim=True)[~truth.foreground]
    assert rest.max() <= 0.1001


def test_a_held_out_clip_is_found_whose_caption_says_where() -> None:
    truth = find_held_out(7, 16, (32, 32), lambda shown: len(set(shown)) == 1)
    names = truth.names[0]
    assert held_out(names.character, names.motion, names.scene)
    assert says_where(truth.captions[0], names.scene)
    assert truth.frames.shape == (16, 3, 32, 32)
    for seed in range(3):
        assert find_held_out(seed, 4, (32, 32), lambda shown: True, at_rest=True).at_rest


def test_a_long_story_goes_to_and_fro_with_motions_that_its_character_has() -> None:
    names = Names("cat", "meadow", "left")
    told = list(long_captions(names, 9, seed=0))
    assert len(told) == 9
    assert says_where(told[0], "meadow")
    assert told == list(long_captions(names, 9, seed=0))
    assert {"left", "right"} <= set(motions("cat", "meadow"))
    route = ["right", "left", "jump", "right", "left", "spin", "right", "left", "still", "right"]
    assert list(islice(to_and_fro("cat", "meadow"), 10)) == route
    for character, scene in (("cat", "meadow"), ("fish", "underwater"), ("car", "city")):
        shown = set(islice(to_and_fro(character, scene), 30))
        assert shown <= set(motions(character, scene)) and shown >= {"left", "right"}
