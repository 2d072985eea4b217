"""Which function answers which request of the control plane, and how it refuses."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson

from tests.hopsworks.wire import Request, Response

ROOT = "/hopsworks-api/api"
PROJECT = "/project/{project}"
STORE = PROJECT + "/featurestores/{store}"


class RefusedError(Exception):
    """A request the cluster refuses: a status, Hopsworks' own code and a text."""

    def __init__(self, status: int, code: int, message: str, said: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.body = {"errorCode": code, "errorMsg": message, "usrMsg": said}


class Routes:
    """A table of methods and paths; `{name}` in a path takes one part of it, `{name*}` all that is left."""

    def __init__(self, *others: Routes) -> None:
        self._all: list[tuple[str, re.Pattern[str], Callable[..., Any]]] = [
            one for other in others for one in other._all
        ]

    def on(self, method: str, path: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Answer a method and path with the function below."""
        pattern = re.sub(r"\{(\w+)\*\}", r"(?P<\1>.+)", path)
        compiled = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern))

        def keep(function: Callable[..., Any]) -> Callable[..., Any]:
            self._all.append((method, compiled, function))
            return function

        return keep

    def find(self, method: str, path: str) -> tuple[Callable[..., Any], dict[str, str]] | None:
        """Return the function for a request and the parts of its path, or None."""
        for known, pattern, function in self._all:
            if known == method and (match := pattern.fullmatch(path)):
                return function, match.groupdict()
        return None


def body_of(request: Request, **needed: type | tuple[type, ...]) -> dict[str, Any]:
    """Return the request's JSON object, which has every field needed, of its type; refuses it otherwise."""
    try:
        told = orjson.loads(request.body)
    except orjson.JSONDecodeError as wrong:
        raise RefusedError(400, 120001, "The request body is not JSON.") from wrong
    if not isinstance(told, dict):
        raise RefusedError(400, 120001, f"The request body needs an object, was {type(told).__name__}.")
    for name, kind in needed.items():
        if not isinstance(told.get(name), kind):
            raise RefusedError(
                400, 120001, f"Field {name} has a wrong type or is missing: {type(told.get(name)).__name__}."
            )
    return told


def as_json(told: Any, status: int = 200) -> Response:
    """Return an answer of JSON; nothing to tell is an empty body."""
    return Response(status, b"" if told is None else orjson.dumps(told))


def number(text: str) -> int:
    """Return a number of a path or query; refuses another text."""
    try:
        return int(text)
    except ValueError as wrong:
        raise RefusedError(400, 120001, f"Needs a number, was {text!r}.") from wrong
