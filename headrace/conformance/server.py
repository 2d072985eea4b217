"""The server that is judged: what it says of itself, requests it answers, and the answer it gave to begin with.

A model is asked with a request made from its metadata, or with the one that was given. What it answers first is what it
must go on answering; where it does not answer the same request twice alike, values are not compared.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.conformance.answers import Answer, answer_of, differing, object_of
from headrace.conformance.http_wire import Exchange, Headers, Said, Wire
from headrace.conformance.judging import Finding, NotJudged
from headrace.conformance.sampling import BINARY_ONLY, Sample, Tensor, made, read

if TYPE_CHECKING:
    from headrace.conformance.grpc_wire import GrpcWire

LENGTH = "Inference-Header-Content-Length"
JSON: Headers = (("Content-Type", "application/json"),)


class Server:
    """One model of one server, asked over HTTP and, where an address is given, over gRPC.

    `url` is the server's root; without a model's name the first that the server lists is asked. `request` is a JSON
    file with a request the model answers. Raises ValueError where these are none, NoAnswer where nobody listens.
    """

    def __init__(
        self, url: str, *, model: str = "", grpc: str = "", request: Path | None = None, timeout_s: float = 10.0
    ) -> None:
        if "/" in grpc:
            raise ValueError(f"{grpc!r} is no address for gRPC, needs HOST:PORT")
        self.wire = Wire(url.rstrip("/"), timeout_s)
        self.model = model or self._first_model()
        self._given = read(request) if request else None
        if model and all(self.wire.ask("GET", self.path + route).status == 404 for route in ("", "/ready")):
            raise ValueError(f"the server has no model {model!r}, needs the name of one that it serves")
        self._grpc_address = grpc
        self._timeout_s = timeout_s
        self.first: Answer | None = None
        self.sample: Sample = ()
        self.repeats = True
        self.answered_grpc = False
        self.why_unasked = ""
        self.why_unasked = self._learn()

    @cached_property
    def grpc(self) -> GrpcWire:
        """The gRPC side; NotJudged where no address was given."""
        if not self._grpc_address:
            raise NotJudged("no gRPC address was given")
        from headrace.conformance.grpc_wire import GrpcWire

        return GrpcWire(self._grpc_address, self._timeout_s, self.wire.exchanges)

    @property
    def exchanges(self) -> list[Exchange]:
        """Everything that was sent, and what came back."""
        return self.wire.exchanges

    @property
    def path(self) -> str:
        """The path of the model."""
        return f"/v2/models/{self.model}"

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """The model's metadata; Finding where it is none."""
        return object_of(self.get(self.path))

    @cached_property
    def extensions(self) -> list[Any]:
        """The extensions that the server says it has."""
        found = object_of(self.get("/v2")).get("extensions")
        return found if isinstance(found, list) else []

    @property
    def versions(self) -> list[str]:
        """The versions of the model; NotJudged where it names none."""
        found = self.metadata.get("versions")
        if not isinstance(found, list) or not found:
            raise NotJudged("the model's metadata names no versions")
        return [str(version) for version in found]

    def get(self, path: str) -> Said:
        """Ask for what lies at a path."""
        return self.wire.ask("GET", path)

    def content(self, *, nested: bool = False, **more: Any) -> dict[str, Any]:
        """Return a fresh valid request in JSON, with more members; NotJudged where there is none."""
        if self.why_unasked:
            raise NotJudged(self.why_unasked)
        if not self._in_json:
            raise NotJudged("the model has an input or output that only binary data can carry")
        return self._content(self.sample, nested) | more

    def post(self, content: Any, headers: Headers = JSON, path: str = "") -> Said:
        """Ask for an inference; content that is no bytes goes as JSON."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.wire.ask("POST", path or f"{self.path}/infer", body, headers)

    def binary(self, *in_json: str, head: dict[str, Any] | None = None) -> tuple[bytes, bytes]:
        """Return the JSON part and the raw part of a valid request; inputs named in `in_json` stay in JSON.

        Raises NotJudged where there is no valid request.
        """
        if self.why_unasked:
            raise NotJudged(self.why_unasked)
        inputs, raw = [], b""
        for tensor in self.sample:
            if tensor.name in in_json:
                inputs.append(tensor.in_json())
            else:
                data = tensor.raw()
                inputs.append(tensor.described() | {"parameters": {"binary_data_size": len(data)}})
                raw += data
        told = {} if self._in_json else {"parameters": {"binary_data_output": True}}
        content = self._parameters | told | (head or {}) | {"inputs": inputs}
        return json.dumps(content).encode(), raw

    def post_binary(self, head: bytes, raw: bytes, length: str | None = None) -> Said:
        """Ask with a JSON part and raw bytes; `length` is told in place of the JSON part's own."""
        headers = (
            ("Content-Type", "application/octet-stream"),
            (LENGTH, str(len(head)) if length is None else length),
        )
        return self.post(head + raw, headers)

    def same(self, outputs: Answer | dict[str, Tensor]) -> None:
        """Demand the outputs that the server gave to begin with."""
        now = outputs.outputs if isinstance(outputs, Answer) else outputs
        if self.first is None:
            raise NotJudged(self.why_unasked)
        was = self.first.outputs
        if not self.repeats:
            was, now = _without_values(was), _without_values(now)
        said = differing(was, now)
        if said:
            raise Finding(f"{said}: the answer differs from that to the same request in plain form")

    def ask_plainly(self) -> Said:
        """Ask with the valid request in its plainest form: JSON, or binary data where JSON cannot carry it."""
        if self._in_json:
            return self.post(self._content(self.sample))
        return self.post_binary(*self.binary())

    @property
    def _in_json(self) -> bool:
        outputs = self._known.get("outputs")
        declared = [each.get("datatype") for each in outputs or () if isinstance(each, dict)]
        return not any(kind in BINARY_ONLY for kind in (*declared, *(tensor.datatype for tensor in self.sample)))

    @cached_property
    def _known(self) -> dict[str, Any]:
        try:
            return self.metadata
        except Finding:
            return {}

    @property
    def _parameters(self) -> dict[str, Any]:
        return {"parameters": self._given[1]} if self._given and self._given[1] else {}

    def _content(self, sample: Sample, nested: bool = False) -> dict[str, Any]:
        return {**self._parameters, "inputs": [tensor.in_json(nested) for tensor in sample]}

    def _first_model(self) -> str:
        for method, path in (("GET", "/v2/models"), ("POST", "/v2/repository/index")):
            said = self.wire.ask(method, path)
            try:
                found = json.loads(said.body) if said.status == 200 else None
            except ValueError:
                continue
            models = found.get("models") if isinstance(found, dict) else found
            if isinstance(models, list) and models:
                name = models[0].get("name") if isinstance(models[0], dict) else models[0]
                return str(name)
        raise ValueError("the server lists no models, needs the name of one by --model")

    def _learn(self) -> str:
        try:
            candidates = self._candidates()
        except (Finding, ValueError) as none:
            return f"{none}: give a request the model answers by --request"
        why = ""
        for sample in candidates:
            self.sample = sample
            try:
                self.first, again = answer_of(self.ask_plainly()), answer_of(self.ask_plainly())
            except Finding as wrong:
                why = why or f"a plain request is not answered as such: {wrong}"
                continue
            self.repeats = not differing(self.first.outputs, again.outputs)
            return ""
        return f"{why}: give a request the model answers by --request"

    def _candidates(self) -> list[Sample]:
        if self._given:
            return [self._given[0]]
        return [made(self.metadata.get("inputs"), rows) for rows in (2, 1)]


def _without_values(outputs: Any) -> dict[str, Tensor]:
    return {name: Tensor(name, tensor.datatype, tensor.shape, ()) for name, tensor in outputs.items()}
