"""The table of promises: what is proved, how often in full, and how often by the tests."""

from __future__ import annotations

from benchmarks.trust.corruption import corruption
from benchmarks.trust.disks import full_disks, limits
from benchmarks.trust.faults import failing_calls, failing_calls_over_older
from benchmarks.trust.films import fakes, films
from benchmarks.trust.images import images
from benchmarks.trust.kills import kills, kills_around_calls
from benchmarks.trust.models import model_kills
from benchmarks.trust.mutations import mutations
from benchmarks.trust.proof import Row
from benchmarks.trust.same_bits import same_bits
from benchmarks.trust.storyboards import storyboards
from benchmarks.trust.waiting_code import waiting_code
from benchmarks.trust.weights import weights
from benchmarks.trust.writers import writers

ROWS = (
    Row("kills", "killed at random instants, resumes to the same bits", 10_000, 25, kills),
    Row("calls", "killed around every file call of a film, resumes", 0, 30, kills_around_calls),
    Row("model-kills", "the same with a real model", 200, 2, model_kills),
    Row("faults", "any I/O error is clean, and the story resumes", 0, 12, failing_calls),
    Row(
        "older-faults",
        "the same over an older film of any kind",
        2_000,
        8,
        failing_calls_over_older,
    ),
    Row("limits", "no room at any byte of an entry is clean, and the story resumes", 0, 12, limits),
    Row("disks", "a full disk is clean, and the story resumes", 0, 8, full_disks),
    Row(
        "corruption", "damage is found, final bits unchanged, one warning", 100_000, 150, corruption
    ),
    Row("writers", "concurrent writers end in the same bits", 500, 4, writers),
    Row("mutations", "a key changes where the bits do", 10_000, 120, mutations),
    Row("films", "killed while it is written, the film is whole or absent", 1_000, 8, films),
    Row("fakes", "the same where ffmpeg is missing, fails or lies", 130, 13, fakes),
    Row("storyboards", "hostile storyboards are refused with a place", 100_000, 250, storyboards),
    Row("images", "hostile images and paths are refused", 100_000, 150, images),
    Row("weights", "hostile weights load or are refused", 100_000, 8, weights),
    Row("code", "no pickle is opened, no remote code runs", 0, 2, waiting_code),
    Row("same-bits", "same bits however a story is rendered", 500, 10, same_bits),
)
