"""Where captioned videos come from: folders with sidecar texts, CSV files, WebDataset tars.

Nothing is unpacked and no video is opened here; a video inside a tar is a span of its bytes.
"""

from __future__ import annotations

import csv
import json
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from artv_cli.errors import UsageError
from artv_cli.files.input_file import read_input
from artv_cli.media.footage import SUFFIXES

PATH_COLUMNS = ("path", "file", "filename", "video", "videoid")
CAPTION_COLUMNS = ("caption", "text", "name")  # WebVid calls the caption its name
FOLDER_COLUMN = "page_dir"  # of WebVid
TEXTS = (".txt", ".json")  # in the order in which they are asked for a caption
_LONGEST_TEXT = 1_000_000  # bytes


class UnusableSource(Exception):
    """A video that cannot be used: the reason in words."""


@dataclass(frozen=True)
class Source:
    """One video and where its caption stands.

    `span` is first byte and end of the video in the file at `path`, None where it is the whole
    file. `caption` is known from the listing, or stands in a text beside the file. `trouble`, if
    any, says why the video cannot be used.
    """

    name: str
    path: Path
    span: tuple[int, int] | None = None
    caption: str | None = None
    trouble: str = ""

    def read_caption(self) -> str:
        """Return the caption in one line; raises UnusableSource where there is none."""
        if self.trouble:
            raise UnusableSource(self.trouble)
        if not os.path.isfile(self.path):  # unlike Path's own method, it takes any text for a name
            raise UnusableSource("there is no such file")
        caption = _sidecar(self.path) if self.caption is None else self.caption
        caption = " ".join(caption.split())
        if not caption:
            raise UnusableSource("its caption is empty")
        if any("\ud800" <= letter <= "\udfff" for letter in caption):  # JSON can say these
            raise UnusableSource("its caption is no Unicode text")
        return caption

    def stamps(self) -> list[tuple[int, int] | None]:
        """Return size and date (ns) of the video's file and, where the caption is looked for
        beside it, of those texts; None for what is not there. Nothing for a video of no use.
        """
        if self.trouble:
            return []
        texts = () if self.caption is not None else map(self.path.with_suffix, TEXTS)
        return [_stamp(file) for file in (self.path, *texts)]


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        told = file.stat()
    except OSError:
        return None
    return told.st_size, told.st_mtime_ns


def list_sources(places: Sequence[Path], videos: Path | None = None) -> Iterator[Source]:
    """Yield the videos of folders, CSV files, tars and single video files, in a fixed order.

    Hidden files and folders are passed over. Paths in a CSV are relative to `videos`, by default
    to the CSV's own folder, and must lie in there. Raises UsageError for a place that is none of
    these; a single bad video or tar is yielded with its trouble.
    """
    for place in places:
        if place.is_dir():
            yield from _in_folder(place)
        elif not place.exists():
            raise UsageError(f"There is no {place}.", "Name a folder, a .csv, a .tar or a video.")
        elif place.suffix.lower() == ".csv":
            yield from _in_csv(place, videos or place.parent)
        elif place.suffix.lower() == ".tar":
            yield from _in_tar(place, place.name)
        elif place.suffix.lower() in SUFFIXES:
            yield Source(place.name, place)
        else:
            raise UsageError(
                f"{place} is no kind of file that videos are looked for in.",
                "Name a folder, a .csv, a plain .tar, or a video.",
            )


def _in_folder(folder: Path, above: str = "") -> Iterator[Source]:
    """Yield a folder's videos in the order of their names as text, `above` being part of them.

    Only the names in one folder, and in those that it lies in, are in memory at a time.
    """
    for name in sorted(_names(folder)):
        path = folder / name
        if name.endswith("/"):
            yield from _in_folder(path, above + name)
        elif path.suffix.lower() == ".tar":
            yield from _in_tar(path, above + name)
        elif path.suffix.lower() in SUFFIXES:
            yield Source(above + name, path)
        elif path.is_dir():
            yield Source(above + name, path, trouble="it is a link to a folder: name that folder")


def _names(folder: Path) -> Iterator[str]:
    """Yield what is in a folder and not hidden; a folder's name ends in a slash, as it sorts."""
    with suppress(PermissionError), os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                yield entry.name + "/" * entry.is_dir(follow_symlinks=False)


def _sidecar(video: Path) -> str:
    for suffix in TEXTS:
        text = video.with_suffix(suffix)
        if os.path.isfile(text):
            try:
                return _caption({suffix: read_input(text, _LONGEST_TEXT)})
            except UsageError as error:
                raise UnusableSource(error.message) from None
    raise UnusableSource(f"there is no caption: {video.with_suffix('.txt').name} is missing")


def _caption(texts: Mapping[str, bytes]) -> str:
    """Return the caption that the texts of a sample, by suffix, hold."""
    for suffix in TEXTS:
        if suffix not in texts:
            continue
        try:
            text = texts[suffix].decode()
            content = json.loads(text) if suffix == ".json" else {"caption": text}
        except (ValueError, RecursionError):
            raise UnusableSource(f"its {suffix} is no UTF-8 text of its kind") from None
        if isinstance(content, dict) and isinstance(caption := content.get("caption"), str):
            return caption
    raise UnusableSource("there is no caption beside it")


def _in_csv(path: Path, videos: Path) -> Iterator[Source]:
    csv.field_size_limit(_LONGEST_TEXT)  # beyond, it is no list of captions
    line = 1
    try:
        # A caption that is no UTF-8 is its row's trouble, and keeps no other from being read.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            rows = csv.DictReader(file)
            columns = list(rows.fieldnames or ())
            place = _column(columns, PATH_COLUMNS, path)
            text = _column(columns, CAPTION_COLUMNS, path)
            for row in rows:
                line = rows.line_num
                yield _row(row, place, text, videos, line)
    except (OSError, csv.Error) as error:
        told = f"{path} cannot be read behind line {line}: {error}."
        raise UsageError(told, "Correct it there, or leave the row out.") from None


def _column(columns: Sequence[str], known: Sequence[str], path: Path) -> str:
    for name in known:
        if name in columns:
            return name
    found = ", ".join(columns)[:200] or "nothing"
    raise UsageError(
        f"{path}: its first line names none of the columns {', '.join(known)}, but {found}.",
        "Add a line of column names.",
    )


def _row(row: Mapping[str, str | None], place: str, text: str, videos: Path, line: int) -> Source:
    name, caption = (row[place] or "").strip(), row[text]
    if not name or caption is None:
        return Source(name or f"line {line}", videos, trouble=f"line {line} is not complete")
    if place == "videoid":
        name = f"{name}.mp4"
        if folder := (row.get(FOLDER_COLUMN) or "").strip():
            name = f"{folder}/{name}"
    if not _lies_in(videos, videos / name):
        return Source(name, videos, trouble=f"it lies outside {videos}")
    return Source(name, videos / name, caption=caption)


def _lies_in(folder: Path, path: Path) -> bool:
    """Tell whether a path, its links followed, leads into a folder: a list may be a stranger's."""
    try:
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
    except ValueError:  # it has a zero byte: no file can be called that
        return False


def _in_tar(path: Path, name: str) -> Iterator[Source]:
    """Yield the samples of a tar in the manner of WebDataset: members that share a key."""
    key = ""
    group: dict[str, tarfile.TarInfo] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                tar.members = []  # type: ignore[attr-defined]  # they would grow with the tar
                pure = PurePosixPath(member.name)
                stem, dot, suffix = pure.name.partition(".")
                if not member.isreg() or member.issparse() or not (stem and dot):
                    continue
                if str(pure.with_name(stem)) != key:
                    yield from _sample(tar, group, path, name)
                    key, group = str(pure.with_name(stem)), {}
                group[f".{suffix.lower()}"] = member
            yield from _sample(tar, group, path, name)
    except (OSError, tarfile.TarError) as error:
        yield Source(name, path, trouble=f"it is no whole, plain tar: {error}")


def _sample(
    tar: tarfile.TarFile, group: Mapping[str, tarfile.TarInfo], path: Path, name: str
) -> Iterator[Source]:
    for suffix in sorted(SUFFIXES & group.keys()):
        video = group[suffix]
        span = video.offset_data, video.offset_data + video.size
        caption, trouble = "", ""
        try:
            caption = _caption(
                {suffix: _text(tar, group[suffix]) for suffix in TEXTS if suffix in group}
            )
        except UnusableSource as error:
            trouble = str(error)
        yield Source(f"{name}/{video.name}", path, span, caption, trouble)


def _text(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None  # it is a regular member
    return file.read(_LONGEST_TEXT)
