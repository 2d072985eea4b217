"""Inputs that fuzzing begins with, and what it once found: small, kept, and tried by every run of the tests."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

from headrace.open_inference.grpc.messages import INFERENCE

CORPUS = Path(__file__).with_name("corpus")


def rest(content: Any, raw: bytes | None = None) -> bytes:
    """Return a body in the form of the target `rest`."""
    head = content if isinstance(content, bytes) else json.dumps(content).encode()
    return (b"\xff\xff" if raw is None else len(head).to_bytes(2, "big")) + head + (raw or b"")


def tensor(datatype: str, data: list[Any], **more: Any) -> dict[str, Any]:
    """Return an input in JSON."""
    return {"name": "x", "shape": [len(data)], "datatype": datatype, "data": data} | more


def binary(datatype: str, size: int, count: int = 1) -> dict[str, Any]:
    """Return an input that is binary data."""
    return {"name": "x", "shape": [count], "datatype": datatype, "parameters": {"binary_data_size": size}}


def message(**members: Any) -> bytes:
    """Return a ModelInferRequest."""
    return INFERENCE["ModelInferRequest"](model_name="m", **members).SerializeToString(deterministic=True)


def begun() -> dict[str, list[bytes]]:
    """Return what each target begins with."""
    told = {"id": "1", "parameters": {"binary_data_output": True, "a": 1.5}}
    outputs = [{"name": "x", "parameters": {"binary_data": False}}]
    named = {"name": "x", "datatype": "FP32", "shape": [1]}
    answer = {"model_name": "m", "model_version": "1", "outputs": [tensor("FP64", [1.5])]}
    return {
        "rest": [
            rest({"inputs": [tensor("FP32", [1, 2.5, None])], "outputs": outputs, **told}),
            rest({"inputs": [tensor("BYTES", ["a", "\u00e9"]), tensor("BOOL", [True], name="y")]}),
            rest({"inputs": [tensor("INT64", [[1], [2]], shape=[2, 1])]}),
            rest({"inputs": [binary("FP16", 4, 2)]}, b"\0<\0<"),
            rest({"inputs": [binary("BYTES", 6)]}, b"\2\0\0\0ab"),
            rest({"inputs": [tensor("UINT64", [2**64 - 1]), binary("INT8", 1) | {"name": "y"}]}, b"\1"),
        ],
        "answer": [rest(answer), rest({"model_name": "m", "outputs": [binary("INT32", 4)]}, b"\1\0\0\0")],
        "grpc": [
            message(inputs=[named], raw_input_contents=[b"\0\0\0\0"], id="1"),
            message(inputs=[{**named, "contents": {"fp32_contents": [1.0]}}], outputs=[{"name": "x"}]),
            message(inputs=[{**named, "datatype": "BYTES", "contents": {"bytes_contents": [b"a"]}}]),
            message(inputs=[named], parameters={"a": {"uint64_param": 2**63}, "b": {"double_param": 0.5}}),
        ],
        "raw": [b"\x0a\x03" + bytes(12), b"\x00\x04" + bytes(8), b"\x09\x01\0<"],
        "compressed": [
            b"\x00" + gzip.compress(b"{}", mtime=0),
            b"\x01" + zlib.compress(b"{}" * 999),
            b"\x02{}",
            b"\x03x",
        ],
    }


def kept(target: str) -> dict[str, bytes]:
    """Return the files of a target's corpus by name."""
    return {path.name: path.read_bytes() for path in sorted((CORPUS / target).iterdir())}


if __name__ == "__main__":
    for name, inputs in begun().items():
        (CORPUS / name).mkdir(parents=True, exist_ok=True)
        for at, data in enumerate(inputs):
            (CORPUS / name / f"begun-{at}").write_bytes(data)
