"""artv: long-video storytelling, one frame at a time."""

__version__ = "0.1.0"
