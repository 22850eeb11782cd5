"""The engine that draws pictures of key frames with a text-to-image pipeline of diffusers."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from diffusers import AutoPipelineForText2Image
from diffusers.pipelines import stable_diffusion
from PIL import Image

from artv_cli.engine import PictureRequest
from artv_cli.errors import ModelError, RenderError
from artv_cli.images import fitted
from artv_cli.latents import Dtype, Pixels
from artv_cli.machine import environment, free_memory, resolve_device
from artv_cli.model.memory import PictureDemand, require_memory
from artv_cli.model.repository import first_line
from artv_cli.model.text_to_image import TextToImageFolder, find_text_to_image
from artv_cli.model.weights import bad_part, load_weights, silent_libraries
from artv_cli.settings import Offload

_LIBRARIES = {
    "diffusers": diffusers,
    "transformers": transformers,
    "stable_diffusion": stable_diffusion,
}


def load_pipeline(
    folder: TextToImageFolder,
    *,
    device: str = "auto",
    dtype: Dtype = "float32",
    offload: Offload = "none",
    size: tuple[int, int] = (1, 1),
    drawing: Callable[[str], None] = lambda prompt: None,
    warn: Callable[[str], None] = lambda message: None,
) -> PipelineEngine:
    """Load a text-to-image model to draw pictures for a film of `size` (width, height).

    `drawing` hears the prompt of each picture before it is drawn, `warn` that memory will be short.
    Raises UsageError for a device that is not there or cannot hold the model; ModelError where
    weights are missing or damaged, or where diffusers draws no pictures from words with such a
    model.
    """
    device = resolve_device(device)
    waits = offload if device != "cpu" else "none"
    demand = PictureDemand(folder, folder.drawn_size(size), dtype, waits, folder.variant)
    require_memory(demand, device, free_memory(device), warn)
    parts = {part: _network(folder, part, dtype) for part in folder.networks}
    try:
        with silent_libraries():
            pipeline: Any = AutoPipelineForText2Image.from_pretrained(
                folder.path, local_files_only=True, use_safetensors=True, **parts
            )
    except Exception as error:  # diffusers raises many kinds for what it cannot put together
        raise ModelError(
            f"{folder.name} does not draw pictures from words: {first_line(error)}",
            "Name a text-to-image model, or fetch this one again.",
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    if device == "cpu" or offload == "none":
        pipeline.to(device)
    elif offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.enable_sequential_cpu_offload(device=device)
    # Told from the files once more, lest pictures be kept under false keys.
    told = find_text_to_image(str(folder.path), variant=folder.variant).fingerprint
    return PipelineEngine(pipeline, told, device=device, drawing=drawing)


class PipelineEngine:
    """Draws pictures from words.

    Fulfils `artv_cli.engine.PictureEngine`.
    """

    def __init__(
        self,
        pipeline: Any,
        fingerprint: str,
        *,
        device: str = "cpu",
        drawing: Callable[[str], None] = lambda prompt: None,
    ) -> None:
        self.fingerprint = fingerprint
        self._pipeline = pipeline
        self._device = device
        self._drawing = drawing

    @property
    def environment(self) -> Mapping[str, str]:
        """Versions, device and threads: what can change the last bit of a picture."""
        return environment(self._device)

    @torch.inference_mode()
    def picture(self, request: PictureRequest) -> Pixels:
        """Draw a picture: uint8 (H, W, 3). RenderError for one that is none."""
        self._drawing(request.prompt)
        asked = {"num_inference_steps": request.steps, "guidance_scale": request.guidance}
        width, height = request.drawn_size
        with silent_libraries():
            drawn = self._pipeline(
                prompt=request.prompt,
                width=width,
                height=height,
                # On the cpu, wherever the networks are: the same noise on every device.
                generator=torch.Generator("cpu").manual_seed(request.seed),
                output_type="np",
                **{name: value for name, value in asked.items() if value is not None},
            )
        if any(getattr(drawn, "nsfw_content_detected", None) or ()):
            raise RenderError(
                f"the key frame's model keeps its picture of {request.prompt!r} to itself: it takes"
                " it for unfit to be seen",
                "Word the prompt otherwise, or take another --seed.",
            )
        values = drawn.images[0]
        if not np.isfinite(values).all():
            raise RenderError(
                f"the picture of {request.prompt!r} came out with values that are no numbers",
                "Render with --dtype float32 or bfloat16.",
            )
        return fitted(Image.fromarray((values * 255).round().astype(np.uint8)), request.size)

    def close(self) -> None:
        """Free the memory that the model takes."""
        self._pipeline = None
        gc.collect()  # the parts of a pipeline refer to each other
        if self._device.startswith("cuda"):
            torch.cuda.empty_cache()


def _network(folder: TextToImageFolder, part: str, dtype: Dtype) -> Any:
    library, name = folder.networks[part]
    kind = getattr(_LIBRARIES[library], name, None)
    if not (isinstance(kind, type) and issubclass(kind, torch.nn.Module)):
        raise bad_part(folder, part, f"{library} here knows no network {name}")
    module = load_weights(folder, part, kind, getattr(torch, dtype), folder.variant)
    return module.requires_grad_(False).eval()
