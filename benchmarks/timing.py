"""Clock and memory of a CUDA device: passes, frames and training steps at the paper's size.

Everything runs in bf16 (training: mixed) and channels_last. Times lie between CUDA events around
many passes, after a warm-up. Memory is the most that torch's allocator held, weights included.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from artv_cli.artv_engine import ArtvEngine
from artv_cli.diffusion.schedule import Schedule
from artv_cli.engine import FrameRequest
from artv_cli.model.initial import PAPER_SAMPLING
from artv_cli.model.repository import first_line
from artv_cli.model.weights import Model
from artv_cli.train.examples import Clips
from benchmarks.full_size import Pass, build_artv, build_autoencoder, build_text_encoder, wake
from benchmarks.full_size_training import full_size_learner, new_trainer

DEVICE = "cuda"
GIGA = 1e9
WARM_UP, ROUNDS, ROUND_SECONDS = 3, 5, 0.6
MATRIX_SIDES = (8192, 16384)
TRAINING_STEPS, FRAMES_TIMED = 10, 3
FAILED = "failed: "  # how the error of a cell begins that another run may find

Module = TypeVar("Module", bound=nn.Module)
Cell = dict[str, Any]  # of results: numbers by name, or what went wrong as "error"


def attempt(measure: Callable[[], Cell]) -> Cell:
    """Return what `measure` finds, or why it found nothing, and leave the device empty."""
    try:
        cell = measure()
    except torch.OutOfMemoryError:
        cell = {"error": "out of memory"}
    except Exception as error:  # one cell's trouble is not the next one's
        cell = {"error": f"{FAILED}{first_line(error)}"}
    gc.collect()
    torch.compiler.reset()
    torch.cuda.empty_cache()
    return cell


def matrix_rate() -> float:
    """Return the bf16 matrix rate of the device on random values, in FLOP/s: the best of sizes."""
    rates = []
    for side in MATRIX_SIDES:
        a, b = torch.randn(2, side, side, device=DEVICE, dtype=torch.bfloat16)
        rates.append(2 * side**3 / seconds_per_call(lambda a=a, b=b: a @ b))  # type: ignore[misc]
    return max(rates)


def measure_pass(
    build: Callable[[], nn.Module],
    bind: Callable[[nn.Module, int], Pass],
    side: int,
    compile_mode: str | None,
) -> Cell:
    """Return seconds and peak memory of one pass, and the device's matrix rate beside it."""
    rate = matrix_rate()
    network = on_device(build)
    with torch.inference_mode():
        run = bind(network, side)
        if compile_mode is not None:
            run = torch.compile(run, mode=compile_mode)
        seconds = seconds_per_call(run)
        torch.cuda.reset_peak_memory_stats()
        run()
        torch.cuda.synchronize()
    return {"seconds": seconds, "gigabytes": peak_gigabytes(), "matrix_rate": rate}


def measure_latency(size: int, compile_mode: str | None) -> Cell:
    """Return the seconds from conditions to pixels of a frame, sampled as the paper does."""
    networks = on_device(build_artv)
    if compile_mode is not None:
        networks.compile(mode=compile_mode)
    vae = on_device(build_autoencoder)
    text = on_device(build_text_encoder)
    model = Model(networks, vae, text, Schedule.scaled_linear(), "exact")
    engine = ArtvEngine(model, "random weights", device=DEVICE, dtype="bfloat16")
    picture = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    reference = engine.encode(picture)
    request = FrameRequest("a cat walks", 0, (size, size), PAPER_SAMPLING)

    def frame() -> float:
        started = time.perf_counter()
        engine.decode(engine.next_frame(request, (reference, reference), reference))
        return time.perf_counter() - started  # the pixels are on the CPU: all work is done

    frame()
    torch.cuda.reset_peak_memory_stats()
    return {
        "seconds": statistics.median(frame() for _ in range(FRAMES_TIMED)),
        "gigabytes": peak_gigabytes(),
    }


def measure_training(clips: Clips, batch_size: int) -> Cell:
    """Return the samples per second of the paper's training step, and its peak memory."""
    with TemporaryDirectory() as folder:
        trainer = new_trainer(full_size_learner(DEVICE), clips, batch_size, Path(folder))
        for _ in range(WARM_UP):
            trainer.train_step()
        torch.cuda.reset_peak_memory_stats()
        started = time.perf_counter()
        for _ in range(TRAINING_STEPS):
            trainer.train_step()
        torch.cuda.synchronize()
        rate = TRAINING_STEPS * batch_size / (time.perf_counter() - started)
    return {"samples_per_second": rate, "gigabytes": peak_gigabytes(), "batch_size": batch_size}


def on_device(build: Callable[[], Module]) -> Module:
    """Build a network of random weights on the device as it is for inference."""
    with torch.device(DEVICE):
        module = build()
    wake(module)
    module.to(torch.bfloat16)
    for parameter in module.parameters():
        if parameter.ndim == 4:  # `Module.to` would ask it of convolutions over time as well
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return module.requires_grad_(False).eval()


def peak_gigabytes() -> float:
    """Return the most memory that was allocated since the peak was reset, in 10^9 bytes."""
    return torch.cuda.max_memory_allocated() / GIGA


def seconds_per_call(run: Pass) -> float:
    """Return the median over rounds of the time of one call, each round many calls long."""
    for _ in range(WARM_UP):
        run()
    calls = max(1, round(ROUND_SECONDS / _round(run, 1)))
    return statistics.median(_round(run, calls) for _ in range(ROUNDS))


def _round(run: Pass, calls: int) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(calls):
        run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000 / calls
