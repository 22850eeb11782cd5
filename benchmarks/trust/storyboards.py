"""Hostile storyboards: from a grammar, from bytes, and sound ones with pieces put in or moved."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random

from sample_storyboards import EVERYTHING
from standin import MODEL

from artv_cli.errors import StoryboardError, UsageError
from artv_cli.image_paths import image_paths, read_images
from artv_cli.plan import make_plan
from artv_cli.storyboard import Storyboard, parse_storyboard
from artv_cli.yaml_source import MAX_BYTES
from benchmarks.trust.limits import limited
from benchmarks.trust.proof import Check, expect, randoms

MAX_SECONDS = 1.0  # of processor time: a busy machine is no fault of the parser's
MAX_MEGABYTES = 500
NAME = "x.yaml"
_PLACE = re.compile(re.escape(NAME) + r":[0-9]+:[0-9]+: ")
_MOST_FRAMES = 100  # of a story that is laid out: what a frame costs is known

SOUND = (
    "segments:\n- prompt: a cat walks\n  frames: 4\n",
    EVERYTHING,
)
KEYS = (
    "title", "model", "size", "fps", "seed", "steps", "guidance", "noise_level", "strict", "image",
    "segments", "prompt", "frames", "duration", "anchor", "start", "fade", "narration", "text",
    "segment", "frame", "cache", "<<", "promt", "? ", "1", "null", "a frame",
)  # fmt: skip
WORDS = (
    "no", "yes", "1:30", "190:20:30", "0o17", "0x1F", "1_000", "2001-13-45", "2001-02-30 25:61:61",
    "~", ".nan", "-.inf", "1e999", "9" * 400, "-" + "9" * 5000, "0", "-1", "3.7", "1/0",
    "30000/1001", "128x96", "2s", "99999min", "0:00", "a cat", "''", '""', "previous", "first",
    "cat.png", "../x.png", "/dev/zero", "é", "😀", "\u2028", "\x85",
    '"\\0"', '"\\uD800"', '"\\UFFFFFFFF"', "!!int 3",
    "!!python/object:os.system x", "!!binary gg==", "&a b", "*a", "**", "@x", "`x`", "%x",
    "|\n", ">-\n", "{", "}", "[", "]", "? x", "- x", ": x", "#", "\t", "\x00", "\ufeff", "\x7f",
    "'unclosed", '"unclosed',
)  # fmt: skip
FRAGMENTS = (
    *WORDS, "segments:", "- ", "prompt: ", "frames: ", "<<: *a", "<<: [*a, *b]", "\n",
    "\n  ", "\n    ", "---\n", "...\n", "%YAML 1.2\n", "%YAML 9.9\n---\n", "%TAG ! a\n",
    "\r", ", ", ": ",
)  # fmt: skip


def storyboards(seed: int, _: Path) -> Iterator[Check]:
    """Yield hostile files, one from each family in turn."""
    for number, rng in enumerate(randoms(seed)):
        family = FAMILIES[number % len(FAMILIES)]
        yield partial(_is_read_or_refused, rng, family)


def _is_read_or_refused(rng: Random, family: Callable[[Random], str | bytes], home: Path) -> None:
    source = family(rng)
    data = source if isinstance(source, bytes) else source.encode(errors="surrogatepass")
    told = f"{family.__name__}: {data[:200]!r}"
    with limited(told, seconds=MAX_SECONDS, megabytes=MAX_MEGABYTES):
        try:
            board = parse_storyboard(source, name=NAME, folder=home)
        except StoryboardError as error:
            _expect_places(error, data)
            return
        for stage in (read_images, _lay_out):
            try:
                stage(board)
            except UsageError as error:
                _expect_place(error, told)


def _lay_out(board: Storyboard) -> None:
    if sum(segment.frames for segment in board.segments) <= _MOST_FRAMES:
        make_plan(board, MODEL, dict.fromkeys(image_paths(board), "0" * 64))


def _expect_place(error: UsageError, told: str) -> None:
    """Each sentence of what is found out after reading has a place; its remedy is indented."""
    for line in error.message.splitlines():
        is_told = line.startswith("  ") or _PLACE.match(line)
        expect(is_told and line.isprintable(), f"{line!r} has no place: {told}")


def _expect_places(error: StoryboardError, data: bytes) -> None:
    """Every problem is one sentence at a place that the file has."""
    expect(error.problems, f"no problem told for {data[:200]!r}")
    lines = len(data.decode(errors="replace").splitlines()) + 2
    for problem in error.problems:
        stands = 1 <= problem.line <= lines and 1 <= problem.column <= len(data) + 2
        expect(stands, f"{problem} stands nowhere in {data[:200]!r}")
        expect(problem.message.strip(), f"nothing is said of {data[:200]!r}")
        expect(problem.message.isprintable(), f"{problem.message!r} cannot be shown")


def of_the_grammar(rng: Random) -> str:
    """A document of mappings, lists and scalars, most of them where they do not belong."""
    lines = [f"{rng.choice(KEYS)}: {_flow(rng, 3)}" for _ in range(rng.randint(0, 4))]
    if rng.random() < 0.8:
        lines.append("segments:")
        for _ in range(rng.randint(0, 4)):
            keys = [rng.choice(KEYS) for _ in range(rng.randint(1, 5))]
            lines += [
                f"{'- ' if i == 0 else '  '}{key}: {_flow(rng, 2)}" for i, key in enumerate(keys)
            ]
    return rng.choice(("\n", "\n", "\r\n", "\r")).join(lines)


def _flow(rng: Random, depth: int) -> str:
    kind = rng.random()
    if depth == 0 or kind < 0.7:
        return rng.choice(WORDS)
    items = [_flow(rng, depth - 1) for _ in range(rng.randint(0, 4))]
    if kind < 0.85:
        return f"[{', '.join(items)}]"
    return "{" + ", ".join(f"{rng.choice(KEYS)}: {item}" for item in items) + "}"


def of_a_sound_one(rng: Random) -> str:
    """A sound storyboard with a few pieces of YAML put in, taken out or moved."""
    text = rng.choice(SOUND)
    for _ in range(rng.randint(1, 6)):
        at, end = sorted((rng.randint(0, len(text)), rng.randint(0, len(text))))
        match rng.randint(0, 2):
            case 0:
                text = text[:at] + rng.choice(FRAGMENTS) * rng.choice((1, 1, 3, 30)) + text[at:]
            case 1:
                text = text[:at] + text[min(end, at + 20) :]
            case _:
                text = text[:at] + text[at : at + 60] * rng.randint(1, 3) + text[at:]
    return text


def of_bytes(rng: Random) -> bytes:
    """Random bytes, or a sound storyboard with some of its bytes replaced: NUL, no UTF-8."""
    if rng.random() < 0.3:
        return rng.randbytes(rng.randint(0, 300))
    data = bytearray(rng.choice(SOUND), "utf-8")
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(len(data))] = rng.choice((0, 0xFF, 0xC3, 0xED, rng.randrange(256)))
    return bytes(data) if rng.random() < 0.9 else rng.choice(SOUND).encode("utf-16")


def of_bombs(rng: Random) -> str:
    """Few bytes that would stand for much: aliases, merges, brackets, digits, nodes, lines."""
    size = rng.choice((5, 40, 300, 3000))
    match rng.randrange(9):
        case 0:
            return "a0: &a0 [x]\n" + _chain(size, "[*a{0}, *a{0}, *a{0}, *a{0}]")
        case 1:
            return "a0: &a0 {x: y}\n" + _chain(size, "{{<<: [*a{0}, *a{0}]}}")
        case 2:
            return rng.choice("[{") * size * 10
        case 3:
            return "".join(f"{' ' * depth}a:\n" for depth in range(min(size, 900)))
        case 4:
            return f"seed: {'9' * size * 100}\n{SOUND[0]}"
        case 5:
            return "segments:\n" + "- prompt: a\n  frames: 1\n" * min(size, 900)
        case 6:
            return "\n" * size * 20
        case 7:
            return "\n".join(f"{rng.choice(KEYS)}: x" for _ in range(size))
        case _:
            piece = rng.choice(FRAGMENTS)
            return (piece * (size * 40))[:MAX_BYTES]


def _chain(length: int, form: str) -> str:
    return "".join(f"a{i}: &a{i} {form.format(i - 1)}\n" for i in range(1, length))


FAMILIES = (of_the_grammar, of_a_sound_one, of_the_grammar, of_bytes, of_a_sound_one, of_bombs)
