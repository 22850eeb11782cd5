r"""The whole road of the full-size system, from base weights to a story, on any machine::

    python -m benchmarks.full_road --base ./stable-diffusion-2-1-base --out runs/road \
        --side 320 --overfit-steps 300

makes an untrained model of the base (`artv models init`), films clips of the storybook's world as
MP4 files with captions beside them, makes shards of the films (`artv prepare`), trains on them with
two processes, kills the training, resumes it, checks that its state has the same bits as that of a
training that was left alone, and renders a story with the result. With `--overfit-steps` a second
training sees the latents of one clip alone, and the clip is rendered again from its first frame:
how near that comes is told in dB. `road.json` in the folder says what came of it.

All of it runs on the CPU, where the same bits are promised and two processes need no two cards.
The figures mean little on a tiny base and a few steps; what counts is that every step holds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import psutil
import torch
from safetensors import safe_open

from artv_cli.artv_engine import load_engine
from artv_cli.engine import FrameRequest
from artv_cli.latents import Pixels
from artv_cli.media.excerpt import read_excerpt
from artv_cli.media.video import probe, write_video
from artv_cli.model.folder import find_model
from artv_cli.settings import Guidance, Sampling
from artv_cli.storybook.world import sample_clip
from artv_cli.train.shards import find_samples

FPS = 8
PROCESSES = 2
STILL = 20.0  # decibels of a clip that only shows its first frame
STORY = "segments:\n  - prompt: {prompt}\n    frames: 4\nsteps: 2\n"
BY_HEART = Sampling(  # nothing but the words was ever blank, and nothing noised
    sampler="dpmpp_2m",
    steps=20,
    guidance=Guidance(text=0.5, reference=0.0, anchor=0.0, on="composed"),
    noise_level=0,
)


@dataclass(frozen=True, kw_only=True)
class Road:
    """Where it leads from and to, and how far: sizes in pixels, lengths in frames.

    `artv prepare` keeps no clip of fewer than 8 frames, and none in which hardly anything moves.
    """

    base: Path
    out: Path
    side: int = 64
    clips: int = 6
    length: int = 8
    steps: int = 6
    overfit_steps: int = 0
    batch_size: int = 4

    def go(self) -> dict[str, float]:
        """Take every step; return what was measured. Raises where one does not hold."""
        size = f"{self.side}x{self.side}"
        artv("models", "init", "--base", self.base, "--out", self.out / "model", "--size", size)
        self._prepare("clips", range(self.clips))
        self._recipe("alone", "clips", self.steps)
        self._train("alone")
        self._kill_and_resume()
        assert same_bits(self.out / "alone", self.out / "stopped"), "other bits after a kill"
        film = self._render("stopped")
        measured: dict[str, float] = {"frames": probe(film).frames}
        if self.overfit_steps:
            measured |= self._overfit()
        (self.out / "road.json").write_text(json.dumps(measured, indent=1) + "\n")
        return measured

    def _prepare(self, name: str, seeds: Sequence[int], *more: object) -> None:
        """Film some of the storybook's clips, and make the films into shards."""
        films, shards = self.out / f"{name}-films", self.out / name
        write_films(films, seeds, self.length, self.side)
        artv("prepare", films, "--out", shards, "--size", self.side, *more)

    def _kill_and_resume(self) -> None:
        """Kill a training once it has a state on disk, and run the same command again."""
        self._recipe("stopped", "clips", self.steps, checkpoint_every="1ms")
        process = subprocess.Popen(self.training_command("stopped"))
        while not (self.out / "stopped" / "state.safetensors").exists():
            if process.poll() is not None:
                raise RuntimeError("the training ended before it could be killed")
            time.sleep(0.05)
        kill(process)
        if steps_seen(self.out / "stopped") >= self.steps:
            raise RuntimeError("the training was over before it could be killed")
        self._recipe("stopped", "clips", self.steps)  # at full size a state takes 20 GB
        self._train("stopped")

    def _recipe(self, name: str, data: str, steps: int, **more: object) -> None:
        lines = {
            "model": "model", "data": data, "samples": steps * self.batch_size,
            "batch_size": self.batch_size, "learning_rate": 1e-3, "precision": "fp32",
            "log_interval": 1, "checkpoint_every": "60min", "tensorboard": "off",
            "validation": "{share: 0}", "sheets": "{every: 0}", **more,
        }  # fmt: skip
        text = "".join(f"{key}: {value}\n" for key, value in lines.items())
        (self.out / f"{name}.yaml").write_text(text)

    def _train(self, name: str, processes: int = PROCESSES) -> None:
        if code := subprocess.run(self.training_command(name, processes)).returncode:
            raise RuntimeError(f"the training {name} ended with exit code {code}")

    def training_command(self, name: str, processes: int = PROCESSES) -> list[str]:
        """Return what trains by the recipe `name` in the folder of that name, always on the CPU."""
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes]
        training = ["-m", "artv_cli", "train", self.out / f"{name}.yaml", "--out", self.out / name]
        words = (*(launcher if processes > 1 else ()), *training, "--device", "cpu")
        return [sys.executable, *map(str, words)]

    def _render(self, run: str) -> Path:
        story, film = self.out / "story.yaml", self.out / "story.mp4"
        story.write_text(STORY.format(prompt=sample_clip(0, self.length).captions[0]))
        where = ("--model", self.out / run / "model", "--cache", self.out / "frames")
        artv("story", story, *where, "-o", film, "--device", "cpu", "--yes")
        return film

    def _overfit(self) -> dict[str, float]:
        """Learn one clip by heart and draw it from its first frame; return the PSNR in dB.

        The clip is compared as the autoencoder has it, since that is all a network can learn;
        beside it stands what its first frame alone would have reached.
        """
        latents = ("--latents", self.out / "model", "--device", "cpu")
        self._prepare("one", [self._moving], *latents)
        self._recipe(
            "overfit", "one", self.overfit_steps,
            learning_rate=2e-3, ema_decay=0.99, max_noise_level=0,
            drops="{references: 0, anchor: 0}",
        )  # fmt: skip
        self._train("overfit", processes=1)  # that two agree is told already
        return self._compare("overfit", "one")

    @property
    def _moving(self) -> int:
        """The first story in which enough happens that standing still would not do."""
        clips = ((seed, story_clip(seed, self.length, self.side)[0]) for seed in itertools.count())
        return next(
            seed for seed, frames in clips if decibels(frames[:1] * len(frames), frames) < STILL
        )

    def _compare(self, run: str, data: str) -> dict[str, float]:
        engine = load_engine(find_model(str(self.out / run / "model")), device="cpu")
        (pixels, caption), *_ = prepared_clips(self.out / data, self.side)
        real = [engine.encode(frame) for frame in pixels]
        frames = [real[0], real[0]]
        for number in range(1, len(real)):
            request = FrameRequest(caption, number, (self.side, self.side), BY_HEART)
            frames.append(engine.next_frame(request, (frames[-1], frames[-2]), real[0]))
        drawn = [engine.decode(frame) for frame in frames[2:]]
        truth = [engine.decode(frame) for frame in real]
        still = decibels(truth[:1] * len(drawn), truth[1:])
        return {"decibels": decibels(drawn, truth[1:]), "still_decibels": still}


def artv(*words: object) -> None:
    """Run an artv command; raises where it fails."""
    subprocess.run([sys.executable, "-m", "artv_cli", *map(str, words)], check=True)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all that it has started, and wait until they are gone.

    A launcher's processes are in sessions of their own, and would go on without it.
    """
    children = psutil.Process(process.pid).children(True)
    process.kill()
    for child in children:
        child.kill()
    process.wait()
    psutil.wait_procs(children)


def story_clip(seed: int, length: int, side: int) -> tuple[list[Pixels], str]:
    """Return the frames of one of the storybook's clips, and its words."""
    clip = sample_clip(seed, length, (side, side))
    pixels = ((clip.frames + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return list(pixels), clip.captions[0]


def write_films(folder: Path, seeds: Sequence[int], length: int, side: int) -> None:
    """Write the storybook's clips as MP4 files, each with its caption in a text beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        frames, caption = story_clip(seed, length, side)
        film = folder / f"story{seed:05}.mp4"
        write_video(frames, film, fps=Fraction(FPS), count=length, crf=4)
        film.with_suffix(".txt").write_text(f"{caption}\n")


def prepared_clips(folder: Path, side: int) -> Iterator[tuple[list[Pixels], str]]:
    """Yield the frames and the words of the clips in a folder of shards."""
    for sample in find_samples([folder]):
        frames = read_excerpt(sample.shard, sample.video, range(sample.frames), (side, side))
        yield list(frames), sample.read(sample.caption).decode()


def same_bits(one: Path, other: Path) -> bool:
    """Tell whether two run folders hold the same state."""
    states = (safe_open(folder / "state.safetensors", "pt") for folder in (one, other))
    with next(states) as ours, next(states) as theirs:
        names = set(ours.keys())
        return names == set(theirs.keys()) and all(
            torch.equal(ours.get_tensor(name), theirs.get_tensor(name)) for name in names
        )


def steps_seen(run: Path) -> int:
    """Return the last step that a run's log tells of."""
    return int(json.loads((run / "log.jsonl").read_text().splitlines()[-1])["step"])


def decibels(frames: Sequence[Pixels], truth: Sequence[Pixels]) -> float:
    """Return the peak signal-to-noise ratio of all frames together."""
    error = np.square(np.subtract(frames, truth, dtype=np.float64)).mean()
    return round(10 * float(np.log10(255**2 / max(error, 1e-9))), 2)


def planned(words: Sequence[str] | None = None) -> Road:
    """Return the road that a command line describes."""
    parser = argparse.ArgumentParser(description="From base weights to a story.")
    parser.add_argument("--base", type=Path, required=True, help="Stable Diffusion 2.1, a folder")
    parser.add_argument("--out", type=Path, default=Path("runs/road"))
    parser.add_argument("--side", type=int, default=64, help="pixels each way")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--overfit-steps", type=int, default=0, help="to learn one clip by heart")
    return Road(**vars(parser.parse_args(words)))


def main() -> None:
    """Take the road that the command line describes."""
    road = planned()
    road.out.mkdir(parents=True, exist_ok=True)
    print(json.dumps(road.go()))


if __name__ == "__main__":
    main()
