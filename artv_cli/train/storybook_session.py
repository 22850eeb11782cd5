"""The embedded model trained from nothing but its world, piece by piece.

The run folder holds one folder for each piece, in this order: `vae/` (the autoencoder), `bank/`
(clips, encoded by it), `networks/` (trained on the bank), `model/` (all of it, to render with). A
piece that is finished is skipped, one that is not is gone on with. An autoencoder put into `vae/`
without a training's state is taken as it is, and so is every one that a bank was begun with.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers import AutoencoderKL

from artv_cli.diffusion.schedule import Schedule
from artv_cli.errors import UsageError
from artv_cli.files.output import replacing
from artv_cli.machine import has_fast_bfloat16
from artv_cli.model.folder import ModelFolder, find_model
from artv_cli.model.weights import load_model, load_weights
from artv_cli.train import bank, vae
from artv_cli.train.learner import Learner
from artv_cli.train.loop import Trainer
from artv_cli.train.parallel import accelerator_for, agree
from artv_cli.train.preset import Preset
from artv_cli.train.progress import Row, line
from artv_cli.train.run_folder import MODEL, Outcome, alone, claim, require_own
from artv_cli.train.storybook import build_learner, export, take_over, write_model

Say = Callable[[str], None]
BEGUN = "storybook.json"  # what the folder was begun with
VAE, BANK, NETWORKS = "vae", "bank", "networks"


class _Place(NamedTuple):
    name: str
    path: Path


class StorybookSession:
    """One run of the embedded model's training; it goes on where the last one stopped.

    From here to the end of `run` it has the folder to itself. `start_from` names a model whose
    autoencoder is taken and whose networks are begun with; with `decoder_only` its autoencoder's
    decoder is trained and everything else stays. `samples`: examples for the networks in all, by
    default the preset's. Raises UsageError for what does not go together, ModelError for a bad
    model, CacheLocked while another process trains there.
    """

    def __init__(
        self,
        preset: Preset,
        out: Path,
        *,
        start_from: str | None = None,
        decoder_only: bool = False,
        samples: int | None = None,
        say: Say = lambda message: None,
    ) -> None:
        self.preset, self.out, self.decoder_only, self._say = preset, out, decoder_only, say
        self.recipe = replace(
            preset.recipe,
            samples=samples or preset.recipe.samples,
            bfloat16=has_fast_bfloat16(preset.place),
        )
        self.base = None if start_from is None else find_model(start_from)
        require_own(out, None if self.base is None else self.base.path, BEGUN)
        if self.base is not None:
            self._require_fit(self.base)
        self.accelerator = accelerator_for(_device(preset))
        with ExitStack() as stack:
            if self.accelerator.is_main_process:
                stack.enter_context(alone(out))
                self._claim()
            self._alone = stack.pop_all()

    def run(self, seconds: float = math.inf) -> Outcome:
        """Train for at most `seconds` and write the model, once there is one. All processes call.

        A run that ends earlier in the order than the networks has written no model.
        """
        self._end = time.monotonic() + seconds
        with self._alone:
            outcome = self._pieces()
            self.accelerator.wait_for_everyone()
            self.accelerator.end_training()
            return outcome

    def _pieces(self) -> Outcome:
        if not self._train_vae():
            return Outcome(0, 0, None)
        if self.decoder_only:
            return Outcome(0, 0, self._export(None))
        if not self._build_bank():
            return Outcome(0, 0, None)
        trainer = self._trainer()
        first = trainer.samples
        self._say(f"networks: {first} of {self.recipe.samples} examples seen")
        trainer.run(self._left, lambda row: self._report(row, first))
        model = self._export(trainer) if trainer.step else None
        return Outcome(trainer.step, trainer.samples, model)

    # ---------------------------------------------------------------- the autoencoder

    def _train_vae(self) -> bool:
        if self.base is not None and not self.decoder_only:
            self._take_vae(self.base)
            return True
        if self._is_vae_there():
            return True
        base: Any = None
        if self.base is not None:
            base = load_model(self.base).vae.requires_grad_(True)
            base = base.to(memory_format=torch.channels_last)
        recipe = self.preset.vae
        if self.decoder_only:
            # Whole frames: a decoder need not see the character more often, only more sharply.
            recipe = replace(recipe, cropped=0.0)
        is_done = vae.train_vae(
            recipe,
            self.preset.vae_budget,
            self.out / VAE,
            seconds=self._left,
            report=lambda told: self._say(f"autoencoder: {told}"),
            vae=base,
            decoder_only=self.decoder_only,
            device=self.accelerator.device,
            workers=self._workers,
        )
        self.accelerator.wait_for_everyone()
        return is_done

    def _take_vae(self, base: ModelFolder) -> None:
        """Take a model's autoencoder as it is: its networks know no other latents."""
        if self.accelerator.is_main_process and not self._is_vae_there():
            with replacing(self.out / VAE) as folder:
                vae.save_vae(load_model(base).vae, folder)
        self.accelerator.wait_for_everyone()

    def _is_vae_there(self) -> bool:
        folder = self.out / VAE
        is_given = (folder / "config.json").exists() and not (folder / vae.STATE).exists()
        return is_given or (self.out / BANK / bank.SETTINGS).exists()

    def _load_vae(self) -> AutoencoderKL:
        place = _Place(str(self.out), self.out)
        loaded: Any = load_weights(place, VAE, AutoencoderKL, torch.float32, None)
        loaded.requires_grad_(False).eval()
        return loaded.to(self.accelerator.device, memory_format=torch.channels_last)

    # ---------------------------------------------------------------- the bank

    def _build_bank(self) -> bool:
        return bank.build_bank(
            self._load_vae(),
            self.out / BANK,
            self.preset.clips,
            self.preset.length,
            shard=self.preset.shard,
            cast=self.preset.cast,
            report=lambda told: self._say(f"bank: {told}"),
            seconds=self._left,
            workers=self._workers,
        )

    # ---------------------------------------------------------------- the networks

    def _trainer(self) -> Trainer:
        vae = self._load_vae()
        learner = self._learner(vae.config.latent_channels)
        if self.preset.compiled:
            for network in (learner.networks.dynamic, learner.networks.mask):
                network.compile()
        return Trainer(
            learner.to(self.accelerator.device),
            bank.Bank(self.out / BANK),
            Schedule.scaled_linear(),
            self.recipe,
            self.out / NETWORKS,
            self.accelerator,
            origin={"autoencoder": bank.fingerprint(vae)},
        )

    def _learner(self, latent_channels: int) -> Learner:
        learner = build_learner(latent_channels, sizes=self.preset.networks, cast=self.preset.cast)
        if self.base is not None:
            take_over(learner, self.base)
        return learner

    def _report(self, row: Row, first: int) -> None:
        self._say(f"networks: {line(row, first, self.recipe.samples)}")

    # ---------------------------------------------------------------- the model

    def _export(self, trainer: Trainer | None) -> Path:
        """Write the model folder: of what was trained, or of the base with another decoder."""
        path = self.out / MODEL
        if self.accelerator.is_main_process:
            self._say(f"writing {path}")
            if trainer is not None:
                export(trainer, self._load_vae(), path)
            elif self.base is not None:
                model = replace(load_model(self.base), vae=self._load_vae())
                write_model(path, model, self.base.preferences)
        return path

    # ---------------------------------------------------------------- what must hold

    def _require_fit(self, base: ModelFolder) -> None:
        """Raise UsageError, before anything is trained, where a model is none to begin with."""
        if base.autoencoder != AutoencoderKL.__name__:
            raise UsageError(
                f"{base.name} cannot be started from: its autoencoder is {base.autoencoder}",
                "Start from an embedded model, or one that this command has trained.",
            )
        if not self.decoder_only:
            self._learner(base.latent_channels)

    def _claim(self) -> None:
        """Write down what the folder is begun with, or compare it with what stands there."""
        begun = {
            "preset": self.preset.name,
            "start_from": self.base and self.base.fingerprint,
            "decoder_only": self.decoder_only,
        }
        if different := claim(self.out / BEGUN, begun):
            raise UsageError(
                f"{self.out} was begun with another --{different[0].replace('_', '-')}",
                "Say the same as then, or name another --out.",
            )

    @property
    def _left(self) -> float:
        """The seconds left, to all processes alike: or they would stop at different steps."""
        return agree(max(0.0, self._end - time.monotonic()), self.accelerator.device)

    @property
    def _workers(self) -> int:
        return self.preset.workers // self.accelerator.num_processes


def _device(preset: Preset) -> str:
    """Return where a preset trains; UsageError where this machine has no such device."""
    if preset.place == "cpu":
        return "cpu"
    if not torch.accelerator.is_available():
        raise UsageError(
            f"--preset {preset.name} needs a card that torch can use, and there is none here.",
            "Train the smaller one: `artv train storybook --preset cpu`.",
        )
    return "card"
