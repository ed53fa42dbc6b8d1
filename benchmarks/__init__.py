"""Measurements, each a ratio between our process and the bare floor, measured alternately."""
