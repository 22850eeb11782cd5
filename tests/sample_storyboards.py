"""A storyboard that says everything that a storyboard can say."""

from __future__ import annotations

EVERYTHING = """\
title: The cat and the rocket
model: storybook
size: [128, 96]
fps: 30000/1001
seed: 7
steps: 50
guidance: {text: 6.5, reference: .25, on: composed, rescale: .7, interval: [200, 900]}
noise_level: 200
strict: yes
image: cat.png
segments:
  - prompt: a cat walks right across a meadow
    frames: 16
  - prompt: the cat jumps
    frames: 16
    anchor: previous
  - prompt: a rocket flies up at night
    frames: 24
    start: cut
    image: rocket.png
    seed: 11
    fade: 4
    narration: And then, one night…
    anchor: {segment: 1, frame: 3}
"""
