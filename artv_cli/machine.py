"""The machine that networks run on: its devices, their free memory, and what can change a bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import diffusers
import PIL
import psutil
import torch
import transformers

from artv_cli import __version__
from artv_cli.errors import ArtvError, UsageError
from artv_cli.model.repository import first_line

ANOTHER_DEVICE = (
    "Close what else uses it, or name --device cpu, and run it again: it goes on with what is done."
)


def environment(device: str) -> Mapping[str, str]:
    """Return versions, device and threads: what can change the last bit of a frame.

    `device` as `resolve_device` returns it.
    """
    return {
        "artv": __version__,
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "transformers": transformers.__version__,
        "pillow": PIL.__version__,  # scales the pictures that are given, packs all of them
        "device": _device_name(device),
        "threads": str(torch.get_num_threads()),
    }


def free_memory(device: str) -> int | None:
    """Return how many bytes can still be taken on a device, or None where nobody tells."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0]
    if device == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return psutil.virtual_memory().available if device == "cpu" else None


@contextmanager
def memory_told(remedy: str = ANOTHER_DEVICE) -> Iterator[None]:
    """Raise ArtvError, with what would help, where a device's memory is spent."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        said = first_line(error)[:300]
        raise ArtvError(f"the device has no memory left: {said}", remedy) from error


def resolve_device(name: str) -> str:
    """Return the device called `name`, "auto" being the first of cuda, mps, cpu that there is.

    Raises UsageError where it is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).cpu()  # there, and one that holds values
    except Exception as error:  # each of torch's backends fails in its own way
        raise UsageError(
            f"there is no device {name!r} here: {first_line(error)}",
            "Leave --device out to take the best there is, or say cpu.",
        ) from None
    return name


def has_fast_bfloat16(device: str) -> bool:
    """Tell whether a kind of device ("cpu", "cuda") gains by computing in bfloat16.

    Cards do; a CPU only with wide vectors, else it is several times slower than in float32.
    """
    return device != "cpu" or "AVX512" in torch.backends.cpu.get_cpu_capability()


def autocast(device: str) -> torch.autocast:
    """Return a context that computes in bfloat16 where that is faster, and else in float32."""
    return torch.autocast(device, torch.bfloat16, enabled=has_fast_bfloat16(device))


def _device_name(device: str) -> str:
    """Return the kind of a device and which one it is: the same card, however it was asked for."""
    kind = torch.device(device).type
    if kind == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.backends.cpu.get_cpu_capability()})" if kind == "cpu" else kind
