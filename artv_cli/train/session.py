"""A training by a recipe, from a model folder to a better one.

The run folder holds `state.safetensors` (what a later run goes on from), `log.jsonl`,
`skipped.jsonl` (clips that cannot be read), `samples/` (sheets), `tensorboard/`, and in the end
`model/`, which renders, and `lora/` where only small matrices were trained.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import is_tensorboard_available
from PIL import Image
from torch import Tensor

from artv_cli.errors import Interrupted, RenderError, UsageError
from artv_cli.files.output import replacing, storage_errors
from artv_cli.machine import free_memory, has_fast_bfloat16, memory_told
from artv_cli.media import ffmpeg
from artv_cli.model.folder import ModelFolder, find_model
from artv_cli.model.repository import first_line
from artv_cli.model.weights import Model, load_model
from artv_cli.settings import StaticNoise
from artv_cli.train.activations import checkpoint_activations
from artv_cli.train.checkpoint import state_bytes, whole
from artv_cli.train.determinism import deterministic
from artv_cli.train.device_memory import advice, require_memory
from artv_cli.train.examples import Drops
from artv_cli.train.learner import Learner
from artv_cli.train.loop import Trainer
from artv_cli.train.lora import add_adapter, count_trained, merged, save_adapter
from artv_cli.train.origin import origin_of
from artv_cli.train.parallel import accelerator_for, is_sharded, require_gathered
from artv_cli.train.progress import Row, line
from artv_cli.train.recipe import Recipe
from artv_cli.train.run_folder import (
    LORA,
    MODEL,
    Outcome,
    alone,
    append_row,
    require_own,
    require_room,
)
from artv_cli.train.shards import Make, Sample, find_samples, split, with_latents_of
from artv_cli.train.sheet import draw_sheet
from artv_cli.train.trained_model import write_trained_model
from artv_cli.train.training_recipe import TrainingRecipe
from artv_cli.train.video_clips import Encoder, VideoClips

Say = Callable[[str], None]
DEVICES = ("auto", "cpu")


class Session:
    """One run of a training; it goes on where the last one in the same folder stopped.

    From here to the end of `run` it has the folder to itself. Raises UsageError for a recipe that
    the model or the clips do not allow, ModelError for a bad model, CacheLocked while another
    process trains there. `samples`: examples in all, by default the recipe's.
    """

    def __init__(
        self,
        recipe: TrainingRecipe,
        out: Path,
        *,
        device: str = "auto",
        samples: int | None = None,
        say: Say = lambda message: None,
    ) -> None:
        if device not in DEVICES:
            raise UsageError(
                f"--device {device} cannot be trained on by name.",
                "Give auto or cpu; which cards are used the launcher decides: `accelerate launch`.",
            )
        self.recipe, self.out, self._say = recipe, out, say
        self.base = find_model(recipe.model, folder=recipe.folder)
        require_own(out, self.base.path)
        self.size = _size(recipe, self.base)
        found = find_samples([recipe.folder / os.path.expanduser(one) for one in recipe.data])
        train, held_out = split(found, recipe.validation.share)
        if not train:
            share = recipe.validation.share
            raise UsageError(
                f"with a share of {share:g} every clip is held out", "Lower `validation: share`."
            )
        ffmpeg.run("-version")  # one failure here, rather than one for each clip
        with memory_told(advice(recipe)), ExitStack() as stack:
            stack.enter_context(deterministic(recipe.deterministic))
            self.accelerator = self._accelerator(device)
            require_gathered(self.accelerator, recipe.ema_on)
            if self.accelerator.is_main_process:
                stack.enter_context(alone(out))
            with storage_errors(out):
                self.accelerator.init_trackers("tensorboard")
            self._prepare(train, held_out, samples)
            self._held = stack.pop_all()

    def _prepare(self, train: list[Sample], held_out: list[Sample], samples: int | None) -> None:
        """Load the model and the state that is there, and make the trainer."""
        recipe = self.recipe
        self._model = self._load()
        learner = Learner(self._model.networks, self._model.text)
        device = self.accelerator.device
        if device.type != "cpu" and not self.accelerator.is_fsdp2:
            free = free_memory(str(device))
            require_memory(recipe, [learner, self._model.vae], str(device), free)
        learner = learner.to(device)
        encoder = Encoder(self._model.vae.to(device), self.size, self._is_half)
        make = Make(self.base.vae_fingerprint, encoder.shape)
        usable, notes = with_latents_of(make, [*train, *held_out])
        if self._is_half and not has_fast_bfloat16(device.type):
            self._say("this processor is several times faster with `precision: fp32` in the recipe")
        for note in notes:
            self._say(note)
        self.clips = VideoClips(usable[: len(train)], encoder, recipe.workers, self._skip)
        self.held_out = VideoClips(usable[len(train) :], encoder, recipe.workers, self._skip)
        self.trainer = Trainer(
            learner,
            self.clips,
            self._model.schedule,
            _loop_recipe(recipe, self._model.static_noise, samples),
            self.out,
            self.accelerator,
            origin=origin_of(recipe, self.base, self.size, self._model.static_noise, train),
            with_frozen=False,
        )
        self._first = self.trainer.samples
        trained, there = count_trained(learner)
        self._say(
            f"{len(train)} clips to train with, {len(held_out)} held out; {trained / 1e6:.1f} of"
            f" {there / 1e6:.1f} million parameters are trained, from step {self.trainer.step}"
        )

    def run(self, seconds: float = math.inf) -> Outcome:
        """Train for at most `seconds`, save, and write the model. Every process must call, once.

        Raises Interrupted once the state is saved where a signal came before the model's turn, and
        StorageError, before the first step, where the disk has no room for another state.
        """
        trainer = self.trainer
        guarded = memory_told(advice(self.recipe))
        with guarded, self._held, closing(self.clips), closing(self.held_out):
            if seconds > 0 and not trainer.is_finished and self.accelerator.is_main_process:
                require_room(self.out, state_bytes(trainer.learner))
            try:
                trainer.run(seconds, self._report, self._look)
                model = self._export() if trainer.step else None
                self.accelerator.wait_for_everyone()
            except Interrupted as error:
                self.accelerator.end_training()
                told = f"{error}; with --minutes 0 the same command writes its model"
                raise Interrupted(told) from None
            self.accelerator.end_training()
            return Outcome(trainer.step, trainer.samples, model)

    @property
    def _is_half(self) -> bool:
        return self.recipe.precision == "bfloat16"

    def _accelerator(self, device: str) -> Accelerator:
        asks_for_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
        if asks_for_cpu or not torch.accelerator.is_available():
            device = "cpu"
        if not self.recipe.tensorboard:
            return accelerator_for(device)
        if not is_tensorboard_available():
            self._say('nothing is written for TensorBoard: `pip install "artv[train]"` brings it')
            return accelerator_for(device)
        with storage_errors(self.out):
            self.out.mkdir(parents=True, exist_ok=True)
            return accelerator_for(device, log_with="tensorboard", project_dir=self.out)

    def _load(self) -> Model:
        """Return the model with what is trained trainable, everything else frozen."""
        model = load_model(self.base)
        # One form for all: what is trained, what the sheets show, what the exported model says.
        model = replace(model, static_noise=self.recipe.static_noise or model.static_noise)
        model.networks.requires_grad_(self.recipe.lora is None)
        self._adapted = None
        if self.recipe.lora is not None:
            self._adapted = add_adapter(model.networks, self.recipe.lora, self.recipe.seed)
        if self.recipe.checkpoint_activations:
            checkpoint_activations(model.networks)
        return model

    def _look(self) -> None:
        """After a step: measure and draw, where it is time to."""
        step, validation, sheets = self.trainer.step, self.recipe.validation, self.recipe.sheets
        if self.held_out.samples and validation.every and step % validation.every == 0:
            self._measure()
        if sheets.every and step % sheets.every == 0 and not is_sharded(self.trainer.learner):
            if self.accelerator.is_main_process:
                self._draw()
            self.accelerator.wait_for_everyone()

    def _measure(self) -> None:
        step, count = self.trainer.step, self.recipe.validation.examples
        loss = self.trainer.measure(self.held_out, count)
        if loss is None:  # the next run would meet it again
            reason = "the clips that are held out cannot be read; the training goes on"
            self._say(f"no loss of step {step} could be measured: {reason}")
            return
        self.trainer.note({"step": step, "validation_loss": round(loss, 5)}, self._report)

    def _draw(self) -> None:
        clips = self.held_out if self.held_out.samples else self.clips
        liked, learner = self.base.preferences, self.trainer.learner
        try:
            with self.trainer.average.in_place_of(learner):
                sheet = draw_sheet(self._model, liked, self.size, clips, self.recipe.sheets)
        except (RenderError, torch.OutOfMemoryError) as error:  # the next run would meet it again
            reason = f"{first_line(error)[:300]}; the training goes on"
            self._say(f"no sheet of step {self.trainer.step} could be drawn: {reason}")
            return
        if sheet is not None:
            path = self.out / "samples" / f"step-{self.trainer.step:07}.png"
            with replacing(path) as part:
                Image.fromarray(sheet).save(part)
            self._say(f"drawn: {path}")

    def _export(self) -> Path:
        """Write the model folder with the averaged weights, and the matrices by themselves."""
        weights: dict[str, Tensor] = {}
        for name, weight in self.trainer.average.weights.items():
            value = whole(weight)  # by all processes together; one needs it
            if self.accelerator.is_main_process:
                weights[name.removeprefix("networks.")] = value
        path = self.out / MODEL
        if not self.accelerator.is_main_process:
            return path
        self._say(f"writing {path}")
        form = self.recipe.lora
        if form is not None and self._adapted is not None:
            if not form.whole:  # else they alone would not be what was trained
                self.trainer.average.copy_to(self.trainer.learner)
                save_adapter(self._adapted, self.out / LORA)
            weights = merged(load_model(self.base).networks, form, weights).state_dict()
        write_trained_model(
            self.base, weights, path, size=self.size, static_noise=self._model.static_noise
        )
        return path

    def _report(self, row: Row) -> None:
        if "validation_loss" in row:
            self._say(f"step {row['step']}: loss on held-out clips {row['validation_loss']:.4f}")
            return
        self._say(line(row, self._first, self.trainer.recipe.samples))

    def _skip(self, sample: Sample, reason: str) -> None:
        """Tell of a clip that cannot be read; each process appends what it met."""
        row = {"key": sample.key, "shard": sample.shard.name, "reason": reason}
        append_row(self.out / "skipped.jsonl", row)
        self._say(f"skipped {sample.key} in {sample.shard.name}: {reason}")


def _size(recipe: TrainingRecipe, base: ModelFolder) -> tuple[int, int]:
    size = recipe.size or base.preferences.size
    if any(side % base.size_multiple for side in size):
        raise UsageError(
            f"size: {size[0]}x{size[1]} does not suit the model {base.name}",
            f"Its frames are multiples of {base.size_multiple}.",
        )
    return size


def _loop_recipe(recipe: TrainingRecipe, static_noise: StaticNoise, samples: int | None) -> Recipe:
    """Return what the loop needs of a recipe."""
    drops = Drops(**recipe.drops.model_dump(), anchor_window=recipe.anchor_window)
    names = (
        "batch_size", "pass_size", "learning_rate", "warmup", "decay_share", "weight_decay",
        "max_grad_norm", "ema_decay", "max_noise_level", "loss_of", "shift", "seed",
        "log_interval",
    )  # fmt: skip
    return Recipe(
        **{name: getattr(recipe, name) for name in names},
        static_noise=static_noise,
        samples=samples or recipe.samples,
        ema_device="cpu" if recipe.ema_on == "cpu" else None,
        drops=drops,
        bfloat16=recipe.precision == "bfloat16",
        checkpoint_seconds=float(recipe.checkpoint_every),
    )
