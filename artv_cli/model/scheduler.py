"""The scheduler of a model folder: the noise schedule that its networks were trained with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffusers import DDIMScheduler

from artv_cli.diffusion.schedule import Schedule
from artv_cli.errors import ModelError
from artv_cli.model.folder import PARTS, ModelFolder
from artv_cli.model.repository import read_json
from artv_cli.model.unet import NOISE_LEVELS

SCHEDULE_KEYS = ("beta_start", "beta_end", "num_train_timesteps")
SCHEDULE_CHANGES = ("rescale_betas_zero_snr", "trained_betas")
PREDICTIONS = ("epsilon", "v_prediction")


def load_schedule(folder: ModelFolder) -> Schedule:
    """Read the noise schedule of a model folder."""
    return schedule_of(scheduler_config(folder), folder.name)


def schedule_of(config: Mapping[str, Any], name: str) -> Schedule:
    """Return the noise schedule that a scheduler's configuration of the model `name` describes.

    Raises ModelError if it is another than the networks of Stable Diffusion are trained with.
    """
    kind = config.get("beta_schedule"), prediction_of(config)
    if kind[0] != "scaled_linear" or kind[1] not in PREDICTIONS:
        raise ModelError(
            f"{name}: the scheduler is {kind[0]} with {kind[1]} prediction",
            f"artv samples scaled_linear schedules with {' or '.join(PREDICTIONS)}.",
        )
    if changes := [key for key in SCHEDULE_CHANGES if config.get(key)]:
        raise ModelError(
            f"{name}: the scheduler changes its noise levels by {changes[0]}",
            "artv samples the schedule as its betas give it.",
        )
    numbers: list[Any] = [config.get(key) for key in SCHEDULE_KEYS]
    start, end, steps = numbers
    in_order = all(isinstance(beta, float) for beta in (start, end)) and 0 < start <= end < 1
    if not in_order or steps != NOISE_LEVELS:
        raise ModelError(
            f"{name}: the scheduler goes from {start} to {end} in {steps} steps",
            f"artv samples schedules of {NOISE_LEVELS} steps, with betas between 0 and 1.",
        )
    return Schedule.scaled_linear(start, end, steps)


def scheduler_config(folder: ModelFolder) -> dict[str, Any]:
    """Read the configuration of a model folder's scheduler."""
    return read_json(folder.path / "scheduler" / PARTS["scheduler"], folder.name)


def prediction_of(config: Mapping[str, Any]) -> Any:
    """Return what a scheduler's configuration says that the network predicts."""
    return config.get("prediction_type", "epsilon")


def paper_scheduler(
    prediction: str = "epsilon", beta_start: float = 0.00085, beta_end: float = 0.0120
) -> DDIMScheduler:
    """Return the paper's schedule (Sec. 4), or one of its kind, as diffusers writes it down."""
    return DDIMScheduler(
        num_train_timesteps=NOISE_LEVELS,
        beta_start=beta_start,
        beta_end=beta_end,
        beta_schedule="scaled_linear",
        prediction_type=prediction,
        clip_sample=False,
        set_alpha_to_one=False,
    )
