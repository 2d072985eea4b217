"""Lists of numbers in JSON, read straight into arrays instead of by way of a list of objects.

The text is searched for members "data" that are lists of numbers; a compiled loop reads them, a short string stands
for each in what is left, and orjson reads that. The result is given only if each of these strings is then
found where a tensor has its data. Else, and where anything is wrong, there is no result, and who asks reads the
whole text as if this were not here: so results and refusals do not depend on it.

A `"data"` whose first quote has no backslash before it begins or ends a string. If it ends one, what follows is no
JSON, and orjson says so; so in JSON it is a string, and a key where a colon follows. What precedes a list is left as it
is, and list and string are both one value: the rest means the same after either. Were a text inside a string taken for
a list all the same, its string would not be found again, and orjson would read the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from secrets import token_hex
from typing import Any, NamedTuple

import numpy as np
import orjson

from headrace.open_inference.tensors import DATATYPES

LEAST_BYTES = 3072  # below, orjson alone is as fast
PADDING = 8  # bytes, of any value, that follow a text for it to be read by eight
_MOST_LISTS = 256
_MARK = token_hex(8)  # nobody outside can write the string that stands for a list
_QUOTED = f'"{_MARK}"'.encode()
_LOOPS: list[Callable[..., int]] = []  # the one that reads lists, once it is loaded
_RANGES = {name: (np.iinfo(dtype).min, np.iinfo(dtype).max) for name, dtype in DATATYPES.items() if dtype.kind in "iu"}


class Numbers(NamedTuple):
    """The numbers of a list, int64 or float64 [n]; `rows` is 0 where it is flat."""

    values: np.ndarray
    rows: int

    def usual_array(self, tensor: dict[str, Any]) -> np.ndarray | None:
        """Return the array of a tensor with this data, a copy, if it is [n] of FP64 or INT64, as nearly all are."""
        shape, datatype = tensor.get("shape"), tensor.get("datatype")
        if shape != [self.values.size] or type(shape[0]) is not int or self.rows or "parameters" in tensor:
            return None
        if datatype == "FP64":
            return self.values.astype(np.float64)
        return self.values.copy() if datatype == "INT64" and self.values.dtype.kind == "i" else None

    def array(self, datatype: str, shape: tuple[int, ...], size: int) -> np.ndarray | None:
        """Return the array that `json_data.array_of` gives for the list, a copy; None where it may refuse the list."""
        if self.values.size != size or (self.rows and shape != (self.rows, size // self.rows)):
            return None
        array = self._converted(datatype)
        return array if array is None or len(shape) == 1 else array.reshape(shape)

    def _converted(self, datatype: str) -> np.ndarray | None:
        values, dtype = self.values, DATATYPES[datatype]
        if datatype == "FP64":
            return values.astype(dtype)
        if datatype == "FP32":
            try:
                with np.errstate(over="raise"):
                    return values.astype(np.float64, copy=False).astype(dtype)  # an integer is rounded twice
            except FloatingPointError:
                return None
        if dtype.kind not in "iu" or values.dtype.kind != "i":
            return None
        least, most = _RANGES[datatype]
        if datatype != "INT64" and not (least <= values.min() and values.max() <= most):
            return None
        return values.astype(dtype)


def loads(body: bytes, length: int, member: str) -> dict[str, Any] | None:
    """Return the object whose text is the first bytes of a body; None where orjson alone is to read it.

    A tensor of the list `member` has `Numbers` for its "data" where they were read here.
    """
    if length < LEAST_BYTES or not _LOOPS:
        return None
    view, text = memoryview(body)[:length], np.empty(length + PADDING, np.uint8)
    text[:length] = view
    words, found = np.empty(length // 2, np.int64), np.empty((_MOST_LISTS, 5), np.int64)
    floats = words.view(np.float64)
    count = _LOOPS[0](text, words, floats, found)
    if not count:
        return None
    parts: list[memoryview] = []
    lists: list[Numbers] = []
    after = used = 0
    for begin, end, rows, size, whole in found[:count].tolist():
        lists.append(Numbers((words if whole else floats)[used : used + size], rows))
        parts.append(view[after:begin])
        after, used = end, used + size
    parts.append(view[after:])
    try:
        head = orjson.loads(_QUOTED.join(parts))
    except orjson.JSONDecodeError:
        return None
    return head if _put(lists, head, member) else None


def _put(lists: list[Numbers], head: Any, member: str) -> bool:
    """Put lists where they stood, and tell whether each stood where a tensor has its data."""
    tensors = head.get(member) if type(head) is dict else None
    if type(tensors) is not list:
        return False
    count = 0
    for tensor in tensors:
        if type(tensor) is dict and tensor.get("data") == _MARK:
            tensor["data"] = lists[count]
            count += 1
    return count == len(lists)


@cache
def prepare() -> None:
    """Load the compiled loop, and read lists by it from now on; only a process's first call does anything."""
    from headrace.compiled import load  # half a second that nobody waits for who does not ask for it

    load("headrace.open_inference.codec.json_loops")
    from headrace.open_inference.codec.json_loops import read_lists

    _LOOPS.append(read_lists)
