"""The engine that makes frames with the masked diffusion model: `model/` and `diffusion/` as one.

Legend: b guidance branches, c latent channels, h w latent size, H W picture size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import torch
from torch import Tensor

from artv_cli.diffusion.denoiser import Denoiser, Prediction
from artv_cli.diffusion.guidance import Branch, guidance_branches
from artv_cli.diffusion.noise import AUGMENTATION, INITIAL, augment, gaussian, step_noise
from artv_cli.diffusion.sampler import initial_state, sample
from artv_cli.engine import FrameRequest, Watch
from artv_cli.errors import RenderError
from artv_cli.latents import Dtype, Latents, Pixels
from artv_cli.machine import environment, free_memory, resolve_device
from artv_cli.model.adapter import REFERENCE_COUNT
from artv_cli.model.artv import Conditions, PreparedText, stack
from artv_cli.model.codec import decode_latents, downsampling, encode_images
from artv_cli.model.folder import ModelFolder, fingerprint
from artv_cli.model.memory import Demand, require_memory
from artv_cli.model.offload import offload as offload_parts
from artv_cli.model.weights import Model, load_model
from artv_cli.settings import Offload

BLANK_PROMPT = ""


def load_engine(
    folder: ModelFolder,
    *,
    device: str = "auto",
    dtype: Dtype | None = None,
    variant: str | None = None,
    offload: Offload = "none",
    size: tuple[int, int] | None = None,
    warn: Callable[[str], None] = lambda message: None,
) -> ArtvEngine:
    """Load a model and make it ready to draw frames.

    `device`: "auto" takes the first of cuda, mps, cpu that there is; `dtype` and `size` (width,
    height): left out, the model's own; `warn` hears that memory will be short. Raises UsageError
    for a device that is not there or cannot hold the model, ModelError for a bad model.
    """
    device = resolve_device(device)
    dtype = dtype or folder.preferences.dtype
    if device == "cpu" and offload != "none":
        warn("--offload does nothing on a cpu: the networks are in main memory as it is")
        offload = "none"
    demand = Demand(folder, size or folder.preferences.size, dtype, offload, variant)
    require_memory(demand, device, free_memory(device), warn)
    waits = offload != "none"
    model = load_model(folder, device="cpu" if waits else device, dtype=dtype, variant=variant)
    offload_parts(model, offload, device)
    # Told from the files once more: had they changed since, frames would be kept under false keys.
    told = fingerprint(folder.path, folder.preferences, variant)
    return ArtvEngine(model, told, device=device, dtype=dtype)


class ArtvEngine:
    """Draws one frame from a request, two reference frames and an anchor (Sec. 3).

    Fulfils `artv_cli.engine.Engine`.
    """

    def __init__(
        self, model: Model, fingerprint: str, *, device: str = "cpu", dtype: Dtype = "float32"
    ) -> None:
        self.fingerprint = fingerprint
        self._model = model
        self._device = device
        self._dtype: Dtype = dtype
        self._torch_dtype: torch.dtype = getattr(torch, dtype)
        # What only changes with the prompt or the size is prepared once for all frames.
        self._prepared_text = lru_cache(maxsize=64)(self._prepare_text)
        self._blank_conditions = lru_cache(maxsize=4)(self._prepare_blank)

    @property
    def environment(self) -> Mapping[str, str]:
        """Versions, device and threads: what can change the last bit of a frame."""
        return environment(self._device)

    @torch.inference_mode()
    def encode(self, pixels: Pixels) -> Latents:
        """Return the latents of a picture: uint8 (H, W, 3)."""
        image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]
        image = image.to(self._device, self._torch_dtype) / 127.5 - 1
        return self._to_latents(encode_images(self._model.vae, image))

    @torch.inference_mode()
    def decode(self, latents: Latents) -> Pixels:
        """Return the picture of a frame: uint8 (H, W, 3).

        Raises RenderError where the autoencoder's precision does not reach.
        """
        image = decode_latents(self._model.vae, self._to_tensor(latents))[0].float()
        if not image.isfinite().all():
            raise RenderError(
                f"the autoencoder drew values that are no numbers, in {self._dtype}",
                "Render with --dtype float32 (or bfloat16).",
            )
        pixels: Pixels = ((image + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()
        return pixels

    @torch.inference_mode()
    def key_frame(self, request: FrameRequest) -> Latents:
        """Draw a frame from words alone: references and anchor are blank."""
        branches = guidance_branches(
            request.sampling.guidance, has_reference=False, has_anchor=False
        )
        full = self._blank(request).with_text(self._prepared_text(request.prompt))
        return self._draw(request, branches, full, reference=None)

    @torch.inference_mode()
    def next_frame(
        self,
        request: FrameRequest,
        references: tuple[Latents, Latents],
        anchor: Latents,
        watch: Watch | None = None,
    ) -> Latents:
        """Draw y_i from (y_{i-1}, y_{i-2}) and the anchor (Sec. 3.1); `watch` hears the masks."""
        branches = guidance_branches(request.sampling.guidance, has_reference=True, has_anchor=True)
        previous, earlier = (self._to_tensor(latents) for latents in references)
        full = self._conditions(request, previous, earlier, self._to_tensor(anchor))
        return self._draw(request, branches, full, reference=previous, watch=watch)

    def _draw(
        self,
        request: FrameRequest,
        branches: tuple[Branch, ...],
        full: Conditions,
        reference: Tensor | None,
        watch: Watch | None = None,
    ) -> Latents:
        """Sample a frame whose references, anchor and prompt stand prepared in `full`."""
        model, sampling = self._model, request.sampling
        of_all = self._branch_conditions(request, branches, full)

        def predict(y_t: Tensor, timestep: int) -> Prediction:
            conditions = of_all if len(y_t) == len(branches) else full
            timesteps = torch.full((len(y_t),), timestep, device=y_t.device)
            return Prediction(*model.networks(y_t.to(self._torch_dtype), timesteps, conditions))

        denoiser = Denoiser(
            predict=predict,
            schedule=model.schedule,
            guidance=sampling.guidance,
            branches=branches,
            reference=reference,
            static_noise=model.static_noise,
            watch=None if watch is None else _as_arrays(watch),
        )
        shape = self._latent_shape(request)
        sigmas = model.schedule.sampling_sigmas(sampling.steps)
        x = initial_state(gaussian(request.seed, INITIAL, shape).to(self._device), sigmas)
        noise = step_noise(request.seed, shape)
        return self._to_latents(sample(sampling.sampler, denoiser, x, sigmas, noise))

    def _conditions(
        self, request: FrameRequest, previous: Tensor, earlier: Tensor, anchor: Tensor
    ) -> Conditions:
        """Corrupt references and anchor to the noise level (Sec. 3.3) and prepare them."""
        frames = torch.cat([previous, earlier, anchor])
        level = request.sampling.noise_level
        noise = gaussian(request.seed, AUGMENTATION, tuple(frames.shape))
        noised = augment(frames, level, noise, self._model.schedule)
        return self._model.networks.prepare(
            noised[:REFERENCE_COUNT].flatten(0, 1)[None],
            noised[REFERENCE_COUNT:],
            self._prepared_text(request.prompt),
            torch.tensor([level], device=self._device),
        )

    def _branch_conditions(
        self, request: FrameRequest, branches: tuple[Branch, ...], full: Conditions
    ) -> Conditions:
        blank = self._blank(request)
        rows = {
            Branch.FULL: full,
            Branch.NO_REFERENCE: full.without_references(blank),
            Branch.NO_ANCHOR: full.without_anchor(blank),
            Branch.NO_TEXT: full.with_text(self._prepared_text(BLANK_PROMPT)),
        }
        # With guidance on the dynamic part, only the full branch's mask is ever looked at.
        masks = len(branches) if request.sampling.guidance.on == "composed" else 1
        return stack([rows[branch] for branch in branches], masks=masks)

    def _blank(self, request: FrameRequest) -> Conditions:
        return self._blank_conditions(self._latent_shape(request), request.sampling.noise_level)

    def _prepare_text(self, prompt: str) -> PreparedText:
        return self._model.networks.prepare_text(self._model.text([prompt]))

    def _prepare_blank(self, shape: tuple[int, ...], noise_level: int) -> Conditions:
        anchor = torch.zeros(shape, device=self._device, dtype=self._torch_dtype)
        return self._model.networks.prepare(
            anchor.repeat(1, REFERENCE_COUNT, 1, 1),
            anchor,
            self._prepared_text(BLANK_PROMPT),
            torch.tensor([noise_level], device=self._device),
        )

    def _latent_shape(self, request: FrameRequest) -> tuple[int, ...]:
        width, height = (side // downsampling(self._model.vae) for side in request.size)
        return (1, self._model.vae.config.latent_channels, height, width)

    def _to_latents(self, tensor: Tensor) -> Latents:
        values = tensor[0].to(self._torch_dtype).contiguous().cpu()
        data = values.view(torch.uint8).numpy().tobytes()
        return Latents(self._dtype, tuple(values.shape), data)

    def _to_tensor(self, latents: Latents) -> Tensor:
        values = torch.frombuffer(bytearray(latents.data), dtype=getattr(torch, latents.dtype))
        return values.view(1, *latents.shape).to(self._device, self._torch_dtype, copy=True)


def _as_arrays(watch: Watch) -> Callable[[int, Tensor], None]:
    """Return what hears masks of a batch of one, (1, 1, h, w), and passes them on to `watch`."""
    return lambda timestep, mask: watch(timestep, mask[0, 0].float().cpu().numpy())
