"""Refusals over gRPC, as Triton's generated stubs see them: `python judge_refusals.py HOST:PORT`.

Every check is an assertion; the exit code is the verdict.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.end_to_end.payments import asked

INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
EXHAUSTED, LATE = grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED
PATIENT_S, SECRET = 20.0, 4711.125
Change = Callable[[Any], object]


def request(columns: dict[str, np.ndarray]) -> Any:
    """Return a raw request."""
    message = service_pb2.ModelInferRequest(model_name="fraud", id="r9")
    for name, values in columns.items():
        kind = {"i": "INT64", "f": "FP64"}[values.dtype.kind]
        message.inputs.add(name=name, datatype=kind, shape=[values.size])
        message.raw_input_contents.append(values.tobytes())
    return message


def good(rows: int = 1) -> dict[str, np.ndarray]:
    """Return good rows with an amount that no message may repeat."""
    columns = {name: values[:-1].copy() for name, values in asked(rows + 1).items()}
    columns["amount"][0] = SECRET
    return columns


def set_input(message: Any, which: str, /, **fields: Any) -> None:
    """Change an input of a request."""
    (tensor,) = (tensor for tensor in message.inputs if tensor.name == which)
    for field, value in fields.items():
        if field == "shape":
            tensor.shape[:] = value
        else:
            setattr(tensor, field, value)


def with_values(name: str, values: np.ndarray) -> Change:
    """Return a change of an input's values."""

    def change(message: Any) -> None:
        at = [tensor.name for tensor in message.inputs].index(name)
        message.raw_input_contents[at] = values.tobytes()

    return change


REFUSALS: list[tuple[Change, grpc.StatusCode, str]] = [
    (lambda m: set_input(m, "amount", name="ammount"), INVALID, "did you mean 'amount'?"),
    (lambda m: set_input(m, "cc_num", datatype="FP64"), INVALID, "input 'cc_num' has datatype FP64, needs"),
    (lambda m: set_input(m, "amount", datatype="INT32"), INVALID, "tensor 'amount' has 8 bytes, needs 4"),
    (lambda m: set_input(m, "amount", shape=[2]), INVALID, "tensor 'amount' has 8 bytes, needs 16"),
    (lambda m: set_input(m, "amount", shape=[1, 1, 1]), INVALID, "has shape [1, 1, 1], needs [n] or [n, 1]"),
    (lambda m: set_input(m, "amount", datatype="FLOAT"), INVALID, "tensor 'amount' has datatype 'FLOAT'"),
    (lambda m: m.raw_input_contents.pop(), INVALID, "raw_input_contents, needs one for each"),
    (with_values("amount", np.array([np.nan])), INVALID, "amount is missing, infinite or out of range"),
    (with_values("amount", np.array([np.inf])), INVALID, "amount is missing, infinite or out of range"),
    (with_values("latitude", np.array([91.0])), INVALID, "latitude is missing, infinite or out of range"),
    (lambda m: m.outputs.add(name="score"), INVALID, "output 'score' is unknown, needs one of fraud_prob"),
    (lambda m: setattr(m, "model_name", "frod"), NOT_FOUND, "model 'frod' is unknown, needs one of fraud"),
    (lambda m: setattr(m, "model_version", "9"), NOT_FOUND, "model 'fraud' has no version '9'"),
    (lambda m: m.ClearField("inputs"), INVALID, "the request has no inputs"),
]


def refused(stub: Any, message: Any, code: grpc.StatusCode, reason: str, timeout: float = PATIENT_S) -> None:
    """Ask, and expect a refusal that tells no value, path or stack."""
    with pytest.raises(grpc.RpcError) as error:
        stub.ModelInfer(message, timeout=timeout)
    said = error.value.details()
    assert (error.value.code(), reason in said) == (code, True), (error.value.code(), said)
    for secret in (str(SECRET), str(asked(2)["cc_num"][0]), "Traceback", ".py"):
        assert secret not in said


def main(address: str) -> None:
    """Judge."""
    with grpc.insecure_channel(address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for change, code, reason in REFUSALS:
            message = request(good())
            change(message)
            refused(stub, message, code, reason)
            assert stub.ModelInfer(request(good()), timeout=PATIENT_S).id == "r9"
        absent = {name: values for name, values in good().items() if name != "amount"}
        refused(stub, request(absent), INVALID, "input 'amount' is missing, got cc_num")
        empty = {name: values[:0] for name, values in good().items()}
        refused(stub, request(empty), INVALID, "the request has 0 rows, needs at least 1")
        many = {name: np.repeat(values, 100_000) for name, values in good().items()}
        refused(stub, request(many), EXHAUSTED, "has 100000 rows, needs at most 10000")
        refused(stub, request({"amount": np.zeros(3 << 20)}), EXHAUSTED, "")  # 24 MiB, refused before it is read
        refused(stub, request(good()), LATE, "", timeout=0.00001)
        spoiled = good(3)
        spoiled["amount"][1] = np.nan
        message = request(spoiled)
        for name in ("fraud_probability", "row_status"):
            message.outputs.add(name=name)
        answer = stub.ModelInfer(message, timeout=PATIENT_S)
        assert answer.parameters["headrace_degraded_rows"].int64_param == 1
        assert np.isfinite(np.frombuffer(answer.raw_output_contents[0], np.float32)).all()
        assert b"amount invalid" in answer.raw_output_contents[1]
        assert stub.ServerReady(service_pb2.ServerReadyRequest()).ready


if __name__ == "__main__":
    main(*sys.argv[1:])
