"""How notes are said on standard error, and how results are printed on standard output.

Standard output carries results alone (`emit`, `emit_json`, `emit_table`), so that a pipe gets
nothing else. Colour, width and animation follow the terminal and NO_COLOR, through Rich.
"""

from __future__ import annotations

import codecs
import errno
import json
import os
import stat
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from io import TextIOWrapper
from typing import Any, TextIO, cast

from rich.console import Console
from rich.table import Table

_ANY_WIDTH = 10_000  # columns: as good as no end
_COMMANDS = ("artv ", "torchrun ", "accelerate launch ")  # how lines to type begin
_AS_FAR_AS_IT_GOES = "artv-escaped"  # how Python calls this way to encode


class _Notes:
    """A stream that falls silent where it cannot be written: a render goes on without its notes.

    The reader may be gone, the terminal closed, the disk full.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            _drop(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            _drop(self._stream)


def replace_closed_streams() -> None:
    """Let nothing stand in for each standard stream that was closed at the start, as by `2>&-`.

    Python has None for those; and the next file that is opened would get the stream's number.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))


def error_console() -> Console:
    """Return the console of standard error; nothing moves there unless it is a terminal.

    FORCE_COLOR asks for colour in a pipe, and Rich would move things there as well.
    """
    stream = getattr(sys.stderr, "rich_proxied_file", sys.stderr)  # a moving line stands before it
    notes = cast(TextIO, _Notes(stream))
    return Console(file=notes, force_interactive=None if stream.isatty() else False)


def say(message: str, style: str = "", console: Console | None = None) -> None:
    """Print `message` on standard error, as it is; on a terminal wrapped between words.

    Words longer than a line, and lines that are a command to type, are left whole.
    """
    console = console or error_console()
    if console.is_terminal:
        message = "\n".join(_wrapped(line, console.width) for line in message.split("\n"))
    console.print(message, style=style, markup=False, highlight=False, emoji=False, soft_wrap=True)


def _wrapped(line: str, width: int) -> str:
    if len(line) <= width or line.lstrip().startswith(_COMMANDS):
        return line
    indent = line[: len(line) - len(line.lstrip())]
    lines = textwrap.wrap(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(lines)


def emit(text: str) -> None:
    """Print a result on standard output, a path that is not UTF-8 byte by byte as it is.

    What it has no letters for is escaped. BrokenPipeError where nobody reads it any more.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors=_AS_FAR_AS_IT_GOES)
    try:
        sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
    except OSError as error:
        if error.errno == errno.EIO and stat.S_ISCHR(os.fstat(sys.stdout.fileno()).st_mode):
            raise BrokenPipeError("the terminal was closed") from None
        raise


def _escaped(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return what is written in place of the first character that cannot be encoded."""
    assert isinstance(error, UnicodeEncodeError)
    error.end = error.start + 1
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeEncodeError:  # no byte of a path, but a letter that the encoding lacks
        return codecs.backslashreplace_errors(error)


codecs.register_error(_AS_FAR_AS_IT_GOES, _escaped)


def emit_prose(text: str) -> None:
    """Print a result in words on standard output: on a terminal wrapped between words."""
    if sys.stdout.isatty():
        width = Console().width
        text = "\n".join(_wrapped(line, width) for line in text.splitlines())
    emit(text)


def drop_stdout() -> None:
    """Point standard output at nothing: it cannot be written, and no later write may fail."""
    _drop(sys.stdout)


def _drop(stream: TextIO) -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, stream.fileno())
    os.close(nothing)


def emit_json(result: Mapping[str, Any] | Sequence[Any], indent: int | None = None) -> None:
    """Print a result on standard output as JSON, on one line unless indented for people.

    Bytes that are not UTF-8 are escaped, and all letters that are no ASCII where it is not UTF-8.
    """
    is_utf_8 = codecs.lookup(sys.stdout.encoding or "utf-8").name == "utf-8"
    text = json.dumps(result, ensure_ascii=not is_utf_8, indent=indent)
    emit(text.encode("utf-8", "backslashreplace").decode())


def emit_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows in columns; where a terminal is too narrow for that, one value a line.

    In a pipe or a file nothing is ever wrapped.
    """
    cells = [[str(cell) for cell in row] for row in rows]
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=any(headers))
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in cells:
        table.add_row(*row)
    is_terminal = sys.stdout.isatty()
    console = Console(markup=False, highlight=False, emoji=False)
    natural = console.measure(table, options=console.options.update(width=_ANY_WIDTH)).maximum
    if is_terminal and natural > console.width:
        emit("\n".join(_blocks(headers, cells, console.width)))
        return
    if not is_terminal:
        console.width = _ANY_WIDTH
    with console.capture() as printed:
        console.print(table)
    emit("\n".join(line.rstrip() for line in printed.get().splitlines()))


def _blocks(headers: Sequence[str], rows: list[list[str]], width: int) -> Iterable[str]:
    """Yield a line for each value of each row, the first of a row at the margin."""
    for row in rows:
        for column, (header, cell) in enumerate(zip(headers, row, strict=True)):
            label = f"{header}: " if header else ""
            if cell:
                yield _wrapped(f"{'  ' * (column > 0)}{label}{cell}", width)


def to_do(cached: int, to_render: int, pictures: int, anchor_images: int) -> str:
    """Return what there is and what is to be made, in one line."""
    drawn = f", {pictures} picture{'s' * (pictures > 1)} to draw" if pictures else ""
    images = f", {anchor_images} anchor image{'s' * (anchor_images > 1)} to encode"
    return f"{cached} cached, {to_render} to render{drawn}{images if anchor_images else ''}"


def duration(seconds: float) -> str:
    """Return a length of time as people say it: `4 s`, `1 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def file_size(num_bytes: float) -> str:
    """Return a number of bytes in decimal units: `512 B`, `3.4 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"
