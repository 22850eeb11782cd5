"""Hostile storyboards: from a grammar, from bytes, and sound ones with pieces put in or moved."""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from types import FrameType

from artv_cli.errors import StoryboardError
from artv_cli.storyboard import parse_storyboard
from artv_cli.yaml_source import MAX_BYTES
from benchmarks.trust.proof import Check, expect, randoms

MAX_SECONDS = 1.0  # of processor time: a busy machine is no fault of the parser's
MAX_KILOBYTES = 500_000

SOUND = (
    "segments:\n- prompt: a cat walks\n  frames: 4\n",
    """\
title: The cat and the rocket
model: storybook
size: [128, 96]
fps: 30000/1001
seed: 7
guidance: {text: 6.5, reference: .25, on: composed}
strict: yes
image: cat.png
segments:
  - prompt: a cat walks right across a meadow
    duration: 2s
  - prompt: the cat jumps
    frames: 16
    anchor: previous
  - prompt: a rocket flies up at night
    frames: 24
    start: cut
    image: rocket.png
    seed: 11
    fade: 4
    narration: And then, one night…
    anchor: {segment: 1, frame: 3}
""",
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


def _is_read_or_refused(rng: Random, family: Callable[[Random], str | bytes], _: Path) -> None:
    source = family(rng)
    data = source if isinstance(source, bytes) else source.encode(errors="surrogatepass")
    started, before = time.process_time(), _peak()
    with _limited_time():
        try:
            parse_storyboard(source, name="x.yaml", folder=Path())
        except StoryboardError as error:
            _expect_places(error, data)
    seconds, grown = time.process_time() - started, _peak() - before
    expect(seconds < MAX_SECONDS, f"{family.__name__}: {seconds:.1f} s for {data[:200]!r}")
    expect(grown < MAX_KILOBYTES, f"{family.__name__}: {grown} kB for {data[:200]!r}")


def _expect_places(error: StoryboardError, data: bytes) -> None:
    """Every problem is one sentence at a place that the file has."""
    expect(error.problems, f"no problem told for {data[:200]!r}")
    lines = len(data.decode(errors="replace").splitlines()) + 2
    for problem in error.problems:
        stands = 1 <= problem.line <= lines and 1 <= problem.column <= len(data) + 2
        expect(stands, f"{problem} stands nowhere in {data[:200]!r}")
        expect(problem.message.strip(), f"nothing is said of {data[:200]!r}")
        expect(problem.message.isprintable(), f"{problem.message!r} cannot be shown")


class _limited_time:
    """Stops what takes much longer than it may, so that a hang is told like any other fault."""

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGVTALRM, self._stop)
        signal.setitimer(signal.ITIMER_VIRTUAL, 10 * MAX_SECONDS)

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, self._before)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"more than {10 * MAX_SECONDS:g} s")


def _peak() -> int:
    """Return the most memory that this process has ever held, in kilobytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


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
