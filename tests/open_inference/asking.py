"""Asking an ASGI application without a network."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass
class Said:
    """What the application answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def error(self) -> str:
        """The message of a refusal; a refusal says nothing but that."""
        assert list(self.json) == ["error"]
        return self.json["error"]


async def asked(
    app: Any, method: str, path: str, headers: dict[str, str], *chunks: bytes | None, raw_path: str = ""
) -> Said | None:
    """Ask with the chunks of a body; a None among them is the caller hanging up."""
    sent: list[dict[str, Any]] = []
    coming = iter(
        [
            {"type": "http.disconnect"}
            if chunk is None
            else {"type": "http.request", "body": chunk, "more_body": at + 1 < len(chunks)}
            for at, chunk in enumerate(chunks or (b"",))
        ]
    )

    async def receive() -> dict[str, Any]:
        return next(coming)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "raw_path": raw_path.encode(), "headers": raw}
    await app(scope, receive, send)
    if not sent:
        return None
    start, body = sent
    return Said(start["status"], {k.decode(): v.decode() for k, v in start["headers"]}, body["body"])


def ask(app: Any, method: str, path: str, content: Any = b"", raw_path: str = "", **headers: str) -> Said:
    """Ask once; content that is no bytes goes as JSON. Header names have `_` for `-`."""
    body = content if isinstance(content, bytes) else orjson.dumps(content)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    said = asyncio.run(asked(app, method, path, named, body, raw_path=raw_path))
    assert said is not None
    return said
