"""Narration becomes SubRip whose times follow the frames exactly."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from artv_cli.media.subtitles import Cue, srt, unmarked, write_srt


def test_times_are_rounded_from_the_start_of_the_film() -> None:
    text = srt([Cue(1, 2, "a"), Cue(30 * 3600, 30 * 3600 + 15, "b")], Fraction(30000, 1001))
    assert text == ("1\n00:00:00,033 --> 00:00:00,067\na\n\n2\n01:00:03,600 --> 01:00:04,101\nb\n")


def test_a_text_cannot_end_its_cue_or_forge_another() -> None:
    text = srt([Cue(0, 8, " one\r\n\r\n2\n00:00:01,000 --> 00:00:02,000\n")], Fraction(8))
    assert text == "1\n00:00:00,000 --> 00:00:01,000\none\n2\n00:00:01,000 → 00:00:02,000\n"


def test_subrips_own_tags_stay_markup() -> None:
    assert unmarked('<i>soft</i> <font color="red">x</font>') == (
        '<i>soft</i> <font color="red">x</font>'
    )
    assert unmarked("<it> {x} \\n") == "<\u2060it> {\u2060x} \\\u2060n"


def test_empty_cues_are_left_out_and_the_numbers_have_no_gap() -> None:
    assert srt([Cue(0, 0, "x"), Cue(0, 4, " \n"), Cue(4, 8, "y")], Fraction(8)).startswith("1\n")
    assert srt([], Fraction(8)) == ""


def test_the_sidecar_is_utf_8(tmp_path: Path) -> None:
    write_srt([Cue(0, 8, "é漢")], tmp_path / "film.srt", fps=Fraction(8))
    assert (tmp_path / "film.srt").read_text(encoding="utf-8").splitlines()[2] == "é漢"
