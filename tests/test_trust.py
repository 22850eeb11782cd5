"""The promises of `benchmarks/trust`: a few proofs of each, and that a proof can fail."""

from __future__ import annotations

import errno
import itertools
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext, suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import pytest
from standin import StandInEngine

from artv_cli import export, keys
from artv_cli import story as artv_story
from artv_cli.cache import entry, store
from artv_cli.cache.store import FrameStore
from artv_cli.errors import ArtvError, ModelError
from artv_cli.files import output
from artv_cli.media import video
from artv_cli.model import text_to_image
from artv_cli.render import render
from benchmarks.trust import __main__ as command
from benchmarks.trust import disks, faults, films, ledger, mutations, proof, roads, stories
from benchmarks.trust import waiting_code as baited
from benchmarks.trust.corruption import corruption
from benchmarks.trust.kills import IN_FILM, film, kills, kills_around_calls
from benchmarks.trust.models import model_kills
from benchmarks.trust.proof import Check, Row, Tally, prove
from benchmarks.trust.rows import ROWS
from benchmarks.trust.same_bits import WAYS, same_bits
from benchmarks.trust.waiting_code import waiting_code
from benchmarks.trust.weights import drawn_file, weights

Checks = Callable[[int, Path], Iterator[Check]]


def proved(row: Row, folder: Path, count: int) -> Tally:
    return prove(row, count=count, seed=1, folder=folder)


def first_broken(checks: Checks, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run checks until one breaks, and return what it says."""
    monkeypatch.setattr(proof, "MAX_BROKEN", 1)
    (told,) = prove(Row("sabotaged", "", 0, 0, checks), count=None, seed=1, folder=folder).broken
    return told


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_a_promise_holds(row: Row, tmp_path: Path) -> None:
    tally = proved(row, tmp_path, row.short)
    if tally.is_all and not tally.held and not tally.broken:
        pytest.skip("no case of it can be tried on this machine")
    assert not tally.broken and tally.held >= row.short


def test_an_interrupt_at_any_frame_keeps_what_was_made(tmp_path: Path) -> None:
    whole = stories.digests(stories.SHORT_PLAN, tmp_path / "whole")
    for stop in range(3):
        cache, engine = stories.store_at(tmp_path / str(stop)), StandInEngine()
        decode, decoded = engine.decode, itertools.count()

        def interrupted(latents: Any, decode: Any = decode, decoded: Any = decoded,
                        stop: int = stop) -> Any:  # fmt: skip
            if next(decoded) == stop:
                raise KeyboardInterrupt
            return decode(latents)

        engine.decode = interrupted  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt), cache.lock():
            list(render(stories.SHORT_PLAN, cache, lambda engine=engine: engine, pytest.fail))  # type: ignore[misc]
        assert len(list(cache.entries())) == stop
        assert stories.digests(stories.SHORT_PLAN, cache.root) == whole


# ---------------------------------------------------------------- proofs that can fail


def test_damage_that_nobody_looks_for_breaks_its_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry.Entry, "digest", "the same for all")
    row = Row("corruption", "", 0, 0, corruption)
    assert proved(row, tmp_path, 100).broken


def test_a_key_without_the_prompt_breaks_its_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = keys._drawn
    monkeypatch.setattr(keys, "_drawn", lambda request: drawn(request) | {"prompt": ""})
    row = Row("mutations", "", 0, 0, mutations.mutations)
    assert any("the same key, other bits" in told for told in proved(row, tmp_path, 60).broken)


@pytest.mark.parametrize(
    "checks", [kills, kills_around_calls, pytest.param(model_kills, marks=pytest.mark.slow)]
)
def test_a_resume_that_draws_everything_anew_breaks_its_promise(
    checks: Checks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FrameStore, "get", lambda *_: None)
    assert "frames drawn" in first_broken(checks, tmp_path, monkeypatch)


def test_a_resume_that_throws_finished_frames_away_breaks_its_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = FrameStore.lock

    def emptied(store: FrameStore) -> Any:
        shutil.rmtree(store.root / "frames", ignore_errors=True)
        return lock(store)

    monkeypatch.setattr(FrameStore, "lock", emptied)
    told = first_broken(kills, tmp_path, monkeypatch)
    assert "finished frames are lost" in told or "frames drawn" in told


def test_a_film_is_killed_wherever_something_takes_its_place(tmp_path: Path) -> None:
    passed: Counter[str] = Counter()
    with ExitStack() as watched:
        for where, place in IN_FILM.items():
            note = partial(_noted, passed, where, getattr(place.owner, place.name))
            watched.enter_context(mock.patch.object(place.owner, place.name, note))
        film(tmp_path)
    assert passed == {where: place.passes or stories.FRAMES for where, place in IN_FILM.items()}


def _noted(
    passed: Counter[str], where: str, call: Callable[..., Any], *args: Any, **how: Any
) -> Any:
    passed[where] += 1
    return call(*args, **how)


def test_a_film_without_its_subtitles_breaks_its_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = itertools.count()
    write_srt = export.write_srt

    def once(*args: Any, **kwargs: Any) -> None:
        if next(written) == 1:  # of the film that nobody kills; what was killed writes none
            write_srt(*args, **kwargs)

    monkeypatch.setattr(export, "write_srt", once)
    assert "other files" in first_broken(kills, tmp_path, monkeypatch)


def written_in_place(path: Path, data: bytes) -> None:
    path.write_bytes(data)


@pytest.mark.parametrize("checks", [kills_around_calls, disks.limits, disks.full_disks])
def test_a_commit_that_writes_in_place_breaks_its_promise(
    checks: Checks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if checks is disks.full_disks and not disks._may_mount(tmp_path / "disk"):
        pytest.skip("no disk can be mounted on this machine")
    monkeypatch.setattr(store, "commit", written_in_place)
    assert ".artv" in first_broken(checks, tmp_path, monkeypatch)


def test_noise_from_a_running_state_breaks_its_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    latents = StandInEngine._latents

    def running(engine: StandInEngine, size: Any, kind: str, content: bytes) -> Any:
        return latents(engine, size, f"{kind} {len(engine.drawn)}", content)

    monkeypatch.setattr(StandInEngine, "_latents", running)
    assert "other frames" in first_broken(same_bits, tmp_path, monkeypatch)


def test_a_way_to_the_same_bits_holds_from_its_first_frame_on(tmp_path: Path) -> None:
    earliest = mock.create_autospec(Random, instance=True)
    earliest.randrange.side_effect = lambda *bounds: bounds[0] if len(bounds) == 2 else 0
    earliest.randint.side_effect = lambda low, high: low
    earliest.choice.side_effect = min
    for way in WAYS:
        (tmp_path / way.__name__).mkdir()
        assert way(earliest, tmp_path / way.__name__).frames


def test_a_film_that_is_written_in_place_breaks_its_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_place(path: Path) -> nullcontext[Path]:
        path.parent.mkdir(exist_ok=True)
        return nullcontext(path)

    monkeypatch.setattr(video, "replacing", in_place)
    told = first_broken(films.fakes, tmp_path, monkeypatch)
    assert "the old film is gone" in told or "something was left" in told


def test_a_folder_that_is_gone_before_its_successor_is_there_breaks_its_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(new: Path, path: Path) -> None:
        shutil.rmtree(path, ignore_errors=True)
        time.sleep(1)
        new.rename(path)

    monkeypatch.setattr(output, "_take_place", slowly)
    monkeypatch.setattr(films, "NAMES", ("film",))
    told = first_broken(films.films, tmp_path, monkeypatch)
    assert "film: neither the old film nor the new one" in told


def test_a_writer_that_fails_by_itself_is_no_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = films._film(tmp_path / "film.gif", "old")
    write = films._write

    def write_new(path: Path, which: str, *begun: Any) -> None:
        if which == "new":
            monkeypatch.setattr(output, "_sync", failing)
        write(path, which, *begun)

    monkeypatch.setattr(films, "_write", write_new)
    with pytest.raises(AssertionError, match="film.gif: the writer ended with 5"):
        films._killed(Random(1), "film.gif", film, film._replace(seconds=4), tmp_path / "out")


def failing(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_fault_that_is_hushed_up_breaks_its_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_film = export.write_film

    def hushed(*args: Any, **kwargs: Any) -> None:
        with suppress(ArtvError):
            write_film(*args, **kwargs)

    monkeypatch.setattr(artv_story, "write_film", hushed)
    monkeypatch.setattr(faults, "NAMES", ("film.webp",))
    assert "exit code 0, but another film" in first_broken(
        faults.failing_calls, tmp_path, monkeypatch
    )


@pytest.mark.parametrize(
    ("checks", "told"), [(weights, "UnpicklingError"), (waiting_code, "was run")]
)
def test_a_model_folder_whose_pickles_are_opened_breaks_its_promise(
    checks: Checks, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_all(name: str) -> None:
        for file in sorted(Path(name).rglob("*.*")):
            if file.suffix == ".pt" or told == "UnpicklingError":
                pickle.loads(file.read_bytes())
        raise ModelError("It is no model.", "Take another.")

    monkeypatch.setattr(roads, "find_model", open_all)
    assert told in first_broken(checks, tmp_path, monkeypatch)


def test_a_processor_whose_code_is_offered_breaks_its_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_to_image, "_require_harmless", lambda *_: None)
    bait = "naming code"
    monkeypatch.setattr(baited, "BAITS", {bait: baited.BAITS[bait]})
    assert "code in feature_extractor/, naming code: was run" in first_broken(
        waiting_code, tmp_path, monkeypatch
    )


def test_an_unclassified_field_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mutations.unclassified() == set()
    fields = {name: standing for name, standing in keys.CLASSIFIED["Segment"].items()}
    del fields["fade"]
    monkeypatch.setattr(mutations, "CLASSIFIED", {**keys.CLASSIFIED, "Segment": fields})
    assert mutations.unclassified() == {"Segment.fade"}


def test_a_file_to_mutate_is_always_found() -> None:
    files = [Path(f"{number}.json") for number in range(6)]
    files += [Path(f"{number}.safetensors") for number in range(6)]
    drawn = {drawn_file(Random(number), files) for number in range(20_000)}
    assert drawn == set(files)


# ---------------------------------------------------------------- the runs and their report


def checks(seed: int, _: Path) -> Iterator[Check]:
    def hold(folder: Path) -> int:
        assert folder.is_dir() and not any(folder.iterdir())
        return 2

    def fail(_: Path) -> None:
        raise ValueError("two is one")

    yield from (hold, fail, hold)


NUMBERS = Row("numbers", "numbers are numbers", 5, 1, checks)


def test_what_breaks_is_told_with_its_seed_and_the_rest_goes_on(tmp_path: Path) -> None:
    tally = proved(NUMBERS, tmp_path, 10)
    assert (tally.held, tally.is_all) == (4, True)
    assert tally.broken == ("seed 1, check 1: ValueError: two is one",)


def test_a_check_in_which_nothing_was_tried_is_no_proof(tmp_path: Path) -> None:
    def checks(seed: int, _: Path) -> Iterator[Check]:
        yield from (lambda _: Counter(), lambda _: 0, lambda _: None, lambda _: {"odd": 2})  # type: ignore[misc]

    tally = proved(Row("numbers", "", 5, 1, checks), tmp_path, 10)
    assert (tally.held, tally.kinds) == (3, {"odd": 2})


def test_a_row_stops_at_its_count_and_when_its_time_is_over(tmp_path: Path) -> None:
    assert proved(NUMBERS, tmp_path / "count", 2) == Tally(2, (), pytest.approx(0, abs=60), False)
    tally = prove(NUMBERS, count=None, seed=1, folder=tmp_path / "time", seconds=-1)
    assert (tally.held, tally.is_all) == (0, False)


def test_a_report_is_read_back_and_runs_add_up(tmp_path: Path) -> None:
    path = tmp_path / "trust.md"
    assert ledger.read_runs(path) == []
    runs = [
        ledger.Run("numbers", 1, 1234, 0, 5000.5, False, "abc1234+"),
        ledger.Run("numbers", 3, 6, 1, 0.5, True, "abc1234", {"in the model": 1004, "no": 2}),
    ]
    path.write_text(ledger.report([NUMBERS], runs))
    assert ledger.read_runs(path) == runs
    assert (
        "| numbers | numbers are numbers | 5 | 1,240 | 1 | 5,001 | **broken** |" in path.read_text()
    )
    assert ledger.next_seed(NUMBERS, runs) == 4 and ledger.next_seed(ROWS[0], runs) == 1


@pytest.mark.parametrize(
    ("bar", "held", "is_all", "verdict"),
    [(5, 5, False, "held"), (5, 4, False, "held so far"), (0, 4, True, "held"),
     (0, 4, False, "held so far")],
)  # fmt: skip
def test_a_promise_is_held_when_its_bar_is_reached(
    bar: int, held: int, is_all: bool, verdict: str
) -> None:
    row = Row("numbers", "", bar, 1, checks)
    text = ledger.report([row], [ledger.Run("numbers", 1, held, 0, 1.0, is_all, "abc")])
    assert f"| {verdict} |" in text
    assert "| not run |" in ledger.report([row], [])


def test_what_was_proved_before_is_not_counted_twice() -> None:
    runs = [
        ledger.Run("numbers", 1, 4, 0, 1, False, "abc", {"odd": 1, "even": 3}),
        ledger.Run("numbers", 1, 3, 0, 1, False, "abc", {"odd": 1, "even": 2}),
        ledger.Run("numbers", 2, 1, 0, 1, False, "def+", {"even": 1}),
    ]
    line = "| 5 | 5 | 0 | 3 | held by older code | def+, abc | 4 even, 1 odd |"
    assert line in ledger.report([NUMBERS], runs)
    every_case = Row("numbers", "", 0, 1, checks)
    assert "| every case | 4 | 0 | 3 | held so far | abc |" in ledger.report([every_case], runs)
    assert ledger.is_known(NUMBERS, 2, runs) and not ledger.is_known(NUMBERS, 3, runs)


@pytest.mark.parametrize(("bar", "is_all"), [(5, False), (0, True)])
def test_what_other_code_has_proved_vouches_for_no_newer_one(bar: int, is_all: bool) -> None:
    row = Row("numbers", "", bar, 1, checks)
    old = ledger.Run("numbers", 1, 5, 0, 1, is_all, "abc")
    new = ledger.Run("numbers", 2, 3, 0, 1, False, "def")
    assert "| held |" in ledger.report([row], [old])
    assert "| held by older code |" in ledger.report([row], [old, new])
    more = ledger.Run("numbers", 3, 3, 0, 1, is_all, "def")
    assert "| held |" in ledger.report([row], [old, new, more])


def test_code_is_the_last_commit_of_artv_or_a_proof_marked_where_that_has_changed_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a")
        done = subprocess.run(["git", *who, *arguments], cwd=tmp_path, capture_output=True)
        return done.stdout.decode().strip()

    def commit(name: str) -> str:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
        git("add", ".")
        git("commit", "-m", name)
        return git("log", "-1", "--format=%h")

    monkeypatch.setattr(command, "_git", git)
    assert command._code() == "unknown"
    git("init")
    commit("artv_cli/cli.py")
    newest = commit("benchmarks/trust/proof.py")
    commit("benchmarks/trust.md")
    assert command._code() == newest
    (tmp_path / "benchmarks" / "trust" / "proof.py").write_text("other")
    assert command._code() == f"{newest}+"


def test_what_another_process_has_proved_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "trust.md"
    other = ledger.Run("others", 1, 5, 0, 1, False, "abc")

    def prove_beside_another(*anything: Any, **more: Any) -> Tally:
        path.write_text(ledger.report((NUMBERS,), [other]))
        return prove(*anything, **more)

    monkeypatch.setattr(command, "ROWS", (NUMBERS,))
    monkeypatch.setattr(command, "prove", prove_beside_another)
    monkeypatch.setattr(sys, "argv", ["trust", "--output", str(path)])
    command.main()
    assert [run.row for run in ledger.read_runs(path)] == ["others", NUMBERS.name]


def test_runs_that_end_together_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "trust.md"
    runs = [ledger.Run("numbers", seed, 1, 0, 1.0, False, "abc") for seed in range(12)]
    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(lambda run: len(ledger.add(run, [NUMBERS], path)), runs)) == [
            *range(1, 13)
        ]
    assert sorted(run.seed for run in ledger.read_runs(path)) == [*range(12)]
    assert list(tmp_path.iterdir()) == [path]


def test_only_full_runs_and_those_that_say_where_add_to_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trust.md"
    monkeypatch.setattr(ledger, "PATH", path)
    monkeypatch.setattr(command, "ROWS", (NUMBERS,))

    def run(*arguments: str) -> list[ledger.Run]:
        monkeypatch.setattr(sys, "argv", ["trust", *arguments])
        command.main()
        return ledger.read_runs(path)

    assert run("--scale", "0.5") == run("--count", "2") == []
    assert [run.seed for run in run("--seed", "7")] == [7]
    assert [run.seed for run in run("--seed", "7", "--count", "2", "--output", str(path))] == [7]
    assert "seed 7 was run before" in capsys.readouterr().out
    assert [run.seed for run in run()] == [7, 8]


def test_a_row_without_a_case_on_this_machine_is_not_held() -> None:
    row = Row("numbers", "", 0, 1, checks)
    assert "| **not tried**: " in ledger.report(
        [row], [ledger.Run("numbers", 1, 0, 0, 1, True, "a")]
    )


def test_without_the_right_to_mount_full_disks_are_not_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disks, "_may_mount", lambda _: False)
    row = Row("disks", "", 0, 1, disks.full_disks)
    assert proved(row, tmp_path, 1) == Tally(0, (), pytest.approx(0, abs=60), True)
