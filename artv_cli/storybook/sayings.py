"""The small words of the storybook's English: directions, paces, pronouns, light and weather."""

from __future__ import annotations

from artv_cli.storybook.repertoire import Motion
from artv_cli.storybook.scenes import Weather
from artv_cli.storybook.script import Pace

PLAINLY: dict[Motion, str] = {
    "left": "goes left",
    "right": "goes right",
    "jump": "jumps",
    "up": "rises",
    "down": "sinks",
    "still": "stands still",
    "sleep": "sleeps",
    "closer": "comes closer",
    "away": "goes away",
    "spin": "spins",
    "pan-left": "the camera pans left",
    "pan-right": "the camera pans right",
    "zoom": "the camera zooms in",
    "dusk": "it gets dark",
    "dawn": "it gets light",
}
"""Each motion in its plainest words: what these do not reach, a model was not taught."""

SIDES: dict[Motion, tuple[str, ...]] = {
    "left": ("left", "left", "to the left", "to the left", "towards the left"),
    "right": ("right", "right", "to the right", "to the right", "towards the right"),
}
UPWARD, DOWNWARD = ("up", "up", "upwards"), ("down", "down", "downwards")
SIZES = {"big": ("big", "big", "large"), "little": ("little", "little", "small")}
PACES: dict[Pace, tuple[str, ...]] = {"slowly": ("slowly",), "quickly": ("quickly", "fast")}
PRONOUNS, PLURALS = ("it", "it", "he", "she"), ("they", "they", "both")
THEN = ("then", "now", "and then")
BESIDE, PAST = ("next to", "beside", "near"), ("past",)
WHILE = ("while", "while", "as")
LIGHT: dict[Motion, tuple[str, ...]] = {
    "dusk": ("day turns to night", "night falls", "it gets dark", "the sun goes down"),
    "dawn": ("night turns to day", "day breaks", "it gets light", "the sun comes up"),
}
WEATHERS: dict[Weather, tuple[str, ...]] = {
    "clouds": ("under drifting clouds", "while clouds drift by", "under a cloudy sky"),
    "snow": ("while it snows", "while it is snowing", "in the falling snow"),
    "rain": ("in the rain", "in the rain", "while it rains", "while it is raining"),
    "waves": ("while the waves roll", "with rolling waves"),
    "stars": ("under twinkling stars", "while the stars twinkle"),
}
OPENINGS: dict[Weather, tuple[str, ...]] = {
    "snow": ("it is snowing and", "it snows and"),
    "rain": ("it is raining and", "it rains and"),
}
