"""The storyboard that `artv init` writes: it renders as it is, and its comments say the rest."""

STARTER = """\
# A storyboard for artv. Render it:  artv story <this file>
# See first what it would take:      artv plan <this file>
# Help from your editor:             artv schema > storyboard.schema.json

title: The penguin and the balloon
seed: 1                       # another seed is another film
fps: 8

# Whatever is left out is the model's own choice:
# model: storybook            # an embedded model, a model folder, or a hub id
# size: [128, 128]            # width and height in pixels
# image: penguin.png          # the first frame; without it, the model draws one
# steps: 6                    # more is slower and finer; may stand in a segment, too
# guidance: {text: 0.75}      # how strongly the prompt pulls

segments:
  - prompt: a penguin walks right through the snow
    duration: 2s              # or frames: 16
    narration: Once upon a time there was a penguin.

  - prompt: the penguin jumps
    duration: 2s
    # anchor: previous        # what holds the scene: previous, first, key, an image's path

  - prompt: a balloon floats up over the sea
    duration: 2s
    start: cut                # a fresh key frame, instead of going on from the last one
    fade: 4                   # its first frames dissolve from the last one before
    narration: And far away…
"""
