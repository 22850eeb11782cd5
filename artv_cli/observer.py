"""What the making of a story has to say, and to whom: silent until somebody listens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from artv_cli.plan import FramePlan, RenderPlan
from artv_cli.render import Frame
from artv_cli.timings import effort


@dataclass(frozen=True)
class Work:
    """What there is to do: a story by name, its plan, and those targets that are to be made.

    `prompts` are those of its segments; `again` are frames that are there, and drawn once more for
    their masks.
    """

    story: str
    prompts: tuple[str, ...]
    plan: RenderPlan
    lacking: tuple[FramePlan, ...]
    again: tuple[FramePlan, ...] = ()

    @property
    def frames(self) -> int:
        """How many frames the film has."""
        return len(self.plan.frames)

    @property
    def to_render(self) -> int:
        """How many frames are to be drawn."""
        return sum(target.is_shown for target in self.lacking)

    @property
    def cached(self) -> int:
        """How many frames are there."""
        return self.frames - self.to_render

    @property
    def to_redraw(self) -> int:
        """How many of those are drawn once more for their masks."""
        return len(self.again)

    @property
    def pictures(self) -> int:
        """How many pictures are to be drawn that key frames are encoded from."""
        return sum(target.role == "picture" for target in self.lacking)

    @property
    def anchor_images(self) -> int:
        """How many images are to be encoded that the film does not show."""
        return len(self.lacking) - self.to_render - self.pictures

    @property
    def effort(self) -> int:
        """How much drawing there is to do, as `timings.effort` counts it."""
        return sum(map(effort, (*self.lacking, *self.again)))


class Observer:
    """Whoever watches a story being made; this one does nothing."""

    def warn(self, message: str) -> None:
        """Hear about something that is odd but stops nothing."""

    def planned(self, work: Work) -> None:
        """Hear what is there and what is to be made, before the first frame."""

    def loading(self, model: str) -> None:
        """Hear that a model is being loaded, because a frame must be drawn."""

    def drawing(self, prompt: str) -> None:
        """Hear that a text-to-image model draws the picture of a key frame."""

    def frame(self, frame: Frame) -> None:
        """Hear of one frame, drawn or reused."""

    def encoding(self, path: Path) -> None:
        """Hear that all frames are there and that the film is being written."""

    def pruned(self, files: int, size: int) -> None:
        """Hear how many files, and bytes, left the cache to keep it below its limit."""


class Several(Observer):
    """Passes on what it hears to several observers, in their order."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def warn(self, message: str) -> None:
        for observer in self._observers:
            observer.warn(message)

    def planned(self, work: Work) -> None:
        for observer in self._observers:
            observer.planned(work)

    def loading(self, model: str) -> None:
        for observer in self._observers:
            observer.loading(model)

    def drawing(self, prompt: str) -> None:
        for observer in self._observers:
            observer.drawing(prompt)

    def frame(self, frame: Frame) -> None:
        for observer in self._observers:
            observer.frame(frame)

    def encoding(self, path: Path) -> None:
        for observer in self._observers:
            observer.encoding(path)

    def pruned(self, files: int, size: int) -> None:
        for observer in self._observers:
            observer.pruned(files, size)
