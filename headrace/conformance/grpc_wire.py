"""The gRPC side of a server, asked method by method with messages of the caller's own."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.message import DecodeError

from headrace.conformance.http_wire import Exchange, NoAnswer, shown
from headrace.open_inference.grpc.messages import INFERENCE

SERVICE = "/inference.GRPCInferenceService/"


class Refused(Exception):
    """A call that ended with a status code other than OK; `code` is its name, such as INVALID_ARGUMENT."""

    def __init__(self, code: str, details: str) -> None:
        super().__init__(f"{code} {details[:160]}")
        self.code = code


class GrpcWire:
    """One channel to `host:port`, without TLS. Every call has the same time limit."""

    def __init__(self, address: str, timeout_s: float, exchanges: list[Exchange]) -> None:
        self._channel = grpc.insecure_channel(address)
        self._timeout_s = timeout_s
        self._exchanges = exchanges

    def call(self, method: str, message: Any, answer: str = "") -> Any:
        """Call a method of the inference service; `answer` is its message's name, by default that of the method.

        Raises Refused where the call ends otherwise than OK, NoAnswer where nobody answers.
        """
        kind = INFERENCE[answer or f"{method}Response"]
        raw = self.raw(SERVICE + method, message.SerializeToString())
        try:
            return kind.FromString(raw)
        except DecodeError:
            raise NoAnswer(f"{method} was answered with bytes that are no {method}Response") from None

    def raw(self, path: str, message: bytes) -> bytes:
        """Call a method by its path with bytes, and return bytes."""
        return self._answered(path, message, self._channel.unary_unary(path))

    def streamed(self, path: str, message: bytes) -> bytes:
        """Send one message to a method that streams both ways, and return its first answer."""
        method = self._channel.stream_stream(path)
        return self._answered(path, message, lambda sent, timeout: next(method(iter((sent,)), timeout=timeout), b""))

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def _answered(self, path: str, message: bytes, ask: Any) -> bytes:
        noted = Exchange(f"{path} {len(message)} bytes")
        self._exchanges.append(noted)
        try:
            answer: bytes = ask(message, timeout=self._timeout_s)
        except grpc.RpcError as error:
            code, details = error.code().name, error.details() or ""
            noted.got = f"{code} {shown(details.encode())}"
            if code in ("UNAVAILABLE", "DEADLINE_EXCEEDED") and "failed to connect" in details.lower():
                raise NoAnswer(noted.got) from None
            raise Refused(code, details) from None
        noted.got = f"OK {len(answer)} bytes"
        return answer
