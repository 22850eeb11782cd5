"""The evaluation of a model: ground truth passes, a frozen video does not, a kill costs nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from replay import (
    FRAMES_LONG,
    SEGMENTS,
    SIDE,
    FrozenEngine,
    ReplayEngine,
    ReplayJudge,
    replay_model,
    replay_stories,
)
from standin import MODEL, SAMPLING
from typer.testing import CliRunner

from artv_cli.errors import UsageError
from artv_cli.evaluate.masks import MaskLog
from artv_cli.evaluate.records import Ledger, Record
from artv_cli.evaluate.report import Report, Variant, title
from artv_cli.evaluate.stories import (
    Story,
    count_stories,
    draw_stories,
    draw_story,
    plan_story,
    tell,
)
from artv_cli.evaluate.storybook import Evaluation, Way, _how, evaluate, read_ways
from artv_cli.evaluate.summary import Bar, Figure, mean_masks, summarize, tally
from artv_cli.evaluate.truth import Names
from artv_cli.setting_tables import GuidanceSettings
from artv_cli.settings import Settings
from artv_cli.storybook.repertoire import held_out
from artv_cli.storybook.vocabulary import Vocabulary

STORIES = replay_stories()
JUDGE = ReplayJudge(STORIES)
END = f"frame {FRAMES_LONG}"


def run(ledger: Path, engine: ReplayEngine | None = None, **more: Any) -> Report:
    known: dict[str, Any] = {"model": replay_model(), "judge": JUDGE, "ledger": ledger}
    how_much = {"segments": SEGMENTS, "frames_long": FRAMES_LONG}
    evaluation = Evaluation(**(known | how_much | more))
    return evaluate(evaluation, lambda _: engine or ReplayEngine(STORIES), lambda _: None)


def values(report: Report, variant: int = 0) -> dict[str, float | None]:
    return {figure.name: figure.value for figure in report.variants[variant].figures}


def test_ground_truth_reaches_every_bar(tmp_path: Path) -> None:
    report = run(tmp_path / "a.jsonl")
    assert report.missed == []
    told = values(report)
    assert all(told[name] == 100 for name in told if name.startswith(("text", "after", "from")))
    assert told["motion magnitude"] == pytest.approx(1, abs=0.05)
    assert told[f"sharpness at {END}"] == pytest.approx(1, abs=0.05)
    assert told["autoencoder's reconstruction"] > 45
    assert (told["background at frame 16"] or 0) > 30
    assert told[f"drift: character, {END} against 16"] == 0


def test_a_frozen_video_has_no_motion_and_misses_that_bar(tmp_path: Path) -> None:
    report = run(tmp_path / "a.jsonl", FrozenEngine(STORIES))
    assert values(report)["motion magnitude"] == 0
    assert "motion magnitude" in {figure.name for figure in report.missed}
    assert "| motion magnitude | 0.7 to 1.3 | 0.00 × |  | **missed** |" in report.to_markdown()


def test_a_killed_evaluation_goes_on_and_ends_in_the_same_figures(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl"
    every = ReplayEngine(STORIES)
    expected = values(run(whole, every))
    first, rest = ReplayEngine(STORIES, killed_after=every.drawn // 2), ReplayEngine(STORIES)
    with pytest.raises(KeyboardInterrupt):
        run(killed, first)
    with killed.open("a") as ledger:
        ledger.write('{"key": "cut short')
    assert values(run(killed, rest)) == expected
    assert 0 < rest.drawn < every.drawn

    idle = ReplayEngine(STORIES)
    assert values(run(killed, idle)) == expected
    assert idle.drawn == 0


def test_processes_share_the_stories_and_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every, first, second = (ReplayEngine(STORIES) for _ in range(3))
    expected = values(run(tmp_path / "alone.jsonl", every))

    def be(rank: int, wait: Callable[[], Any]) -> None:
        monkeypatch.setattr("artv_cli.evaluate.storybook.join", lambda: (rank, 2))
        monkeypatch.setattr("artv_cli.evaluate.storybook.wait", wait)

    def let_the_other_work() -> None:
        be(1, lambda: None)
        assert values(run(tmp_path / "shared.jsonl", second)) == expected

    be(0, let_the_other_work)
    assert values(run(tmp_path / "shared.jsonl", first)) == expected
    assert first.drawn and second.drawn
    assert first.drawn + second.drawn == every.drawn


def test_other_settings_and_another_judge_are_not_answered_from_the_ledger(tmp_path: Path) -> None:
    ledger = tmp_path / "a.jsonl"
    run(ledger)
    kept = len(ledger.read_text().splitlines())
    report = run(ledger, ways=read_ways(["noise_level=0,200"]))
    assert [variant.name for variant in report.variants] == [
        "as it is",
        "noise_level=0",
        "noise_level=200",
    ]
    # 200 is the model's own level: only level 0 had to be drawn.
    assert len(ledger.read_text().splitlines()) == 2 * kept
    assert "## The same under other settings" in report.to_markdown()


def test_another_precision_is_not_answered_from_the_ledger(tmp_path: Path) -> None:
    ledger = tmp_path / "a.jsonl"
    run(ledger)
    model = replay_model()
    halves = model.preferences.model_copy(update={"dtype": "bfloat16"})
    engine = ReplayEngine(STORIES)
    report = run(ledger, engine, model=replace(model, preferences=halves))
    assert engine.drawn
    assert report.facts["precision"] == "bfloat16"


def test_the_page_tells_how_key_frames_were_drawn_too(tmp_path: Path) -> None:
    model = replay_model()
    liked = model.preferences
    more = replace(liked.sampling, steps=77)
    other = replace(model, preferences=liked.model_copy(update={"key_frame": more}))
    facts = run(tmp_path / "a.jsonl", model=other).facts
    assert f"steps: {liked.sampling.steps}" in facts["inference"]
    assert "steps: 77" in facts["inference, key frames"]
    assert "steps: 77" in run(tmp_path / "a.jsonl", model=other).to_markdown()


def test_ways_are_one_for_each_value() -> None:
    ways = read_ways(["guidance.on=dynamic,composed", "static_noise=exact"])
    assert [way.name for way in ways] == [
        "guidance.on=dynamic",
        "guidance.on=composed",
        "static_noise=exact",
    ]
    assert ways[1].settings.guidance is not None
    assert ways[1].settings.guidance.on == "composed"
    assert (ways[2].static_noise, ways[2].settings) == ("exact", Way().settings)


def test_rescaled_and_interval_guidance_are_ways() -> None:
    plain, rescaled, interval = read_ways(["guidance.rescale=0,0.7", "guidance.interval=200-900"])
    assert plain.settings.guidance == GuidanceSettings(rescale=0)
    assert rescaled.settings.guidance == GuidanceSettings(rescale=0.7)
    assert interval.settings.guidance == GuidanceSettings(interval=(200, 900))


def test_records_from_before_a_setting_of_guidance_existed_keep_their_keys() -> None:
    guidance = {"text": 3.0, "reference": 0.25, "anchor": 0.25, "on": "dynamic"}
    kept = {"sampler": "dpmpp_2m", "steps": 8, "guidance": guidance, "noise_level": 200}
    assert _how(SAMPLING) == kept
    told = _how(replace(SAMPLING, guidance=replace(SAMPLING.guidance, rescale=0.7)))
    assert told == {**kept, "guidance": {**guidance, "rescale": 0.7}}


@pytest.mark.parametrize(
    "text", ["prompt=a cat", "noise_level", "noise_level=", "noise_level=1,,2", "noise_level=many",
             "guidance.on=sunday", "guidance.rescale=2", "guidance.interval=9-1",
             "static_noise=none"],
)  # fmt: skip
def test_a_bad_variation_is_one_sentence(text: str) -> None:
    with pytest.raises(UsageError):
        read_ways([text])


def test_another_form_of_static_noise_is_another_model(tmp_path: Path) -> None:
    from tiny import tiny_folder

    from artv_cli.model.folder import find_model

    model = find_model(str(tiny_folder(tmp_path)))
    other = Way(static_noise="input_minus_reference").folder(model)
    assert other.fingerprint != model.fingerprint
    assert other.preferences.static_noise == "input_minus_reference"
    assert Way(static_noise="exact").folder(model).fingerprint == model.fingerprint


def test_stories_ask_for_combinations_never_trained_on_and_switch_where_they_say() -> None:
    assert len(STORIES) == sum(count_stories(SEGMENTS).values())
    for story in STORIES:
        for names in story.truth.names:
            assert held_out(names.character, names.motion, names.scene)
        if story.kind == "switch":
            before, after = story.truth.names[15], story.truth.names[16]
            assert before.motion != after.motion
            assert [frames for _, frames in story.segments] == [16, 16]
        if story.kind == "long":
            assert sum(frames for _, frames in story.segments) == FRAMES_LONG


def test_a_story_is_a_function_of_its_number_and_seed() -> None:
    def digest(number: int, seed: int) -> str:
        return draw_story("text", number, seed, FRAMES_LONG, (SIDE, SIDE)).digest

    assert digest(0, 0) == digest(0, 0)
    assert len({digest(0, 0), digest(1, 0), digest(0, 1)}) == 3


def test_the_background_is_measured_where_it_is_to_hold_still(tmp_path: Path) -> None:
    run(tmp_path / "a.jsonl")
    at_rest = {story.name: story.truth.at_rest for story in STORIES}
    assert {*at_rest.values()} == {True, False} and at_rest["long-0"]
    for line in (tmp_path / "a.jsonl").read_text().splitlines():
        record = json.loads(line)
        if not at_rest[record["story"]]:
            assert record["background"] is None
        elif record["kind"] == "long":
            assert record["background"] > 30


def test_after_a_switch_the_same_is_what_was_seen_before_it(tmp_path: Path) -> None:
    run(tmp_path / "a.jsonl")
    records = Ledger(tmp_path / "a.jsonl")
    keys = [json.loads(line)["key"] for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    switch = next(r for r in records.records(keys) if r.kind == "switch")
    other = replace(switch.seen, character="dog" if switch.seen.character != "dog" else "cat")

    def same(record: Record) -> float | None:
        told = {figure.name: figure.value for figure in summarize([record], FRAMES_LONG)}
        return told["after a switch: same character"]

    assert same(switch) == 100
    assert same(replace(switch, seen=other)) == 0
    assert same(replace(switch, seen=other, early=other)) == 100


def test_each_name_is_counted_where_it_was_asked_for() -> None:
    cat, dog = Names("cat", "meadow", "left"), Names("dog", "meadow", "left")
    seen = [(cat, cat), (cat, dog), (dog, dog)]
    records = [SimpleNamespace(kind="text", told=told, seen=saw) for told, saw in seen]
    records.append(SimpleNamespace(kind="long", told=cat, seen=dog))
    assert tally(records, "character") == {"dog": (1, 1), "cat": (1, 2)}
    assert tally(records, "scene") == {"meadow": (3, 3)}


def test_a_ledger_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    run(tmp_path / "a.jsonl")
    ledger = Ledger(tmp_path / "a.jsonl")
    for line in (tmp_path / "a.jsonl").read_text().splitlines():
        record = ledger.get(json.loads(line)["key"])
        assert record is not None and record.told in {s.truth.names[-1] for s in STORIES}
        masked = replace(record, masks={"999": 0.25, "19": 0.75})
        assert mean_masks([masked, replace(masked, masks={"19": 0.25})]) == {999: 0.25, 19: 0.5}


def test_a_figure_without_stories_is_not_measured() -> None:
    figure = Figure("drift", "points", Bar(high=5), None, 0)
    assert figure.is_met is None
    page = Report("A page", [Variant("as it is", [figure])], {}).to_markdown()
    assert "No bars are missed, 1 not measured." in page
    assert (str(Bar(high=5)), str(Bar(low=28)), str(Bar(0.8, 1.2))) == ("≤ 5", "≥ 28", "0.8 to 1.2")
    assert Bar(0.8, 1.2).is_met(1.2) and not Bar(0.8, 1.2).is_met(1.21)


def test_masks_are_logged_of_frames_that_have_something_to_copy() -> None:
    from test_artv_engine import FINGERPRINT, REQUEST
    from tiny import SIZE, tiny_model

    from artv_cli.artv_engine import ArtvEngine

    engine = ArtvEngine(tiny_model(), FINGERPRINT)
    board = Story("text", 0, 0, (("the cat walks", 2),), STORIES[0].truth)
    identity = replace(MODEL, size=SIZE, sampling=REQUEST.sampling)
    log = MaskLog()
    frames = tell(board, plan_story(board, identity, Settings()), engine, log.hear)
    next(frames)
    assert log.means == {}, "a key frame has nothing to copy"
    next(frames)
    steps = [int(step) for step in log.means]
    assert len(steps) == REQUEST.sampling.steps
    assert steps == sorted(steps, reverse=True)
    assert all(0 < mask < 1 for mask in log.means.values())


@pytest.fixture
def ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplayEngine]:
    """The command's surroundings, with an engine that replays and a judge that knows."""
    engine = ReplayEngine(STORIES)
    monkeypatch.chdir(tmp_path)

    def load_engine(*model: Any, warn: Any, **how: Any) -> ReplayEngine:
        warn("memory will be short")
        return engine

    loader = SimpleNamespace(load_engine=load_engine)
    monkeypatch.setitem(sys.modules, "artv_cli.artv_engine", loader)
    monkeypatch.setattr("artv_cli.commands.evaluate.find_model", lambda name: replay_model())
    monkeypatch.setattr("artv_cli.evaluate.verdict.load_judge", lambda folder: JUDGE)
    yield engine


def command(*arguments: str) -> Any:
    from artv_cli.cli import app

    numbers = ["--segments", str(SEGMENTS), "--frames-long", str(FRAMES_LONG)]
    return CliRunner().invoke(app, ["evaluate", "storybook", *numbers, *arguments])


def test_the_command_prints_the_table_and_writes_the_page(ready: ReplayEngine) -> None:
    result = command("--out", "pages/story.md")
    assert result.exit_code == 0, result.stderr
    assert "motion magnitude" in result.stdout and "missed" not in result.stdout
    page = Path("pages/story.md").read_text()
    assert "No bars are missed." in page
    assert "fingerprint" in page and "engine replay 1" in page
    assert Path("pages/story.jsonl").exists()


def test_the_command_says_that_it_loads_and_what_the_engine_warns_of(ready: ReplayEngine) -> None:
    said = command("--out", "page.md").stderr
    assert f"loading {replay_model().name}\n" in said
    assert "warning: memory will be short\n" in said


@pytest.mark.parametrize("out", ["verdicts.jsonl", "."])
def test_the_page_is_never_written_over_the_verdicts_or_a_folder(
    ready: ReplayEngine, out: str
) -> None:
    Path("verdicts.jsonl").write_text("")
    result = command("--out", out)
    assert result.exit_code == 2
    assert f"--out {out} is" in result.stderr and "Traceback" not in result.stderr
    assert not ready.drawn and not Path("verdicts.jsonl").read_text()


def test_verdicts_are_never_added_to_somebody_s_own_lines(ready: ReplayEngine) -> None:
    Path("data.jsonl").write_text('{"name": "mine"}\n')
    result = command("--out", "data.md")
    assert (result.exit_code, ready.drawn) == (2, 0)
    assert "data.jsonl is there already" in result.stderr and "--out" in result.stderr
    assert Path("data.jsonl").read_text() == '{"name": "mine"}\n'


@pytest.mark.parametrize("cut", ["", "{", '{"key": "cut short'])
def test_a_first_verdict_that_a_kill_cut_short_is_left_aside(ready: ReplayEngine, cut: str) -> None:
    Path("page.jsonl").write_text(cut)
    assert command("--out", "page.md").exit_code == 0
    assert command("--out", "page.md").exit_code == 0


@pytest.mark.parametrize("mine", [b"# A film\n\nmine", b"", b"\xff"])
def test_a_file_that_is_no_page_of_ours_is_refused_before_anything_is_judged(
    ready: ReplayEngine, mine: bytes
) -> None:
    Path("README.md").write_bytes(mine)
    result = command("--out", "README.md")
    assert (result.exit_code, ready.drawn) == (2, 0)
    assert "--out README.md is there already" in result.stderr and "Name" in result.stderr
    assert Path("README.md").read_bytes() == mine and not Path("README.jsonl").exists()


def test_the_page_of_an_evaluation_makes_room_for_that_of_another_model(
    ready: ReplayEngine,
) -> None:
    page = Path("page.md")
    page.write_text(Report(title("dreamer/of dreams"), [Variant("as it is", [])], {}).to_markdown())
    assert command("--out", "page.md").exit_code == 0
    assert command("--out", "page.md").exit_code == 0
    assert page.read_text().startswith(f"# {title(replay_model().name)}\n")


def test_the_command_prints_one_json_object(ready: ReplayEngine) -> None:
    result = command("--json", "--quiet")
    told = json.loads(result.stdout)
    figures = {figure["name"]: figure for figure in told["variants"]["as it is"]["figures"]}
    assert figures["text alone: character"]["value"] == 100
    assert figures["text alone: character"]["met"] is True
    assert result.stderr == ""


def test_the_command_says_how_to_get_a_judge(
    ready: ReplayEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr("artv_cli.commands.evaluate.find_model", lambda name: replay_model())
    result = command("--judge", "no/such/folder")
    assert result.exit_code == 3
    assert "python -m artv_cli.evaluate.judge no/such/folder" in result.stderr


def test_the_help_of_evaluate_comes_without_torch() -> None:
    program = (
        "import sys; from typer.testing import CliRunner; from artv_cli.cli import app\n"
        "result = CliRunner().invoke(app, ['evaluate', 'storybook', '--help'])\n"
        "assert result.exit_code == 0 and 'torch' not in sys.modules, result.output"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_only_characters_that_model_and_judge_know_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Vocabulary(frozenset(("cat", "horse", "walks")), 9)
    monkeypatch.setattr("artv_cli.evaluate.storybook.read_vocabulary", lambda _: known)
    judge = ReplayJudge(STORIES)
    judge.cast = frozenset(("cat", "dog", "horse"))
    evaluation = Evaluation(model=replay_model(), judge=judge, ledger=tmp_path / "a.jsonl")
    assert evaluation.cast == {"cat", "horse"}
    stories = draw_stories(4, 0, 32, (SIDE, SIDE), evaluation.cast)
    assert {story.truth.names[0].character for story in stories} <= {"cat", "horse"}
    judge.cast = frozenset(("dog",))
    with pytest.raises(UsageError, match="the judge knows none of the characters"):
        evaluation.cast  # noqa: B018
