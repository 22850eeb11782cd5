"""What the loop trains: both networks and the text encoder, as one module that tells its loss."""

from __future__ import annotations

from torch import Tensor, nn

from artv_cli.diffusion.schedule import Schedule
from artv_cli.model.artv import ArtV
from artv_cli.model.codec import TextEncoder
from artv_cli.settings import StaticNoise
from artv_cli.train.examples import Examples
from artv_cli.train.loss import Draw, masked_diffusion_loss


class Learner(nn.Module):
    """Both networks and the text encoder; what requires no gradient stays as it is."""

    def __init__(self, networks: ArtV, text: TextEncoder) -> None:
        super().__init__()
        self.networks = networks
        self.text = text

    def forward(
        self, examples: Examples, draw: Draw, schedule: Schedule, form: StaticNoise
    ) -> tuple[Tensor, Tensor]:
        """Return the loss (b,) and the mean mask (b,) of each example."""
        text = self.text(examples.captions)
        return masked_diffusion_loss(self.networks, examples, text, draw, schedule, form)
