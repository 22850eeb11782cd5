"""Code and pickles that wait in a model folder to be run: none is."""

from __future__ import annotations

import builtins
import itertools
import json
import os
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

from artv_cli.model.folder import INDEX, PARTS, WEIGHTED_PARTS
from benchmarks.trust.proof import Check, expect
from benchmarks.trust.roads import Road, copied, load, roads

CODE = "import pathlib\npathlib.Path({marker!r}).touch()\nclass Evil: pass\n"
PROCESSOR = "feature_extractor"  # a part without weights that a pipeline may have


def waiting_code(seed: int, folder: Path) -> Iterator[Check]:
    """Yield every part of a model with pickles and code beside it, and every set of baits."""
    every = roads(folder)
    cases = [
        (name, part, baits)
        for name, parts in {
            "film": (*WEIGHTED_PARTS, "tokenizer"),
            "pictures": ("unet", "vae", "text_encoder", "tokenizer", "scheduler", PROCESSOR),
        }.items()
        for part in parts
        for number in range(len(BAITS) + 1)
        for baits in itertools.combinations(BAITS, number)
    ]
    Random(seed).shuffle(cases)
    for name, part, baits in cases:
        yield partial(_runs_no_code, every[name], part, baits)


def _runs_no_code(road: Road, part: str, baits: Sequence[str], place: Path) -> None:
    copy, marker = copied(road.model, place), place / "ran"
    folder = copy / part
    if part == PROCESSOR:
        folder.mkdir()
        (folder / "preprocessor_config.json").write_text("{}")
        _change(copy / INDEX, {PROCESSOR: ["transformers", "CLIPProcessor"]})
    (folder / "evil.py").write_text(CODE.format(marker=str(marker)))
    for name in ("pytorch_model.bin", "diffusion_pytorch_model.bin", "model.pt", "model.ckpt"):
        (folder / name).write_bytes(pickle.dumps(_Touching(str(marker))))
    for bait in baits:
        BAITS[bait](copy, part)
    what = f"{place.name}: code in {part}/, {', '.join(baits)}"
    with mock.patch.object(builtins, "input", lambda *_: "y"):  # should anybody ask
        load(road, copy, what)
    expect(not marker.exists(), f"{what}: was run")


def _without_safetensors(model: Path, part: str) -> None:
    for file in (model / part).glob("*.safetensors"):
        file.unlink()


def _naming_code(model: Path, part: str) -> None:
    kinds = "AutoConfig", "AutoModel", "AutoImageProcessor"
    names: dict[str, Any] = dict.fromkeys(kinds, "evil.Evil")
    _change(_config(model, part), {"auto_map": {**names, "AutoTokenizer": ["evil.Evil", None]}})


def _of_a_strange_class(model: Path, part: str) -> None:
    keys = "_class_name", "tokenizer_class", "image_processor_type", "processor_class"
    _change(_config(model, part), dict.fromkeys(keys, "Evil"))


def _strange_in_the_index(model: Path, part: str) -> None:
    _change(model / INDEX, {part: ["evil", "Evil"]})


BAITS: Mapping[str, Callable[[Path, str], None]] = {
    "without safetensors": _without_safetensors,
    "naming code": _naming_code,
    "of a strange class": _of_a_strange_class,
    "strange in the index": _strange_in_the_index,
}


def _config(model: Path, part: str) -> Path:
    name = "preprocessor_config.json" if part == PROCESSOR else PARTS.get(part, "config.json")
    return model / part / name


def _change(file: Path, change: Mapping[str, Any]) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))


class _Touching:
    """A pickle that leaves a mark where it is opened."""

    def __init__(self, marker: str) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Callable[[str, int], None], tuple[str, int]]:
        return os.mkdir, (self._marker, 0o700)
