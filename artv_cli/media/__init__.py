"""Frames to files and back, through ffmpeg: nothing here knows of models."""
