"""A training's recipe: YAML, read with every problem found at once, as storyboards are.

What is left out is the paper's own (Sec. 3.3, 4, Table 5). Paths are relative to the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, PrivateAttr, ValidationError
from pydantic_core import ErrorDetails

from artv_cli.errors import DocumentError, Problem
from artv_cli.files.input_file import read_input
from artv_cli.quantities import Duration, Size
from artv_cli.scalars import Choice, Kind, Number, Switch, Text, Whole
from artv_cli.setting_tables import Frozen
from artv_cli.settings import StaticNoise
from artv_cli.wording import sentence, shown
from artv_cli.yaml_source import MAX_BYTES, Node, Unreadable, read_yaml

MANY = 10**12
PAPER_BATCH = 480  # Table 5
PAPER_STEPS = 258_000
EVERYTHING_THAT_ATTENDS = ("to_q", "to_k", "to_v", "to_out.0")

_Share = Annotated[float, Number(0, 1)]
_Steps = Annotated[int, Whole(0, MANY)]
Precision = Literal["bfloat16", "float32"]
Place = Literal["device", "cpu"]
Measure = Literal["noise", "velocity"]


class Words(Kind):
    """One text or a list of them."""

    def parse(self, value: object) -> tuple[str, ...]:
        items = value if isinstance(value, list | tuple) else [value]
        if not items:
            raise ValueError(f"must name at least one, not {shown(value)}")
        return tuple(Text().parse(item) for item in items)


class DropsForm(Frozen):
    """How often each condition is left blank."""

    references: _Share = Field(default=0.1, description="The two frames before.")
    anchor: _Share = Field(default=0.1, description="The anchor frame.")
    text: _Share = Field(default=0.1, description="The caption.")
    key_frames: _Share = Field(default=0.0, description="References and anchor together.")


class ValidationForm(Frozen):
    """How the loss on clips that are never trained with is measured."""

    share: _Share = Field(default=0.01, description="How many of the clips are held out.")
    every: _Steps = Field(default=500, description="Steps between two measurements; 0: none.")
    examples: Annotated[int, Whole(1, 100_000)] = Field(default=64, description="Examples of them.")


class SheetsForm(Frozen):
    """What is drawn from time to time, to be looked at."""

    every: _Steps = Field(default=500, description="Steps between two sheets; 0: none.")
    clips: Annotated[int, Whole(0, 64)] = Field(default=2, description="Clips that are continued.")
    frames: Annotated[int, Whole(2, 64)] = Field(default=8, description="Frames of a row.")
    steps: Annotated[int, Whole(1, 1000)] = Field(default=20, description="Sampling steps.")
    prompts: Annotated[tuple[str, ...], Words()] = Field(
        default=(), description="What else is drawn, from words alone."
    )


class LoraForm(Frozen):
    """Small matrices beside the weights that stay as they are (arXiv 2106.09685)."""

    rank: Annotated[int, Whole(1, 1024)] = Field(default=16, description="Their inner width.")
    alpha: Annotated[int, Whole(1, 100_000)] | None = Field(
        default=None, description="Their scale times the rank; left out: the rank."
    )
    targets: Annotated[tuple[str, ...], Words()] = Field(
        default=EVERYTHING_THAT_ATTENDS, description="Ends of the names of what they stand beside."
    )
    whole: Annotated[tuple[str, ...], Words()] = Field(
        default=(), description="What is trained in full, such as [mask, adapter, anchor]."
    )


class TrainingRecipe(Frozen):
    """What is trained, on what, and how."""

    model: Annotated[str, Text()] = Field(description="An artv model folder, or a hub id.")
    data: Annotated[tuple[str, ...], Words()] = Field(description="Folders of shards.")
    size: Annotated[tuple[int, int], Size(8, 8192)] | None = Field(
        default=None, description="Width and height trained at; left out: the model's own."
    )
    samples: Annotated[int, Whole(1, MANY)] = Field(
        default=PAPER_STEPS * PAPER_BATCH, description="Examples in all."
    )
    batch_size: Annotated[int, Whole(1, 1_000_000)] = Field(
        default=PAPER_BATCH, description="Examples of a step, over all processes."
    )
    pass_size: Annotated[int, Whole(1, 100_000)] | None = Field(
        default=None, description="How many of them a device takes at once; left out: its share."
    )
    learning_rate: Annotated[float, Number(0, 1)] = Field(default=1e-5, description="Of AdamW.")
    warmup: _Steps = Field(default=0, description="Steps in which the rate rises.")
    decay_share: _Share = Field(default=0.0, description="The last part, in which it falls.")
    weight_decay: _Share = Field(default=0.01, description="Of AdamW.")
    max_grad_norm: Annotated[float, Number(1e-6, 1e9)] = Field(default=1.0, description="Clipping.")
    ema_decay: Annotated[float, Number(0, 1)] = Field(default=0.9999, description="Of the average.")
    ema_on: Annotated[Place, Choice(get_args(Place))] = Field(
        default="device", description="Where the averages lie: device, or cpu to spare the card."
    )
    max_noise_level: Annotated[int, Whole(0, 999)] = Field(
        default=550, description="How far references and anchor are noised at most."
    )
    static_noise: Annotated[StaticNoise, Choice(get_args(StaticNoise))] | None = Field(
        default=None, description="The form of the static noise; left out: the model's own."
    )
    loss_of: Annotated[Measure, Choice(get_args(Measure))] = Field(
        default="noise", description="What the squared error is measured on."
    )
    shift: Annotated[float, Number(0.01, 100)] = Field(
        default=1.0, description="Above 1, noisy timesteps are drawn more often."
    )
    drops: DropsForm = Field(default=DropsForm(), description="How often a condition is blank.")
    anchor_window: Annotated[int, Whole(1, 100_000)] = Field(
        default=10, description="How many frames back the anchor may lie."
    )
    precision: Annotated[
        Precision, Choice(get_args(Precision), {"bf16": "bfloat16", "fp32": "float32"})
    ] = Field(default="bfloat16", description="Of what is computed; weights are float32.")
    checkpoint_activations: Annotated[bool, Switch()] = Field(
        default=False, description="Compute activations anew instead of keeping them."
    )
    deterministic: Annotated[bool, Switch()] = Field(
        default=False, description="On a card, take kernels that repeat their bits: slower."
    )
    seed: Annotated[int, Whole(0, 2**63 - 1)] = Field(default=0, description="Decides all draws.")
    workers: Annotated[int, Whole(1, 256)] = Field(
        default=4, description="Threads of a process that decode video."
    )
    log_interval: Annotated[int, Whole(1, MANY)] = Field(
        default=100, description="Steps that a line of the log covers."
    )
    checkpoint_every: Annotated[Fraction, Duration()] = Field(
        default=Fraction(300), description="Time between two states on disk, such as 10min."
    )
    tensorboard: Annotated[bool, Switch()] = Field(
        default=True, description="Write the log for TensorBoard as well, where it is installed."
    )
    validation: ValidationForm = Field(default=ValidationForm(), description="Held-out clips.")
    sheets: SheetsForm = Field(default=SheetsForm(), description="Sample sheets.")
    lora: LoraForm | None = Field(default=None, description="Train small matrices instead.")
    _folder: Path = PrivateAttr(default=Path())

    @property
    def folder(self) -> Path:
        """Where the recipe's relative paths begin."""
        return self._folder

    def with_lora(self, rank: int) -> TrainingRecipe:
        """Return the recipe with matrices of this rank; all else about them stays as it says."""
        form = self.lora or LoraForm()
        return self.model_copy(update={"lora": form.model_copy(update={"rank": rank})})


_INNER: dict[int | str, type[Frozen]] = {
    "drops": DropsForm,
    "validation": ValidationForm,
    "sheets": SheetsForm,
    "lora": LoraForm,
}


def load_training_recipe(path: Path) -> TrainingRecipe:
    """Return the recipe in a YAML file.

    UsageError when it is no readable file, DocumentError with every problem in it.
    """
    source = read_input(path, MAX_BYTES)
    try:
        document, problems = read_yaml(source, "recipe", "model")
    except Unreadable as error:
        raise DocumentError(str(path), error.problems) from None
    try:
        recipe = TrainingRecipe.model_validate(document.plain())
    except ValidationError as error:
        problems += _problems(document, error.errors(include_url=False))
    if problems:
        raise DocumentError(str(path), problems)
    recipe._folder = path.parent
    return recipe


def _problems(document: Node, errors: Sequence[ErrorDetails]) -> Iterator[Problem]:
    """Yield what is wrong with the values, each where it stands in the document."""
    for error in errors:
        place = document.find(error["loc"], key=error["type"] == "extra_forbidden")
        yield Problem(*place, sentence(error, _known(error["loc"])))


def _known(loc: tuple[int | str, ...]) -> list[str]:
    """Return the keys that are allowed beside the last one of `loc`."""
    form = _INNER.get(loc[0], TrainingRecipe) if len(loc) > 1 else TrainingRecipe
    return list(form.model_fields)
