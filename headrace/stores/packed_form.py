"""The form of packed records: where each word of a record goes, as numbers that compiled loops read."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headrace.features.tiles import Shape

WORD = 8


class Places(NamedTuple):
    """Where the words of a group's records go."""

    most: int  # words that a packed record may have
    widest: int  # and those of one that holds all its tiles
    blank: np.ndarray  # int64 [words] a record in which nothing was counted
    head: np.ndarray  # int64 [m] the words outside the slots and after the fingerprint
    place: np.ndarray  # int64 [slots, words of a slot] the words of each slot, that of its tile's index first
    rings: np.ndarray  # int64 [windows, 5] those of Shape
    gaps: np.ndarray  # int64 [7] those of Shape
    alike: np.ndarray  # int64 [k] the gaps to what of a lone event is its value


class Form(NamedTuple):
    """What a packed record looks like, counted in words."""

    fingerprint: int  # the first word of a whole record
    width: int  # of a whole record
    mark: int  # the first word
    first_mark: int  # the first word of a row of the first form
    bits: int  # of a bitmap
    begin: int  # how many there are before the head: that one, the bitmaps, and each window's newest tile
    head: int  # how many there are of the columns outside the slots
    slots: int  # how many a whole record has
    step: int  # of a tile
    lone: int  # of a lone event; as many where none is told from other tiles
    newest: int  # from the beginning to the time of the newest event
    last: int  # and to the last columns
    gaps: np.ndarray  # int64 [7] those of Shape, from the word before a packed tile


def numbers_of(shape: Shape, form: Form) -> np.ndarray:
    """Return both as one array, int64: how many windows, statistics and gaps there are, and then what they hold."""
    counts = len(shape.rings), len(shape.stats), len(shape.gaps)
    return np.concatenate((counts, shape[:4], form[:12], shape.gaps, form.gaps, shape.stats, shape.rings.ravel()))
