"""Shards: where each clip lies in them, who is held out, and what is said of damaged ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from shards import moving_square, write_shards

from artv_cli.errors import UsageError
from artv_cli.train.shards import Make, find_samples, split, with_latents_of

CLIPS = {f"clip{n}": (f"square {n}", moving_square(6 + n)) for n in range(3)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shards(tmp_path_factory.mktemp("shards"), CLIPS, shards=2)


def copy(folder: Path, to: Path) -> Path:
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


def test_every_clip_is_found_with_its_length_and_its_words(folder: Path) -> None:
    samples = find_samples([folder])
    assert [s.key for s in samples] == ["clip0", "clip2", "clip1"]  # shard by shard
    assert [s.frames for s in samples] == [6, 8, 7]
    assert [s.read(s.caption) for s in samples] == [b"square 0", b"square 2", b"square 1"]
    assert all(s.read(s.video)[4:8] == b"ftyp" for s in samples)
    assert all(s.latents is None for s in samples)


def test_latents_that_prepare_encoded_are_found(tmp_path: Path) -> None:
    more = {"clip0.latents.safetensors": b"as they are"}
    first, second, _ = find_samples([write_shards(tmp_path, CLIPS, more=more)])
    assert first.latents is not None and first.read(first.latents) == b"as they are"
    assert second.latents is None


VAE = Make("one", (4, 8, 8))


def facts(**latents: object) -> bytes:
    return json.dumps({"frames": 6, "latents": latents}).encode()


def test_latents_of_another_make_are_left_out_and_each_difference_is_told_once(
    tmp_path: Path,
) -> None:
    makes = {
        "right": facts(vae="one", shape=[4, 8, 8]), "other1": facts(vae="two", shape=[4, 8, 8]),
        "other2": facts(vae="two", shape=[4, 9, 9]), "large": facts(vae="one", shape=[4, 9, 9]),
        "untold": json.dumps({"frames": 6}).encode(), "odd": facts(vae=7),
    }  # fmt: skip
    more = {f"{key}.json": told for key, told in makes.items()}
    more |= {f"{key}.latents.safetensors": b"" for key in makes}
    clips = {key: ("a", moving_square(6)) for key in [*makes, "none"]}
    samples, told = with_latents_of(VAE, find_samples([write_shards(tmp_path, clips, more=more)]))
    assert [s.key for s in samples] == sorted(clips)
    assert [s.key for s in samples if s.latents is not None] == ["right"]
    assert [line.partition(" clips are ")[0] for line in told] == [
        "the latents of 1 of 7", "the latents of 2 of 7", "the latents of 2 of 7"
    ]  # fmt: skip
    said = " ".join(told)
    assert "of another size, 4x9x9 instead of 4x8x8" in said
    assert "of another autoencoder than the model's" in said
    assert "of an autoencoder that the shards do not tell" in said


def test_of_latents_of_the_right_make_nothing_is_said(tmp_path: Path) -> None:
    more = {"clip0.json": facts(vae="one", shape=[4, 8, 8]), "clip0.latents.safetensors": b""}
    found = find_samples([write_shards(tmp_path, CLIPS, more=more)])
    assert with_latents_of(VAE, found) == (found, [])


def test_clips_too_short_to_learn_from_are_left_out(tmp_path: Path) -> None:
    clips = {"long": ("a", moving_square(3)), "short": ("a", moving_square(1))}
    assert [s.key for s in find_samples([write_shards(tmp_path, clips)])] == ["long"]
    only = write_shards(tmp_path / "only", {"short": clips["short"]})
    with pytest.raises(UsageError, match="holds no clip of 2 frames"):
        find_samples([only])


def test_a_share_is_held_out_by_the_key_alone(folder: Path) -> None:
    samples = find_samples([folder])
    many = [type(s)(f"{s.key}-{n}", s.shard, 6, (0, 0), (0, 0), None)
            for n in range(700) for s in samples]  # fmt: skip
    train, held_out = split(many, 0.1)
    assert len(held_out) == pytest.approx(210, abs=50)
    assert {s.key for s in held_out}.isdisjoint(s.key for s in train)
    again = split(list(reversed(many[:900])), 0.1)[1]
    assert {s.key for s in again} == {s.key for s in held_out} & {s.key for s in many[:900]}
    assert split(many, 0.0)[1] == []


def test_the_clips_of_a_video_are_held_out_together(folder: Path, tmp_path: Path) -> None:
    films = {f"film{n}": [f"clip{n}-{piece}" for piece in range(3)] for n in range(8)}
    clips = {key: CLIPS["clip0"] for keys in films.values() for key in keys}
    more = {
        f"{key}.json": json.dumps({"frames": 6, "source": film}).encode()
        for film, keys in films.items()
        for key in keys
    }
    found = find_samples([write_shards(tmp_path, clips, more=more)])
    sides = [{sample.source for sample in side} for side in split(found, 0.5)]
    assert sides[0] and sides[1] and sides[0].isdisjoint(sides[1])
    assert sides[0] | sides[1] == set(films)


@pytest.mark.parametrize("told", [{}, {"source": ""}, {"source": None}])
def test_where_no_video_is_told_a_clip_stands_for_itself(
    tmp_path: Path, told: dict[str, object]
) -> None:
    clips = {f"clip{n}": CLIPS["clip0"] for n in range(12)}
    more = {f"{key}.json": json.dumps({"frames": 6, **told}).encode() for key in clips}
    sides = split(find_samples([write_shards(tmp_path, clips, more=more)]), 0.5)
    assert all(sides) and len(sides[0]) + len(sides[1]) == 12


def test_a_shard_that_was_cut_off_is_named(folder: Path, tmp_path: Path) -> None:
    cut = copy(folder, tmp_path) / "shard-00001.tar"
    size = cut.stat().st_size
    cut.write_bytes(cut.read_bytes()[:3000])
    with pytest.raises(UsageError, match=f"shard-00001.tar is damaged: .* instead of {size}"):
        find_samples([tmp_path])
    listing = json.loads((tmp_path / "shards.json").read_text())
    listing["shards"][1]["bytes"] = 3000  # even if the list says so
    (tmp_path / "shards.json").write_text(json.dumps(listing))
    with pytest.raises(UsageError, match="shard-00001.tar is damaged: unexpected end"):
        find_samples([tmp_path])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("shards.json", None, "holds no shards"),
        ("shards.json", b"{", "cannot be read"),
        ("shards.json", b'{"format": "other"}', "says 'other'"),
        ("shard-00000.tar", None, "shard-00000.tar is missing"),
    ],
)
def test_what_is_no_folder_of_shards_is_refused(
    folder: Path, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    file = copy(folder, tmp_path) / name
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        find_samples([tmp_path])
    assert "artv prepare" in caught.value.remedy


@pytest.mark.parametrize("missing", ["frames", "caption"])
def test_a_sample_that_lacks_something_is_named(tmp_path: Path, missing: str) -> None:
    if missing == "frames":
        write_shards(tmp_path, CLIPS, more={"clip1.json": b"{}"})
        with pytest.raises(UsageError, match="clip1.json does not say its frames"):
            find_samples([tmp_path])
        return
    write_shards(tmp_path, CLIPS)
    shard = tmp_path / "shard-00000.tar"
    shard.write_bytes(shard.read_bytes().replace(b"clip1.txt", b"clip1.xxx"))
    with pytest.raises(UsageError, match="damaged|has no clip1.txt"):
        find_samples([tmp_path])
