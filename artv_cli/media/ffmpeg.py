"""ffmpeg as a program: fed through its standard input or read from its output, always checked.

The program comes from imageio-ffmpeg, or from the path in `IMAGEIO_FFMPEG_EXE`; nothing else of
that package is used. A run whose exit code is not zero is an error, whatever file it left.
"""

from __future__ import annotations

import signal
import subprocess
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from threading import Thread
from typing import IO

from artv_cli.errors import ArtvError, EncodeError, StorageError

_QUIET = ("-hide_banner", "-nostats", "-loglevel", "error", "-y")
_NO_ROOM = ("No space left on device", "Disk quota exceeded", "File too large")
_NOT_OURS = ("Permission denied", "Read-only file system", "Operation not permitted")
_EMPTY_PHRASES = ("Conversion failed!",)
_ROOM = "Free some space, or choose another place; what is finished is kept."
_RIGHTS = "Choose another place, or change who may write there."
_KEPT_LINES = 40


def url(path: Path, span: tuple[int, int] | None = None) -> str:
    """Return `path` as ffmpeg takes it, safe for names with colons or a leading dash.

    Of a `span`, first byte and end, ffmpeg takes those bytes for the file.
    """
    whole = f"file:{path}"
    return whole if span is None else f"subfile,,start,{span[0]},end,{span[1]},,:{whole}"


def raw_input(size: tuple[int, int], fps: Fraction) -> tuple[str, ...]:
    """Return the options that make ffmpeg read raw RGB frames of `size` at `fps` when fed."""
    form = ("-f", "rawvideo", "-pixel_format", "rgb24", "-video_size", f"{size[0]}x{size[1]}")
    return (*form, "-framerate", f"{fps.numerator}/{fps.denominator}", "-i", "pipe:0")


@contextmanager
def feeding(*arguments: str, output: str) -> Iterator[IO[bytes]]:
    """Run ffmpeg and yield its standard input; raises EncodeError or StorageError when it fails.

    `output` is what people call that which it writes.
    """
    with _running(arguments, output, is_fed=True) as stream:
        yield stream


@contextmanager
def reading(*arguments: str) -> Iterator[IO[bytes]]:
    """Run ffmpeg and yield its standard output; raises EncodeError when it fails."""
    with _running(("-nostdin", *arguments), None, is_fed=False) as stream:
        yield stream


def run(*arguments: str, output: str | None = None) -> bytes:
    """Run ffmpeg to its end and return what it printed; raises EncodeError.

    StorageError too where it writes an `output`, as people call it.
    """
    with _running(("-nostdin", *arguments), output, is_fed=False) as stream:
        return stream.read()


@contextmanager
def _running(
    arguments: tuple[str, ...], output: str | None, *, is_fed: bool
) -> Iterator[IO[bytes]]:
    process = _start(arguments, is_fed)
    stream = process.stdin if is_fed else process.stdout
    assert stream is not None and process.stderr is not None
    complaints: deque[bytes] = deque(maxlen=_KEPT_LINES)
    listener = Thread(target=complaints.extend, args=(process.stderr,), daemon=True)
    listener.start()
    broken = False
    try:
        yield stream
        stream.close()
    except BrokenPipeError:
        broken = True  # it stopped reading: its exit code and last words say why
    except BaseException:
        process.kill()
        raise
    finally:
        with suppress(OSError):
            stream.close()
        process.wait()
        listener.join()
        process.stderr.close()
    if process.returncode or broken:
        raise _failure(process.returncode, complaints, output)


def _start(arguments: tuple[str, ...], is_fed: bool) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [_program(), *_QUIET, *arguments],
            stdin=subprocess.PIPE if is_fed else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if is_fed else subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches artv, which then ends ffmpeg
        )
    except OSError as error:
        raise _missing(error.strerror or str(error)) from error


def _program() -> str:
    import imageio_ffmpeg  # here, so that reading a recipe's JSON needs no ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise _missing("imageio-ffmpeg has none for this machine") from error


def _missing(reason: str) -> EncodeError:
    return EncodeError(
        f"ffmpeg cannot be started: {reason}.",
        "Reinstall imageio-ffmpeg, or set IMAGEIO_FFMPEG_EXE to an ffmpeg program.",
    )


def _failure(code: int, complaints: deque[bytes], output: str | None) -> ArtvError:
    """Return what to say of a run that failed, and of its `output`, if it had one to write."""
    lines = [line.decode(errors="replace").strip() for line in complaints]
    lines = [line for line in lines if line and line not in _EMPTY_PHRASES]
    if output is not None:
        for reason in (*_NO_ROOM, *_NOT_OURS):
            if any(reason in line for line in lines):
                remedy = _ROOM if reason in _NO_ROOM else _RIGHTS
                return StorageError(f"ffmpeg could not write {output}: {reason}.", remedy)
        if hasattr(signal, "SIGXFSZ") and code == -signal.SIGXFSZ:
            sentence = f"ffmpeg could not write {output}: File too large."
            return StorageError(sentence, "Raise the file size limit.")
    last = lines[-1] if lines else "it said nothing"
    what = "ffmpeg" if output is None else f"{output}: ffmpeg"
    return EncodeError(f"{what} failed with exit code {code}: {last}")
