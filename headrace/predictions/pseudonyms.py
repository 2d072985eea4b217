"""The keys of entities in a prediction log: left out, as pseudonyms, or as they are.

A pseudonym is BLAKE2b of the key, keyed by a secret: equal keys have equal pseudonyms, and who does not have the
secret can neither read a key out of one nor try keys until one fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa

NONE, HASHED, PLAIN = "none", "hashed", "plain"
WAYS = (NONE, HASHED, PLAIN)
#: The variable that holds the secret where no file does.
VARIABLE = "HEADRACE_PREDICTION_KEY"
_SHORTEST, _LONGEST = 16, 64


class KeysError(Exception):
    """Keys cannot be logged as they were to be; the text says why."""


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """How keys are written down: one of WAYS, and the secret of `hashed`, 16 to 64 bytes.

    >>> Pseudonyms(HASHED, b"sixteen bytes...").of(np.array([7]))[0].as_py() == "7"
    False
    >>> Pseudonyms(PLAIN).of(np.array([7]))[0].as_py()
    '7'
    """

    way: str = NONE
    secret: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        if self.way not in WAYS:
            raise KeysError(f"keys in the prediction log are {self.way!r}, needs one of {', '.join(WAYS)}")
        if self.way == HASHED and not _SHORTEST <= len(self.secret) <= _LONGEST:
            raise KeysError(
                f"the secret of hashed keys has {len(self.secret)} bytes, needs {_SHORTEST} to {_LONGEST}: "
                f"set {VARIABLE}, or name a file that holds it"
            )

    @classmethod
    def read(cls, way: str, file: str, environment: Mapping[str, str]) -> Pseudonyms:
        """Read the secret from a file, or from the environment where none is named. Raises KeysError."""
        if not file or way != HASHED:
            return cls(way, environment.get(VARIABLE, "").strip().encode() if way == HASHED else b"")
        try:
            return cls(way, Path(file).read_bytes().strip())
        except OSError as away:
            raise KeysError(f"the secret of hashed keys cannot be read: {away.strerror}") from away

    def of(self, keys: np.ndarray, absent: np.ndarray | None = None) -> pa.Array:
        """Return keys, [n], as they are written down: strings, or nulls where they are left out, or are `absent`."""
        if self.way == NONE:
            return pa.nulls(len(keys), pa.string())
        texts = [str(key) for key in keys.tolist()]
        said = texts if self.way == PLAIN else [self.one(text) for text in texts]
        return pa.array(said, pa.string(), mask=absent)

    def one(self, key: str) -> str:
        """Return the pseudonym of one key, as text: to look for it in a log."""
        return blake2b(key.encode("utf-8", "replace"), digest_size=16, key=self.secret).hexdigest()
