"""What shards of clips are called and hold, for those who write them and those who read them.

A folder with plain tars in the manner of WebDataset, `shard-*.tar`, and `shards.json`, which lists
them::

    {"format": "artv-shards 1", "samples": N, "shards": [{"name", "samples", "bytes"}, …]}

The members of a sample stand side by side and share a key: `KEY.mp4` (one shot at 8 frames a
second), `KEY.txt` (its caption), `KEY.json` (`frames` and where it comes from), and perhaps
`KEY.latents.safetensors` (`latents` (n, c, h, w) in fp16, scaled to unit deviation); then the JSON
says whose they are and how large, `latents: {"vae": FINGERPRINT, "size": [W, H], "shape":
[c, h, w]}`: of each frame the middle is encoded, scaled to cover W x H pixels.
"""

from __future__ import annotations

FORMAT = "artv-shards 1"
INDEX = "shards.json"
VIDEO, CAPTION, FACTS, LATENTS = "mp4", "txt", "json", "latents.safetensors"
