"""Videos and captions are found where people keep them, and every trouble is a sentence."""

from __future__ import annotations

import io
import json
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from artv_cli.errors import UsageError
from artv_cli.prepare.sources import Source, UnusableSource, list_sources


def found(*places: Path, videos: Path | None = None) -> list[tuple[str, str]]:
    """Return names with captions, or with the reason why there is none."""
    return [(source.name, told(source)) for source in list_sources(places, videos)]


def told(source: Source) -> str:
    try:
        return source.read_caption()
    except UnusableSource as error:
        return f"({error})"


def tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def test_a_folder_is_searched_to_the_bottom_in_a_fixed_order(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/x.webm", "a.MP4", "c.mkv", "notes.pdf", "d.mp4", "._a.mp4"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "a.txt").write_text("  a cat\nwalks \n")
    (tmp_path / "b" / "x.json").write_text('{"caption": "a rocket", "id": 5}')
    (tmp_path / "d.txt").write_text(" \n")
    assert found(tmp_path) == [
        ("a.MP4", "a cat walks"),
        ("b/x.webm", "a rocket"),
        ("c.mkv", "(there is no caption: c.txt is missing)"),
        ("d.mp4", "(its caption is empty)"),
    ]


def test_folders_come_in_the_order_of_whole_names_however_they_are_nested(tmp_path: Path) -> None:
    names = [
        "b.mp4",
        "b/x.mp4",
        "b-.mp4",
        "b/x/y.mp4",
        "b0.mp4",
        "B/a.mp4",
        "b/.h/a.mp4",
        "a/é.mp4",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "c").symlink_to(tmp_path / "b")
    *told, link = list_sources([tmp_path])
    assert [source.name for source in told] == sorted(set(names) - {"b/.h/a.mp4"})
    assert (link.name, link.trouble) == ("c", "it is a link to a folder: name that folder")


def test_of_many_folders_one_is_in_memory(tmp_path: Path) -> None:
    for folder in range(20):
        (tmp_path / f"{folder}").mkdir()
        for video in range(100):
            (tmp_path / f"{folder}" / f"{video}.mp4").touch()
    assert sum(1 for _ in list_sources([tmp_path])) == 2000
    tracemalloc.start()  # now that Python's table of all names, which grows in leaps, has grown
    assert sum(1 for _ in list_sources([tmp_path])) == 2000
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 60_000  # bytes: names of one folder, where paths of all took a megabyte


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.txt", b"\xff\xfe\x00"), ("a.json", b"{"), ("a.json", b"[" * 100_000)],
)
def test_a_sidecar_that_is_no_text_is_told(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    (tmp_path / name).write_bytes(content)
    assert found(tmp_path) == [("a.mp4", f"(its {Path(name).suffix} is no UTF-8 text of its kind)")]


def test_a_caption_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    (tmp_path / "a.json").write_text(r'{"caption": "a \ud800 cat"}')
    assert found(tmp_path) == [("a.mp4", "(its caption is no Unicode text)")]


def test_a_json_without_a_caption_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    (tmp_path / "a.json").write_text("[1]")
    assert found(tmp_path) == [("a.mp4", "(there is no caption beside it)")]


def test_a_list_in_the_manner_of_webvid(tmp_path: Path) -> None:
    (tmp_path / "videos" / "p1").mkdir(parents=True)
    (tmp_path / "videos" / "p1" / "17.mp4").write_bytes(b"")
    path = tmp_path / "results.csv"
    path.write_text(
        "videoid,contentUrl,duration,page_dir,name\n"
        '17,https://example.org/17.mp4,PT12S,p1,"Sea, at night"\n'
        "18,https://example.org/18.mp4,PT12S,p1,Gone\n"
        "19\n" + "2" * 300 + ",,,,Too long\n"
    )
    assert found(path, videos=tmp_path / "videos") == [
        ("p1/17.mp4", "Sea, at night"),
        ("p1/18.mp4", "(there is no such file)"),
        ("19", "(line 4 is not complete)"),
        ("2" * 300 + ".mp4", "(there is no such file)"),
    ]


def test_one_bad_row_of_a_list_keeps_no_other_from_being_read(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    long = b"y" * 200_000
    (tmp_path / "list.csv").write_bytes(
        b"path,caption\na.mp4,caf\xe9\na.mp4," + long + b"\na.mp4,a cat\n"
    )
    told = [caption for _, caption in found(tmp_path / "list.csv")]
    assert told == ["(its caption is no Unicode text)", long.decode(), "a cat"]


def test_a_list_of_paths_starts_from_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    (tmp_path / "list.csv").write_text("\ufeffcaption,path\na cat,a.mp4\n", encoding="utf-8")
    (source,) = list_sources([tmp_path / "list.csv"])
    assert (source.path, source.read_caption()) == (tmp_path / "a.mp4", "a cat")


def test_a_list_reaches_no_file_outside_the_folder_of_videos(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    (folder / "b").mkdir(parents=True)
    (tmp_path / "secret.mp4").write_bytes(b"")
    (folder / "a.mp4").write_bytes(b"")
    (folder / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    (folder / "inward.mp4").symlink_to("b/../a.mp4")
    refused = ["../secret.mp4", "b/../../secret.mp4", "/etc/hostname", "link.mp4", "a\0.mp4"]
    allowed = ["a.mp4", "b/../a.mp4", str(folder / "a.mp4"), "inward.mp4"]
    path = tmp_path / "list.csv"
    path.write_text("path,caption\n" + "".join(f"{name},x\n" for name in refused + allowed))
    outside = [(name, f"(it lies outside {folder})") for name in refused]
    assert found(path, videos=folder) == outside + [(name, "x") for name in allowed]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"url,caption\nx,y\n", "its first line names none of the columns path, file"),
        (b"path,title\nx,y\n", "none of the columns caption, text, name, but path, title"),
        (b"", "but nothing"),
        (b'path,caption\nx,y\nx,"' + b"y" * 2_000_000 + b'"\n', "behind line 2: field larger"),
    ],
)
def test_a_list_that_cannot_be_one_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(UsageError, match=problem):
        list(list_sources([tmp_path / "list.csv"]))


def test_samples_of_a_tar_are_spans_of_its_bytes(tmp_path: Path) -> None:
    path = tar(
        tmp_path / "in.tar",
        {
            "x/0.txt": b"a cat",
            "x/0.mp4": b"first",
            "x/1.mp4": b"second",
            "x/1.json": json.dumps({"caption": "a rocket"}).encode(),
            "x/._1.mp4": b"what some systems add",
            "x/2.jpg": b"a picture",
            "x/2.txt": b"of a picture",
            "x/3.mp4": b"third",
        },
    )
    assert found(path) == [
        ("in.tar/x/0.mp4", "a cat"),
        ("in.tar/x/1.mp4", "a rocket"),
        ("in.tar/x/3.mp4", "(there is no caption beside it)"),
    ]
    data = path.read_bytes()
    spans = [source.span for source in list_sources([path])]
    assert [data[s[0] : s[1]] for s in spans if s] == [b"first", b"second", b"third"]


def test_a_damaged_tar_is_listed_after_what_can_be_read_of_it(tmp_path: Path) -> None:
    whole = tar(tmp_path / "in.tar", {"0.mp4": b"x", "0.txt": b"a", "1.mp4": b"y" * 5000})
    (tmp_path / "in.tar").write_bytes(whole.read_bytes()[:4000])
    (tmp_path / "text.tar").write_bytes(b"no tar at all" * 100)
    listed = found(tmp_path)
    assert listed[0] == ("in.tar/0.mp4", "a")
    assert [name for name, _ in listed[1:]] == ["in.tar", "text.tar"]
    assert all("it is no whole, plain tar" in reason for _, reason in listed[1:])


def test_other_places_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.pdf").write_bytes(b"")
    with pytest.raises(UsageError, match="no kind of file that videos"):
        list(list_sources([tmp_path / "notes.pdf"]))
    with pytest.raises(UsageError, match="There is no"):
        list(list_sources([tmp_path / "nothing"]))


def test_a_single_video_is_a_place_as_well(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    (tmp_path / "a.txt").write_text("a cat")
    assert found(tmp_path / "a.mp4") == [("a.mp4", "a cat")]
