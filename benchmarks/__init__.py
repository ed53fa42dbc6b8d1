"""Measurements, each a ratio between two processes that take turns in one run: ours and the bare floor."""
