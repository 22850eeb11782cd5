"""From videos to shards: what stands in them, what is left out, and what a kill leaves behind."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from threading import Event, Semaphore
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from home_videos import film, shot
from imageio_ffmpeg import get_ffmpeg_exe
from PIL import Image
from tiny import tiny_vae
from tiny_clip import tiny_clip

from artv_cli.errors import CacheLocked, StorageError, UsageError
from artv_cli.media.video import probe, read_frames
from artv_cli.prepare import clips, preparation, records, shards, workers
from artv_cli.prepare.preparation import Order, prepare
from artv_cli.train.examples import UnreadableClip
from artv_cli.train.shards import find_samples
from artv_cli.train.video_clips import Encoder, VideoClips

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Sample:
    """One sample, as a reader of the shards finds it."""

    key: str
    mp4: bytes
    caption: str
    facts: dict[str, Any]
    latents: bytes | None = None

    @property
    def content(self) -> tuple[bytes, str, dict[str, Any]]:
        """Everything but the name of where it came from."""
        return self.mp4, self.caption, {k: v for k, v in self.facts.items() if k != "source"}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shots in one file, one shot at another rate, one that stands still, one that is none."""
    folder = tmp_path_factory.mktemp("videos")
    joined = shot("cat", "jump", "snow", 10) + shot("car", "left", "desert", 12)
    film(folder / "a.mp4", joined, "a cat and a car")
    film(folder / "b.mp4", shot("rocket", "up", "space", 48, (68, 90)), "a rocket", fps=24)
    film(folder / "c.mp4", shot("cow", "still", "meadow", 1) * 9, "the cow")
    (folder / "d.mp4").write_bytes(b"no film at all" * 99)
    (folder / "d.txt").write_text("nothing")
    return folder


@pytest.fixture(scope="module")
def done(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an uninterrupted run makes of them."""
    out = tmp_path_factory.mktemp("done") / "shards"
    run(videos, out)
    return out


def run(place: Path, out: Path, **more: Any) -> dict[str, Any]:
    order = {"size": 64, "shard_samples": 2, "workers": 2, **more}
    return prepare(Order(places=(place,), out=out, **order), lambda line: None)


def read(out: Path) -> list[Sample]:
    """Read shards as anybody would: with tarfile, each key's members together and in order."""
    found: dict[str, dict[str, bytes]] = {}
    for path in sorted(out.glob("shard-*.tar")):
        last = ""
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                key, _, suffix = member.name.partition(".")
                assert key == last or key not in found, "members of a sample stand together"
                last = key
                file = tar.extractfile(member)
                assert file is not None
                found.setdefault(key, {})[suffix] = file.read()
    order = ["mp4", "txt", "json", "latents.safetensors"]
    assert all(list(sample) == order[: len(sample)] for sample in found.values())
    return [
        Sample(
            key,
            sample["mp4"],
            sample["txt"].decode(),
            json.loads(sample["json"]),
            sample.get("latents.safetensors"),
        )
        for key, sample in found.items()
    ]


def files(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def test_shards_hold_what_they_promise(done: Path, tmp_path: Path) -> None:
    samples = read(done)
    assert [sample.key for sample in samples] == ["000000000", "000000001", "000000002"]
    for sample in samples:
        path = tmp_path / "clip.mp4"
        path.write_bytes(sample.mp4)
        info, facts = probe(path), sample.facts
        assert (info.fps, info.frames, info.size) == (
            Fraction(8), facts["frames"], (facts["width"], facts["height"]),
        )  # fmt: skip
        assert facts["fps"] == 8 and facts["clip"] is None and 1 <= facts["motion"] <= 20
        told = subprocess.run([get_ffmpeg_exe(), "-i", path], capture_output=True, text=True).stderr
        (stream,) = (line for line in told.splitlines() if "Stream #" in line)
        assert "Video: h264" in stream and "yuv420p" in stream
    assert [sample.caption for sample in samples] == ["a cat and a car"] * 2 + ["a rocket"]
    assert list(samples[0].facts) == [
        "source", "start", "frames", "fps", "width", "height", "motion", "clip",
    ]  # fmt: skip


def test_training_reads_what_was_prepared(done: Path) -> None:
    samples = find_samples([done])
    seen = VideoClips(samples, Encoder(tiny_vae(), (64, 64)), workers=1)
    told = [seen.caption(n, 0, np.random.default_rng(0)) for n in range(len(seen))]
    assert told == ["a cat and a car"] * 2 + ["a rocket"]
    assert [seen.length(n) for n in range(len(seen))] == [10, 12, 16]
    truth = np.stack(shot("car", "left", "desert", 12))
    assert np.abs(seen.pictures(1, [11, 0, 5]).astype(int) - truth[[11, 0, 5]]).mean() < 6
    for clip in range(len(seen)):
        last = seen.length(clip) - 1
        assert seen.load(clip, [last]).shape == (1, 64, 64, 3)
        with pytest.raises(UnreadableClip, match="no frame"):
            seen.load(clip, [last + 1])
    seen.close()


def test_the_index_and_the_report_tell_what_is_there(done: Path) -> None:
    index = json.loads((done / "shards.json").read_text())
    assert index["format"] == "artv-shards 1" and index["samples"] == 3
    assert [(shard["name"], shard["samples"]) for shard in index["shards"]] == [
        ("shard-000000.tar", 2), ("shard-000001.tar", 1),
    ]  # fmt: skip
    assert all((done / s["name"]).stat().st_size == s["bytes"] for s in index["shards"])
    report = json.loads((done / "report.json").read_text())
    assert report["clips"] == {
        "kept": 3, "too_still": 1, "too_wild": 0, "poor_caption": 0, "too_short": 0,
    }  # fmt: skip
    assert sum(report["histograms"]["motion"]["found"]) == 4
    assert sum(report["histograms"]["motion"]["kept"]) == 3
    with Image.open(done / "report.png") as picture:
        assert picture.size[0] > 300 and len(picture.convert("RGB").getcolors() or []) > 3
    names = {path.name for path in done.iterdir()}
    assert names == {
        "shard-000000.tar", "shard-000001.tar", "shards.json", "report.json", "report.png",
        "unreadable.txt",
    }  # fmt: skip


def test_two_shots_are_cut_where_they_were_joined(done: Path, tmp_path: Path) -> None:
    first, second = read(done)[:2]
    assert (first.facts["start"], first.facts["frames"]) == (0, 10)
    assert (second.facts["start"], second.facts["frames"]) == (10 / 8, 12)
    (tmp_path / "clip.mp4").write_bytes(second.mp4)
    truth = shot("car", "left", "desert", 12)
    for frame, true in zip(read_frames(tmp_path / "clip.mp4"), truth, strict=True):
        assert np.abs(frame.astype(int) - true).mean() < 6


def test_any_rate_becomes_eight_frames_a_second_at_the_size_that_was_asked_for(done: Path) -> None:
    facts = read(done)[2].facts  # 48 frames, 24 a second, 90 x 68
    assert (facts["frames"], facts["width"], facts["height"]) == (16, 84, 64)


def test_what_stands_still_is_left_out(done: Path) -> None:
    assert "c.mp4" not in {sample.facts["source"] for sample in read(done)}


def test_a_broken_video_is_listed_and_the_rest_is_done(done: Path) -> None:
    listed = (done / "unreadable.txt").read_text().splitlines()
    assert len(listed) == 1 and listed[0].startswith("d.mp4: ") and "Invalid data" in listed[0]


def test_a_video_that_breaks_off_gives_no_clip(videos: Path, tmp_path: Path) -> None:
    whole = (videos / "a.mp4").read_bytes()
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    (tmp_path / "videos" / "cut.txt").write_text("a cat")
    report = run(tmp_path / "videos", tmp_path / "out")
    assert report["unreadable"] == 1 and read(tmp_path / "out") == []


def test_folders_lists_and_tars_give_the_same_samples(
    videos: Path, done: Path, tmp_path: Path
) -> None:
    rows = [(p.name, p.with_suffix(".txt").read_text().strip()) for p in videos.glob("*.mp4")]
    rows.sort()
    with (tmp_path / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "caption"), *rows])
    with tarfile.open(tmp_path / "videos.tar", "w") as tar:
        for name, _ in rows:
            tar.add(videos / name, name)
            tar.add((videos / name).with_suffix(".txt"), Path(name).with_suffix(".txt").name)
    run(tmp_path / "list.csv", tmp_path / "from-csv", videos=videos)
    run(tmp_path / "videos.tar", tmp_path / "from-tar")
    truth = [sample.content for sample in read(done)]
    assert [sample.content for sample in read(tmp_path / "from-csv")] == truth
    assert [sample.content for sample in read(tmp_path / "from-tar")] == truth
    assert read(tmp_path / "from-tar")[2].facts["source"] == "videos.tar/b.mp4"


def interrupt_at(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int, error: BaseException
) -> None:
    """Have the `call`-th call of a function fail once, before it does anything."""
    real: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def maybe(*arguments: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise error
        return real(*arguments, **more)

    monkeypatch.setattr(owner, name, maybe)


@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        (clips, "write_video", 2),  # within a video
        (records.Records, "write", 3),  # between videos
        (shards, "_members", 2),  # within a shard
        (shards.Path, "unlink", 1),  # between a shard and the clips that it now holds
        (preparation, "write_shard", 2),  # between shards
        (preparation, "commit", 4),  # before the index
        (preparation.Records, "remove", 1),  # after it
    ],
)
def test_an_interrupted_run_goes_on_to_the_same_bytes(
    videos: Path,
    done: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    call: int,
) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(patch, owner, name, call, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            run(videos, tmp_path / "out", workers=1)
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("shard-*.tar")}
    run(videos, tmp_path / "out")
    assert files(tmp_path / "out") == files(done)
    assert all(path.stat().st_mtime_ns == then for path, then in made.items()), "done stays done"


class SlowEncoder:
    """Makes latents of nobody's, each of which waits until `go` is set."""

    facts: dict[str, Any] = {}

    def __init__(self) -> None:
        self.begun, self.go, self.made = Semaphore(0), Event(), list[Path]()

    def encode(self, clip: Path, frames: int) -> bytes:
        self.begun.release()
        assert self.go.wait(60)
        self.made.append(clip)
        return f"latents of {frames} frames".encode()


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> SlowEncoder:
    """What makes the latents of every preparation."""
    encoder = SlowEncoder()
    monkeypatch.setattr(preparation._Work, "_encoder", lambda work: encoder)
    return encoder


def test_an_interrupt_waits_for_no_more_than_the_sample_at_hand_of_each_worker(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: SlowEncoder
) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(patch, preparation._Work, "_write_shards", 1, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            run(videos, tmp_path / "out")

    def interrupted(*arguments: Any, **more: Any) -> Any:
        """Be interrupted once both workers are at a sample."""
        assert all(encoder.begun.acquire(timeout=60) for _ in range(2))
        raise KeyboardInterrupt

    class Pool(ThreadPoolExecutor):
        """Lets the samples at hand go on when the workers are waited for."""

        def shutdown(self, *arguments: Any, **more: Any) -> None:
            encoder.go.set()
            super().shutdown(*arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(workers, "wait", interrupted)
        patch.setattr(workers, "ThreadPoolExecutor", Pool)
        with pytest.raises(KeyboardInterrupt):
            run(videos, tmp_path / "out")
    assert len(encoder.made) == 2
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {".work", "shard-000001.tar"}, "of the first shard, half was made"
    for out in ("out", "undisturbed"):
        run(videos, tmp_path / out)
    assert files(tmp_path / "out") == files(tmp_path / "undisturbed")


def test_samples_are_told_of_before_the_first_shard_is_whole(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: SlowEncoder
) -> None:
    monkeypatch.setattr(preparation, "LINE_INTERVAL", 0.0)
    encoder.go.set()
    said: list[str] = []
    prepare(Order(places=(videos,), out=tmp_path / "out", size=64), said.append)
    assert said[-4:] == [f"{n} samples, 0 shards" for n in (1, 2, 3)] + ["1 shards"]


def test_a_killed_run_goes_on_to_the_same_bytes(videos: Path, done: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    more = ("--size", "64", "--shard-samples", "2", "--workers", "1", "--quiet")
    program = [sys.executable, "-m", "artv_cli", "prepare", str(videos), "--out", str(out), *more]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(program, env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while process.poll() is None and not list(out.glob(".work/*/*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (out / "shards.json").exists()
    run(videos, out)
    assert files(out) == files(done)


def test_a_finished_order_is_only_read(
    videos: Path, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(done)
    monkeypatch.setattr(preparation, "_Work", None)
    assert run(videos, done)["clips"]["kept"] == 3
    assert files(done) == before


def test_another_order_does_not_get_the_same_folder(videos: Path, done: Path) -> None:
    with pytest.raises(UsageError, match="another order: size was 64, and is 32 now"):
        run(videos, done, size=32)


def test_a_begun_order_is_not_mixed_with_another(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_at(monkeypatch, preparation._Work, "_make_clips", 1, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run(videos, tmp_path / "out")
    with pytest.raises(UsageError, match="another order: keep|another order: max_seconds"):
        run(videos, tmp_path / "out", max_seconds=5.0)


@pytest.mark.parametrize("changed", ["a.mp4", "a.txt"])
def test_begun_work_does_not_go_on_with_other_videos_of_the_same_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a.mp4", "a.txt"):
        (folder / name).write_bytes(b"something")
    with monkeypatch.context() as patch:
        interrupt_at(patch, preparation._Work, "_make_clips", 1, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            run(folder, tmp_path / "out")
    then = (folder / changed).stat()
    os.utime(folder / changed, ns=(then.st_atime_ns, then.st_mtime_ns + 1_000_000_000))
    with pytest.raises(UsageError, match="videos, their captions, sizes or dates are not those"):
        run(folder, tmp_path / "out")
    os.utime(folder / changed, ns=(then.st_atime_ns, then.st_mtime_ns))
    assert run(folder, tmp_path / "out")["unreadable"] == 1


@pytest.mark.parametrize("meddle", ["added", "removed"])
def test_videos_that_come_or_go_during_the_work_are_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meddle: str
) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a.mp4", "c.mp4"):
        (folder / name).write_bytes(b"something")
    begin = records.Records.open

    def change(*arguments: Any) -> None:
        begin(*arguments)
        if meddle == "added":
            (folder / "b.mp4").write_bytes(b"something else")
        else:
            (folder / "c.mp4").unlink()

    monkeypatch.setattr(records.Records, "open", change)
    with pytest.raises(UsageError, match="another order: videos was 2, and is [13] now"):
        run(folder, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.tar"))


def test_begun_work_does_not_go_on_in_another_manner(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(patch, preparation._Work, "_make_clips", 1, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            run(videos, tmp_path / "out")
    monkeypatch.setattr(preparation, "EPOCH", preparation.EPOCH + 1)
    with pytest.raises(UsageError, match="another order: clips was"):
        run(videos, tmp_path / "out")


def test_a_folder_with_other_things_in_it_is_left_alone(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="holds no begun work"):
        run(videos, tmp_path)
    assert files(tmp_path) == {"thesis.txt": b"years of work"}


def test_shards_are_not_made_among_the_videos(videos: Path) -> None:
    with pytest.raises(UsageError, match="whose videos are read"):
        run(videos, videos / "shards")
    assert not (videos / "shards").exists()


def test_names_that_are_not_unicode_are_listed(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / os.fsdecode(b"caf\xe9.mp4")).write_bytes(b"")
    assert run(folder, tmp_path / "out")["unreadable"] == 1
    assert (tmp_path / "out" / "unreadable.txt").read_text().startswith("caf\\udce9.mp4: ")


def test_two_do_not_work_in_one_folder(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / ".work").mkdir(parents=True)
    with FileLock(tmp_path / "out" / ".work" / "lock"):
        with pytest.raises(CacheLocked, match="Another process prepares"):
            run(videos, tmp_path / "out")


def test_a_full_disk_is_told_and_the_run_goes_on_later(
    videos: Path, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(patch, records, "commit", 2, OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(StorageError, match="No space left") as caught:
            run(videos, tmp_path / "out")
    assert caught.value.remedy.endswith("what is finished is kept.")
    run(videos, tmp_path / "out")
    assert files(tmp_path / "out") == files(done)


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no videos in"):
        run(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_share_with_the_best_captions_is_kept(videos: Path, tmp_path: Path) -> None:
    model = str(tiny_clip(tmp_path / "clip"))
    run(videos, tmp_path / "all", clip_model=model, keep=1.0, device="cpu")
    every = read(tmp_path / "all")
    assert len({sample.facts["clip"] for sample in every}) == 3
    assert all(-1 <= sample.facts["clip"] <= 1 for sample in every)
    report = run(videos, tmp_path / "best", clip_model=model, keep=0.67, device="cpu")
    best = sorted(every, key=lambda sample: -sample.facts["clip"])[:2]
    kept = {sample.mp4 for sample in read(tmp_path / "best")}
    assert kept == {sample.mp4 for sample in best}
    assert report["clips"]["poor_caption"] == 1
    assert sum(report["histograms"]["clip"]["kept"]) == 2


def test_memory_stays_flat_however_long_a_stream_is(tmp_path: Path) -> None:
    frames = shot("bee", "right", "meadow", 32)
    peaks = []
    for number, rounds in enumerate((3, 30)):
        folder = tmp_path / str(number)
        film(folder / "long.mp4", frames * rounds, "a bee")
        out = tmp_path / f"out{number}"
        tracemalloc.start()
        # Nothing moves that much, so that not the encoder is measured, but all before it.
        report = run(folder, out, max_seconds=2.0, motion=(200.0, 255.0))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        shutil.rmtree(folder)
        assert report["clips"]["too_still"] >= 2 * rounds
    whole = sum(frame.nbytes for frame in frames) * 27  # what the longer one has more of
    assert peaks[1] - peaks[0] < whole / 10


def test_torch_stays_out_of_it_unless_it_is_asked_for(videos: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from artv_cli.prepare.preparation import Order, prepare\n"
        f"order = Order(places=(Path({str(videos / 'b.mp4')!r}),), out=Path('out'), size=64)\n"
        "assert prepare(order, print)['clips']['kept'] == 1\n"
        "assert 'torch' not in sys.modules"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, env=environment)


def test_a_missing_extra_is_named(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scenedetect", None)
    with pytest.raises(UsageError) as raised:
        run(videos, tmp_path / "out")
    assert raised.value.remedy == 'Install it: `pip install "artv[train]"`.'
    assert not (tmp_path / "out").exists()
