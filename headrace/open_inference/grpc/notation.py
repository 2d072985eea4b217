"""A short notation for protobuf files, and their messages in pools of their own.

Every line is a message: its fields as `type name = number` without the sign, `*` for repeated, `map` for a map
from string, `|` for a member of the message's one oneof. kserve and tritonclient each register files of
the same names in the process-wide pool, which holds one of them only; a private pool lets either live
beside this package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_SCALARS = {
    "double": 1,
    "float": 2,
    "int64": 3,
    "uint64": 4,
    "int32": 5,
    "bool": 8,
    "string": 9,
    "bytes": 12,
    "uint32": 13,
}
_MESSAGE, _ENUM = 11, 14


@dataclass(frozen=True, slots=True)
class Method:
    """A call of a service: the names of its messages, and which of them come as a stream."""

    name: str
    request: str
    response: str
    streams: tuple[bool, bool] = (False, False)


@dataclass(frozen=True, slots=True)
class File:
    """One protobuf file: its message classes by name, and what reflection tells of it."""

    package: str
    service: str
    messages: Mapping[str, Any]
    proto: Any

    @property
    def service_name(self) -> str:
        """The service's full name."""
        return f"{self.package}.{self.service}"

    def holds(self, symbol: str) -> bool:
        """Tell whether a full name is that of this file's service, of one of its calls or of a message in it."""
        service, (declared,) = self.service_name, self.proto.service
        known = {service, *(f"{service}.{method.name}" for method in declared.method)}
        return symbol in known or symbol in {f"{self.package}.{name}" for name in self.messages}


def declared(
    package: str, service: str, methods: Sequence[Method], text: str, enums: Mapping[str, Sequence[str]] | None = None
) -> File:
    """Return the file that the notation describes, with one service; an enum's values are numbered from 0."""
    enums = enums or {}
    file = descriptor_pb2.FileDescriptorProto(name=f"headrace/{package}.proto", package=package, syntax="proto3")
    for name, values in enums.items():
        enum = file.enum_type.add(name=name)
        for number, value in enumerate(values):
            enum.value.add(name=value, number=number)
    names = []
    for line in text.strip().splitlines():
        name, _, fields = line.partition(":")
        names.append(name)
        message = file.message_type.add(name=name)
        for said in filter(None, (field.strip() for field in fields.split(","))):
            _add_field(package, message, said, enums)
    calls = file.service.add(name=service)
    for method in methods:
        asks, answers = method.streams
        calls.method.add(
            name=method.name,
            input_type=f".{package}.{method.request}",
            output_type=f".{package}.{method.response}",
            client_streaming=asks,
            server_streaming=answers,
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    classes = {n: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{n}")) for n in names}
    return File(package, service, classes, file)


def _add_field(package: str, message: Any, said: str, enums: Mapping[str, Sequence[str]]) -> None:
    *kinds, name, number = said.lstrip("*|").split()
    field = message.field.add(name=name, number=int(number), label=3 if said[0] == "*" or kinds[0] == "map" else 1)
    if kinds[0] == "map":
        entry = message.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, label=1, type=_SCALARS["string"])
        entry.field.add(name="value", number=2, label=1, type=_MESSAGE, type_name=f".{package}.{kinds[1]}")
        field.type, field.type_name = _MESSAGE, f".{package}.{message.name}.{entry.name}"
    elif kinds[0] in _SCALARS:
        field.type = _SCALARS[kinds[0]]
    else:
        field.type, field.type_name = _ENUM if kinds[0] in enums else _MESSAGE, f".{package}.{kinds[0]}"
    if said[0] == "|":
        if not message.oneof_decl:
            message.oneof_decl.add(name="parameter_choice")
        field.oneof_index = 0
