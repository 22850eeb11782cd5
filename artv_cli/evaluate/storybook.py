"""Judges a model on the storybook's world: stories told, judged, kept, and summed up.

Every story's record is in the ledger as soon as it is judged, so an evaluation that was stopped
goes on, one with more segments costs only those, and one with other settings shares what it can.
Processes that a launcher started share the stories and the ledger.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

import torch

from artv_cli import __version__
from artv_cli.engine import Engine
from artv_cli.errors import UsageError
from artv_cli.evaluate.masks import MaskLog
from artv_cli.evaluate.records import Ledger, Record, measure
from artv_cli.evaluate.report import Report, Variant, sampling_text, title
from artv_cli.evaluate.stories import Story, count_stories, draw_stories, plan_story, tell
from artv_cli.evaluate.summary import mean_masks, summarize, tally
from artv_cli.evaluate.truth import PARTS
from artv_cli.evaluate.verdict import Judge
from artv_cli.model.folder import ModelFolder, fingerprint
from artv_cli.plan import ModelIdentity
from artv_cli.setting_sources import flag_settings
from artv_cli.settings import Guidance, Sampling, Settings, StaticNoise, sampling
from artv_cli.storybook.characters import Cast
from artv_cli.storybook.vocabulary import read_vocabulary
from artv_cli.train.parallel import join, wait

EPOCH = 3  # of the figures: raised when the same frames give others
AS_IS = "as it is"
VARIED = (
    "sampler", "steps", "noise_level", "guidance.text", "guidance.reference", "guidance.anchor",
    "guidance.on", "guidance.rescale", "guidance.interval", "static_noise",
)  # fmt: skip
LoadEngine = Callable[[ModelFolder], Engine]


@dataclass(frozen=True)
class Way:
    """One way of using a model: settings for inference, perhaps another form of static noise."""

    name: str = AS_IS
    settings: Settings = Settings()
    static_noise: StaticNoise | None = None

    def folder(self, model: ModelFolder) -> ModelFolder:
        """Return the model folder with this way's static noise, and the fingerprint of that."""
        if self.static_noise is None:
            return model
        liked = model.preferences.model_copy(update={"static_noise": self.static_noise})
        told = fingerprint(model.path, liked, None)
        return replace(model, preferences=liked, fingerprint=told)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What to evaluate, by whom, on how much, and in which ways besides as the model is.

    `long_stories`: how many of those there are; left out, one for every twenty segments.
    """

    model: ModelFolder
    judge: Judge
    ledger: Path
    segments: int = 200
    frames_long: int = 256
    long_stories: int | None = None
    seed: int = 0
    ways: Sequence[Way] = ()
    command: str = "artv evaluate storybook"

    @property
    def cast(self) -> Cast:
        """The characters that are asked for: those whom both the model and the judge know."""
        vocabulary = read_vocabulary(self.model)
        known = self.judge.cast if vocabulary is None else vocabulary.cast & self.judge.cast
        if not known:
            raise UsageError(
                f"the judge knows none of the characters of {self.model.name}",
                "Train one for it: `python -m artv_cli.evaluate.judge FOLDER --model MODEL`.",
            )
        return known


def read_ways(varied: Sequence[str]) -> list[Way]:
    """Return the ways that texts such as "guidance.on=dynamic,composed" mean: one for each value.

    Raises UsageError for a name that is no inference setting, and for a bad value.
    """
    return [way for text in varied for way in _ways(text)]


def _ways(text: str) -> Iterator[Way]:
    name, equals, values = text.partition("=")
    if name not in VARIED or not equals or not all(values.split(",")):
        raise UsageError(
            f"--vary: {text!r} is no setting with values",
            f"Say NAME=VALUE,VALUE with one of these names: {', '.join(VARIED)}.",
        )
    for value in values.split(","):
        yield _way(name, value)


def _way(name: str, value: str) -> Way:
    said = f"{name}={value}"
    if name == "static_noise":
        forms: Mapping[str, StaticNoise] = {form: form for form in get_args(StaticNoise)}
        if value not in forms:
            raise UsageError(f"--vary: {said} is no form of static noise", f"Use {list(forms)}.")
        return Way(said, static_noise=forms[value])
    group, dot, inner = name.partition(".")
    return Way(said, flag_settings(**({group: {inner: value}} if dot else {name: value})))


def evaluate(evaluation: Evaluation, load_engine: LoadEngine, say: Callable[[str], None]) -> Report:
    """Tell and judge every story that the ledger lacks, in every way; return the report.

    All processes must call, and each gets the same report. Raises any class of `artv_cli.errors`;
    what was judged by then is kept.
    """
    variants: list[Variant] = []
    told: list[Record] = []
    tallies: dict[str, dict[str, tuple[int, int]]] = {}
    for way in (Way(), *evaluation.ways):
        records = _Bench(evaluation, way, load_engine, say).records()
        figures = summarize(records, evaluation.frames_long)
        variants.append(Variant(way.name, figures, mean_masks(records)))
        told += records
        tallies = tallies or {part: tally(records, part) for part in PARTS}
    return Report(title(evaluation.model.name), variants, _facts(evaluation, told), tallies)


class _Bench:
    """Tells and judges the stories of an evaluation in one way."""

    def __init__(
        self,
        evaluation: Evaluation,
        way: Way,
        load_engine: LoadEngine,
        say: Callable[[str], None],
    ) -> None:
        self._evaluation, self._way, self._say = evaluation, way, say
        self._folder = way.folder(evaluation.model)
        self._engine = functools.cache(lambda: load_engine(self._folder))
        self._model = ModelIdentity.of(self._folder)

    def records(self) -> list[Record]:
        """Return a record of every story; judge those that the ledger lacks."""
        evaluation, keys = self._evaluation, []
        rank, size = join()
        ledger = Ledger(evaluation.ledger)
        total = sum(count_stories(evaluation.segments, evaluation.long_stories).values())
        for story in self._stories():  # one at a time: each holds its pictures
            keys.append(self._key(story))
            if story.number % size == rank and ledger.get(keys[-1]) is None:
                record = self._judge(story)
                ledger.add(record)
                told = f"{len(keys)} of {total}, {story.name}, {record.seconds:.1f} s"
                self._say(f"{self._way.name}: {told}")
        wait()
        return Ledger(evaluation.ledger).records(keys)

    def _stories(self) -> Iterator[Story]:
        evaluation = self._evaluation
        width, height = self._model.size
        return draw_stories(
            evaluation.segments,
            evaluation.seed,
            evaluation.frames_long,
            (height, width),
            evaluation.cast,
            evaluation.long_stories,
        )

    def _judge(self, story: Story) -> Record:
        plan = plan_story(story, self._model, self._way.settings)
        engine = self._engine()
        log = MaskLog()
        started = time.perf_counter()
        pictures = list(tell(story, plan, engine, log.hear))
        seconds = time.perf_counter() - started
        return measure(
            story,
            pictures,
            self._evaluation.judge,
            key=self._key(story),
            seconds=seconds,
            masks=log.means,
            environment=dict(engine.environment) | {"cores": str(os.cpu_count())},
        )

    def _key(self, story: Story) -> str:
        """Digest everything that decides a record: story, model, precision, settings, judge."""
        model, said = self._model, self._way.settings
        ways = (model.sampling, model.key_sampling)
        how = [_how(sampling(said, way)) for way in ways]
        return _digest(
            [
                EPOCH,
                story.digest,
                model.fingerprint,
                model.dtype,
                model.size,
                how,
                self._evaluation.judge.fingerprint,
            ]
        )


def _how(drawn: Sampling) -> dict[str, Any]:
    """Return the sampling in a record's key.

    Without what guidance is by default, so that records from before a setting existed still count.
    """
    told = asdict(drawn)
    told["guidance"] = {
        name: value
        for name, value in told["guidance"].items()
        if value != getattr(Guidance, name, None)
    }
    return told


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _facts(evaluation: Evaluation, records: Sequence[Record]) -> dict[str, str]:
    model, scores = evaluation.model, evaluation.judge.scores
    liked = model.preferences
    environments = {
        ", ".join(f"{name} {value}" for name, value in record.environment.items()): None
        for record in records
    }
    return {
        "command": f"`{evaluation.command}`",
        "model": f"{model.name}, fingerprint {model.fingerprint[:16]}",
        "inference": sampling_text(asdict(liked.sampling)),
        "inference, key frames": sampling_text(asdict(liked.key_sampling)),
        "precision": liked.dtype,
        "static noise": liked.static_noise,
        "judge": f"fingerprint {evaluation.judge.fingerprint[:16]}; on held-out ground truth: "
        + ", ".join(f"{part} {scores[part]:.1%}" for part in PARTS),
        "stories": f"seed {evaluation.seed}, combinations that were never trained on",
        "characters": f"{len(evaluation.cast)}: those whom model and judge know",
        "drawn with": "; ".join([*environments]),
        "judged with": f"artv {__version__}, torch {torch.__version__},"
        f" python {platform.python_version()}, {platform.machine()}",
        "commit": commit_id(Path(__file__).parent) or "unknown",
        "time to draw": f"{sum(record.seconds for record in records) / 60:.0f} min"
        " of all processes together",
    }


def commit_id(folder: Path) -> str | None:
    """Return the commit that a folder stands at, with a plus where it was changed since.

    None for one that git does not keep, as where artv is installed inside of a clone.
    """
    kept, head, status = (
        _git(folder, *words)
        for words in (
            ("ls-files",),
            ("rev-parse", "--short=12", "HEAD"),
            ("status", "--porcelain", "-uno"),
        )
    )
    return head + "+" * bool(status) if kept and head else None


def _git(folder: Path, *words: str) -> str:
    """Return what git says of a folder; nothing where it fails or is missing."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True)
    except OSError:
        return ""
    return "" if done.returncode else done.stdout.decode().strip()
