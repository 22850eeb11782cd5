"""Films: frames to files, whole or not at all.

`.mp4` is H.264 (crf 18, yuv420p, BT.709) with soft subtitles, `.gif` has one palette, `.webp` is
lossless, `.png` is a contact sheet, and a name without an extension is a folder of numbered PNGs.
The same frames give the same bytes: encoders run on one thread, and nothing carries a date.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import MappingProxyType

import numpy as np

from artv_cli.errors import EncodeError, UsageError
from artv_cli.files.output import is_work_of, real_path, replacing, storage_errors
from artv_cli.latents import Pixels
from artv_cli.media import ffmpeg
from artv_cli.media.animation import write_gif, write_webp
from artv_cli.media.film import Film
from artv_cli.media.metadata import ffmetadata, tidied, xmp_box
from artv_cli.media.probe import VideoInfo, probe, read_frames, read_metadata
from artv_cli.media.stills import contact_sheet, write_pngs, write_sheet
from artv_cli.media.subtitles import Cue, srt, unmarked, write_srt
from artv_cli.quantities import films_keep

__all__ = [
    "Cue", "VideoInfo", "check_output", "contact_sheet", "dissolve", "probe", "read_frames",
    "read_metadata", "srt", "write_srt", "write_video",
]  # fmt: skip

NO_METADATA: Mapping[str, str] = MappingProxyType({})
RECIPE_FILE = "recipe.json"  # beside the frames in a folder of PNGs
_FRAME_NAME = re.compile(r"frame-\d{5,}\.png")
_FASTEST = {".gif": 50, ".webp": 90}  # browsers show what is faster at 10 frames a second
_SOFT_SUBTITLES = ("-c:s", "mov_text", "-disposition:s:0", "default")
_TO_YUV = (
    "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int+bitexact,"
    "format=yuv420p,"
    "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"
)


def write_video(
    frames: Iterable[Pixels],
    path: Path,
    *,
    fps: Fraction,
    count: int,
    metadata: Mapping[str, str] = NO_METADATA,
    subtitles: Sequence[Cue] = (),
    crf: int = 18,
) -> None:
    """Write `count` frames, uint8 (h, w, 3), all of one size, at exactly `fps`, to `path`.

    The format follows the extension. Memory stays flat for a film of any length. `metadata` maps
    XML names to texts (`title`, `comment`, …); a GIF holds the comment alone. Subtitles go into
    an MP4. `crf` is x264's quality, 0 (lossless) to 51. The recipe in a folder stays, as
    one beside a file does, where there is metadata to make another from. Raises UsageError (see
    `check_output`), EncodeError, StorageError; then what stood at `path` is still there.
    """
    check_output(path, fps)
    with storage_errors(path):
        write = _writer(path)
    source = iter(frames)
    first = next(source, None)
    if first is None or count < 1:
        raise UsageError(f"There is no frame to write to {path}.")
    film = Film(
        name=str(path), size=(first.shape[1], first.shape[0]), count=count, fps=fps,
        metadata=tidied(metadata), subtitles=_within(subtitles, count), crf=crf,
    )  # fmt: skip
    with replacing(path) as part:
        write(_checked(chain([first], source), film), part, film)
        _verify(part, path, film)
        check_output(path, fps)  # again: rendering may take hours, and the folder is the user's
        if film.metadata:
            _keep_recipe(path, part)


def check_output(path: Path, fps: Fraction) -> None:
    """Raise UsageError where a film at `fps` cannot be written to `path`: ask before rendering."""
    with storage_errors(path):
        _writer(path)
        _refuse_foreign(path)
    suffix = path.suffix.lower()
    if not films_keep(fps):
        raise UsageError(f"{fps} frames a second cannot be kept exactly.", "Use a rounder rate.")
    if suffix in _FASTEST and fps > _FASTEST[suffix]:
        raise UsageError(
            f"{path.name}: {suffix} shows at most {_FASTEST[suffix]} frames a second, not {fps}.",
            "Write an .mp4, or lower the rate.",
        )


def dissolve(frames: Iterable[Pixels], fades: Mapping[int, int]) -> Iterator[Pixels]:
    """Yield the frames, where a segment fades in blended with the last frame before it.

    `fades` maps the index of a fading segment's first frame to the number n of frames that fade:
    frame k of them (1 to n) is k/(n + 1) of itself. The film keeps its length.
    """
    before: Pixels | None = None
    last: Pixels | None = None
    start = length = 0
    for index, pixels in enumerate(frames):
        if index in fades:
            before, start, length = last, index, fades[index]
        if before is not None and index < start + length:
            pixels = _blend(before, pixels, (index - start + 1) / (length + 1))
        yield pixels
        last = pixels


def _keep_recipe(old: Path, new: Path) -> None:
    """Leave the old recipe in a folder of frames: it still tells of the subtitles beside it."""
    if new.is_dir() and (old / RECIPE_FILE).is_file():
        shutil.copyfile(old / RECIPE_FILE, new / RECIPE_FILE)


def _writer(path: Path) -> Callable[[Iterable[Pixels], Path, Film], None]:
    writers = {".mp4": _write_mp4, ".gif": write_gif, ".webp": write_webp, ".png": write_sheet}
    if path.is_dir() or not path.suffix:
        return write_pngs
    if path.suffix.lower() not in writers:
        raise UsageError(
            f"{path.name}: {path.suffix} is not a format that artv writes.",
            f"Use {', '.join(writers)}, or a name without an extension for a folder of PNGs.",
        )
    return writers[path.suffix.lower()]


def _refuse_foreign(path: Path) -> None:
    """Raise UsageError where something stands that artv does not replace."""
    if not path.is_dir():
        if path.exists() and not (path.suffix and path.is_file()):
            raise UsageError(
                f"{path} exists and is no {'file' if path.suffix else 'folder'} of frames.",
                "Choose another output.",
            )
        return
    here, ours = Path.cwd(), real_path(path)
    if ours == here or ours in here.parents:
        raise UsageError(
            f"{path} is the folder that you are in, or holds it: it cannot be replaced.",
            "Choose another output, or go to another folder.",
        )
    if foreign := [entry.name for entry in path.iterdir() if not _is_ours(entry)]:
        raise UsageError(
            f"{path} holds more than frames of artv ({min(foreign)}), so it is not replaced.",
            "Name an empty or a new folder, or a file with an extension: .mp4, .gif, .webp.",
        )


def _is_ours(entry: Path) -> bool:
    if is_work_of(entry, entry.with_name(RECIPE_FILE)):
        return True
    named = entry.name == RECIPE_FILE or _FRAME_NAME.fullmatch(entry.name)
    return bool(named) and entry.is_file() and not entry.is_symlink()


def _within(cues: Sequence[Cue], count: int) -> tuple[Cue, ...]:
    """Cut the cues to the film: one that outlasts it would make the file longer than its frames."""
    return tuple(Cue(cue.start_frame, min(cue.end_frame, count), cue.text) for cue in cues)


def _checked(frames: Iterable[Pixels], film: Film) -> Iterator[Pixels]:
    shape = (film.size[1], film.size[0], 3)
    number = 0
    for number, pixels in enumerate(frames, start=1):
        if pixels.shape != shape or pixels.dtype != np.uint8:
            raise EncodeError(f"Frame {number} is {pixels.dtype} {pixels.shape}, not {shape}.")
        if number > film.count:
            break
        yield pixels
    if number != film.count:
        came = "more" if number > film.count else number
        raise EncodeError(f"{film.count} frames were announced, but {came} came.")


def _verify(part: Path, path: Path, film: Film) -> None:
    """Read the finished file back: its frames are counted, decoded, before it is put in place."""
    try:
        info = probe(part)
    except EncodeError as error:  # which names the file that stands in for this one
        raise EncodeError(error.message.replace(str(part), str(path))) from error
    count = 1 if path.suffix.lower() == ".png" else film.count
    if info.frames != count:
        raise EncodeError(f"{path}: {info.frames} of {count} frames can be read back.")
    if path.suffix.lower() == ".mp4" and info.fps is not None and info.fps != film.fps:
        raise EncodeError(f"{path}: it plays {info.fps} frames a second, not {film.fps}.")


def _write_mp4(frames: Iterable[Pixels], path: Path, film: Film) -> None:
    width, height = film.size
    padding = ((0, height % 2), (0, width % 2), (0, 0))  # yuv420p has no odd sizes
    texts = path.with_name("metadata.txt")
    texts.write_text(ffmetadata(film.metadata), encoding="utf-8")
    cues = path.with_name("cues.srt")
    cues.write_text(unmarked(srt(film.subtitles, film.fps)), encoding="utf-8")
    has_cues = cues.stat().st_size > 0
    with ffmpeg.feeding(
        *ffmpeg.raw_input((width + width % 2, height + height % 2), film.fps),
        *("-f", "ffmetadata", "-i", ffmpeg.url(texts)),
        *(("-f", "srt", "-i", ffmpeg.url(cues)) if has_cues else ()),
        *("-map", "0:v", "-map_metadata", "1", "-vf", _TO_YUV, "-fps_mode", "passthrough"),
        *(("-map", "2:s", *_SOFT_SUBTITLES) if has_cues else ()),
        *("-c:v", "libx264", "-preset", "medium", "-crf", str(film.crf), "-threads", "1"),
        *("-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:s", "+bitexact"),
        *("-movflags", "+faststart+use_metadata_tags", "-f", "mp4", ffmpeg.url(path)),
        output=film.name,
    ) as pipe:
        for pixels in frames:
            pipe.write(np.pad(pixels, padding, mode="edge").tobytes())
    if film.metadata:
        with open(path, "ab") as file:
            file.write(xmp_box(film.metadata))


def _blend(before: Pixels, after: Pixels, weight: float) -> Pixels:
    mixed = before + (after.astype(np.float32) - before) * np.float32(weight)
    blended: Pixels = np.rint(mixed).astype(np.uint8)
    return blended
