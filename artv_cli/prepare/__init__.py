"""Captioned video into shards to train on: found, cut, scored, chosen, packed."""
