"""What a program reads on standard output with `--json`: events, one JSON object a line.

Each has `event`, its kind, and these fields; numbers of frames and segments count from 1.

`started`   story, frames, segments, cached, to_render, pictures, anchor_images; to_redraw: how many
            of the cached are drawn once more for their masks
`loading`   model: it is being loaded, because a frame must be drawn
`drawing`   prompt: a text-to-image model draws the picture of a key frame
`segment`   segment, frames, prompt: its first frame comes next
`frame`     frame, segment, reused, seconds, digest (SHA-256 of latents and picture), key;
            seconds_per_frame and seconds_left, told from newly drawn frames, null before the first
`encoding`  output: all frames are there, the film is being written
`pruned`    files, bytes that left the cache to keep it below its limit
`warning`   message
`finished`  output, masks (their folder, null without --save-masks), frames, rendered, reused,
            seconds, seconds_per_frame, frame_digests
`error`     kind, message, remedy: the exit code is the program's

The last line of a render is always `finished` or `error`; with `--quiet` it is the only one. Of any
other command that fails it is an `error` as well.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

from artv_cli.console import drop_stdout, emit_json
from artv_cli.messages import message, same_command
from artv_cli.observer import Observer, Work
from artv_cli.pace import Pace
from artv_cli.render import Frame
from artv_cli.story import StoryReport
from artv_cli.timings import effort


class Events(Observer):
    """Prints events as they happen; `quiet` prints the last one alone."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._work: Work | None = None
        self._pace = Pace(0)
        self._segment = -1

    def warn(self, message: str) -> None:
        self._print("warning", message=message)

    def planned(self, work: Work) -> None:
        self._work, self._pace = work, Pace(work.effort)
        self._print(
            "started",
            story=work.story,
            frames=work.frames,
            segments=len({frame.segment for frame in work.plan.frames}),
            cached=work.cached,
            to_render=work.to_render,
            pictures=work.pictures,
            anchor_images=work.anchor_images,
            to_redraw=work.to_redraw,
        )

    def loading(self, model: str) -> None:
        self._print("loading", model=model)

    def drawing(self, prompt: str) -> None:
        self._print("drawing", prompt=prompt)

    def frame(self, frame: Frame) -> None:
        target = frame.plan
        if target.segment != self._segment:
            self._segment = target.segment
            self._print("segment", segment=target.segment + 1, **self._about(target.segment))
        if frame.is_drawn:
            self._pace.add(frame.seconds, effort(target))
        self._print(
            "frame",
            frame=target.index + 1,
            segment=target.segment + 1,
            reused=frame.reused,
            seconds=frame.seconds,
            seconds_per_frame=self._pace.seconds_per_frame,
            seconds_left=self._pace.seconds_left,
            digest=frame.entry.digest,
            key=target.key,
        )

    def encoding(self, path: Path) -> None:
        self._print("encoding", output=str(path))

    def pruned(self, files: int, size: int) -> None:
        self._print("pruned", files=files, bytes=size)

    def finished(self, report: StoryReport) -> None:
        """Print the last event of a story that became a film."""
        masks = None if report.masks is None else str(report.masks)
        places = {"output": str(report.output), "masks": masks}
        _print("finished", **dataclasses.asdict(report) | places)

    def failed(self, error: BaseException) -> None:
        """Print the last event of a command that failed."""
        told = message(error, same_command())
        kind = type(error).__name__
        _print("error", kind=kind, message=told.sentence, remedy=told.remedy)

    def _about(self, number: int) -> dict[str, Any]:
        assert self._work is not None, "frames come after the plan"
        prompts = self._work.prompts
        frames = sum(frame.segment == number for frame in self._work.plan.frames)
        return {"frames": frames, "prompt": prompts[number]}

    def _print(self, event: str, **fields: Any) -> None:
        if not self._quiet:
            _print(event, **fields)


def _print(event: str, **fields: Any) -> None:
    """Print an event at once. A reader that goes away, or a full disk, stops no render."""
    try:
        emit_json({"event": event, **fields})
        sys.stdout.flush()
    except OSError:
        drop_stdout()
