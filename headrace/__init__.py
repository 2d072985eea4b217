"""Headrace: fresh features for a model, the same value in training and at request time."""

__version__ = "0.1.0"
