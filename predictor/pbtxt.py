"""Text of protocol buffers, as much of it as a model's configuration needs: written, and read back.

A message is what Triton's HTTP server gives as JSON: repeated fields are lists, maps and messages
are dictionaries, names of enumerations are strings. `read` takes what is written here and what
people write by hand for Triton, and refuses all else: what it cannot read, nobody has checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

#: Fields whose values are names of an enumeration, which stand without quotes.
_NAMES = frozenset({"data_type", "kind", "timeout_action"})
_REPEATED = frozenset(
    {
        *("input", "output", "dims", "shape", "versions", "instance_group", "gpus", "preferred_batch_size"),
        *("model_warmup", "gpu_execution_accelerator", "cpu_execution_accelerator"),
    }
)
_MAPS = frozenset({"parameters", "inputs"})
_DEEPEST = 12
_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)|(?P<text>"(?:[^"\\\n]|\\["\\n])*")|(?P<number>-?[0-9]+)|(?P<name>[A-Za-z_]\w*)"""
    r"|(?P<sign>[][{}:,])",
    re.ASCII,
)
Message = dict[str, Any]


def written(message: Mapping[str, Any]) -> str:
    """Return a message as text, its fields in the order they are given.

    >>> print(written({"name": "small", "input": [{"dims": [3]}], "parameters": {"a": {"string_value": "b"}}}), end="")
    name: "small"
    input {
      dims: [ 3 ]
    }
    parameters {
      key: "a"
      value {
        string_value: "b"
      }
    }
    """
    return "".join(line + "\n" for line in _lines(message))


def read(text: str) -> Message:
    """Return the message of a text; ValueError with the line that cannot be read.

    >>> read('dims: [ -1, 3 ] label_filename: "p.txt"')
    {'dims': [-1, 3], 'label_filename': 'p.txt'}
    """
    reader = _Reader(text)
    message = reader.message("", 0)
    reader.take("")
    return message


def _lines(message: Mapping[str, Any]) -> Iterator[str]:
    for key, value in message.items():
        if key in _MAPS:
            for name, item in value.items():
                yield from _block(key, {"key": name, "value": item})
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            for item in value:
                yield from _block(key, item)
        elif isinstance(value, list):
            yield f"{key}: [ {', '.join(_scalar(key, item) for item in value)} ]" if value else f"{key}: [ ]"
        elif isinstance(value, Mapping):
            yield from _block(key, value)
        else:
            yield f"{key}: {_scalar(key, value)}"


def _block(key: str, message: Mapping[str, Any]) -> Iterator[str]:
    yield f"{key} {{"
    yield from (f"  {line}" for line in _lines(message))
    yield "}"


def _scalar(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) or key in _NAMES:
        return str(value)
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


class _Reader:
    """Takes a text token by token."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str, int]] = []
        at, line = 0, 1
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise ValueError(f"line {line}: found {text[at]!r}, needs a field")
            if found.lastgroup != "space":
                self._tokens.append((str(found.lastgroup), found[0], line))
            line += found[0].count("\n")
            at = found.end()
        self._tokens.append(("end", "", line))
        self._tokens.reverse()

    def message(self, end: str, depth: int) -> Message:
        if depth > _DEEPEST:
            raise ValueError(f"line {self._tokens[-1][2]}: messages lie more than {_DEEPEST} deep")
        fields: Message = {}
        while self._tokens[-1][1] != end:
            key = self.take("", "name")
            self._add(fields, key, depth)
        return fields

    def take(self, wanted: str, kind: str = "") -> str:
        found, value, line = self._tokens[-1]
        if found != kind if kind else value != wanted:
            raise ValueError(f"line {line}: found {value or 'the end'!r}, needs {kind or wanted or 'the end'!r}")
        if found != "end":
            self._tokens.pop()
        return value

    def _add(self, fields: Message, key: str, depth: int) -> None:
        line = self._tokens[-1][2]
        values = list(self._values(depth))
        if key in _MAPS:
            for entry in values:
                if not isinstance(entry, dict) or set(entry) != {"key", "value"} or not isinstance(entry["key"], str):
                    raise ValueError(f"line {line}: {key} is no map of key and value")
                if entry["key"] in fields.setdefault(key, {}):
                    raise ValueError(f"line {line}: {key} has {entry['key']!r} twice")
                fields[key][entry["key"]] = entry["value"]
        elif key in _REPEATED:
            fields.setdefault(key, []).extend(values)
        elif key in fields or len(values) != 1:
            raise ValueError(f"line {line}: {key} must stand once")
        else:
            fields[key] = values[0]

    def _values(self, depth: int) -> Iterator[Any]:
        if self._tokens[-1][1] == ":":
            self.take(":")
        if self._tokens[-1][1] != "[":
            yield self._value(depth)
            return
        self.take("[")
        while self._tokens[-1][1] != "]":
            yield self._value(depth)
            if self._tokens[-1][1] != "]":
                self.take(",")
        self.take("]")

    def _value(self, depth: int) -> Any:
        kind, value, line = self._tokens[-1]
        if value == "{" and kind == "sign":
            self.take("{")
            message = self.message("}", depth + 1)
            self.take("}")
            return message
        if kind not in ("text", "number", "name"):
            raise ValueError(f"line {line}: found {value or 'the end'!r}, needs a value")
        self._tokens.pop()
        if kind == "text":
            return re.sub(r"\\(.)", lambda escaped: "\n" if escaped[1] == "n" else escaped[1], value[1:-1])
        return int(value) if kind == "number" else {"true": True, "false": False}.get(value, value)
