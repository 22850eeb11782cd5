"""How much memory `artv prepare` takes: as much for many videos as for few."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from artv_cli.files.durable import make_folder
from artv_cli.prepare import preparation
from artv_cli.prepare.clips import ClipMaker
from artv_cli.prepare.preparation import Order, prepare
from artv_cli.prepare.records import Clip, Record
from artv_cli.prepare.shards import Sample, shard_name, write_shard
from artv_cli.prepare.sources import Source

FEW, MANY = 128, 640
SHARD = 32  # samples
OWN = str(Path(preparation.__file__).parent.parent / "*")
CLIP = Clip(0, 8, 64, 64, 5.0, None, is_moving=True)


class Gauge:
    """The most memory that artv's own lines held, looked at when a video or a shard was done.

    Other modules have tables that grow in leaps, whoever uses them.
    """

    def __init__(self) -> None:
        self.most, self.last_shard = 0, ""

    def read(self) -> None:
        gc.collect()
        own = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, OWN)])
        self.most = max(self.most, sum(trace.size for trace in own.traces))


@pytest.fixture
def gauge(monkeypatch: pytest.MonkeyPatch) -> Gauge:
    """Measures preparations in which each video has a clip at once, which is kept."""
    gauge = Gauge()

    def make(maker: ClipMaker, index: int, source: Source) -> Record:
        path = maker._records.clip_path(index, CLIP.start)
        make_folder(path.parent)
        path.write_bytes(b"a film")
        record = Record(source.name, source.read_caption(), (CLIP,))
        maker._records.write(index, record)
        if index % FEW == FEW - 1:
            gauge.read()
        return record

    def write(path: Path, samples: list[Sample], *more: Any) -> None:
        write_shard(path, samples, *more)
        if path.name == gauge.last_shard:  # with no other waiting
            gauge.read()

    monkeypatch.setattr(ClipMaker, "make", make)
    monkeypatch.setattr(preparation, "write_shard", write)
    monkeypatch.setattr("os.fsync", lambda file: None)
    return gauge


def most_in_use(gauge: Gauge, videos: int, folder: Path) -> int:
    """Return the bytes in use, at most, while so many videos are prepared and their clips kept."""
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"a video")
    (folder / "list.csv").write_text("path,caption\n" + "a.mp4,a cat\n" * videos)
    order = Order(places=(folder / "list.csv",), out=folder / "out", size=64, shard_samples=SHARD)
    gauge.most, gauge.last_shard = 0, shard_name(videos // SHARD - 1)
    tracemalloc.start()
    report = prepare(order, lambda line: None)
    tracemalloc.stop()
    assert report["clips"]["kept"] == report["videos"] == videos
    return gauge.most


def test_memory_stays_flat_however_many_videos_there_are(gauge: Gauge, tmp_path: Path) -> None:
    most_in_use(gauge, FEW, tmp_path / "first")  # what is loaded once is not counted
    few = most_in_use(gauge, FEW, tmp_path / "few")
    many = most_in_use(gauge, MANY, tmp_path / "many")
    assert many - few < 16 * (MANY - FEW)  # a list of numbers takes more
