"""Fixed-width binary rows, known by the fingerprint of what they hold.

Every record begins with the first eight bytes of its layout's fingerprint, so that a
row written under another declaration is recognised, and treated as missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from headrace.features.identity import digest


@dataclass(frozen=True, slots=True)
class Layout:
    """A NumPy structured dtype with a fingerprint; `columns` are NumPy field descriptions.

    >>> Layout.of({"name": "g"}, [("x", "<f8")]).dtype.names
    ('layout', 'x')
    """

    dtype: np.dtype
    fingerprint: np.uint64

    @classmethod
    def of(cls, meaning: dict[str, Any], columns: list[tuple[Any, ...]]) -> Layout:
        """Describe rows of these columns; any change of `meaning` or of a column changes the fingerprint."""
        dtype = np.dtype([("layout", "<u8"), *columns])
        fingerprint = int(digest([meaning, [list(map(str, column)) for column in columns]])[:16], 16)
        return cls(dtype, np.uint64(fingerprint or 1))  # never 0, the fingerprint of a blank row

    @property
    def size(self) -> int:
        """How many bytes one record takes."""
        return self.dtype.itemsize

    def read(self, records: bytes | bytearray | memoryview) -> np.ndarray:
        """Return records lying one after another as a structured array, without a copy."""
        return np.frombuffer(records, dtype=self.dtype)

    def known(self, records: np.ndarray) -> np.ndarray:
        """Tell which records were written under this layout, bool [n]."""
        return records["layout"] == self.fingerprint
