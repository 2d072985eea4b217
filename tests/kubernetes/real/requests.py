"""Requests to a real API server as a user of it, past our own commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient

from tests.kubernetes.kinds import Kind
from tests.kubernetes.real.running import Running
from tests.kubernetes.store import Object

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


class Answer(NamedTuple):
    """A status, the object that came with it, and the warnings in its headers."""

    status: int
    object: Object
    warnings: list[str]

    def taken(self) -> Object:
        """Return the object of a granted request; AssertionError, with the server's words, where it was refused."""
        assert self.status < 300, self.object.get("message", self.object)
        return self.object


class Requests:
    """A user's requests; what the server answers is returned, whatever its status."""

    def __init__(self, to: Running, home: Path, token: str) -> None:
        ca_file = home / "ca.pem"
        ca_file.write_text(to.authority)
        settings = client.Configuration()
        settings.host, settings.ssl_ca_cert = to.url, str(ca_file)
        settings.api_key = {"authorization": f"Bearer {token}"}
        settings.retries = False
        self._client = DynamicClient(client.ApiClient(settings), discoverer=lambda asking, cache: None)

    def send(self, method: str, path: str, body: Any = None, **params: Any) -> Answer:
        """Send one request."""
        try:
            raw = self._client.request(method, path, body=body, serialize=False, _request_timeout=(30, 30), **params)
        except ApiException as refused:
            return Answer(refused.status, _told(refused), _warnings(refused.headers))
        return Answer(raw.status, json.loads(raw.data), _warnings(raw.headers))

    def apply_dry(self, kind: Kind, of: Object, namespace: str = "") -> Answer:
        """Try an object by server-side apply under dry run, fields that its schema does not know refused."""
        where = path_of(kind, namespace, of["metadata"]["name"])
        strict = [("fieldValidation", "Strict")]
        return self.send(
            "patch", where, of, content_type=APPLY, field_manager="headrace", dry_run="All", query_params=strict
        )

    def close(self) -> None:
        """Let go of the connections."""
        self._client.client.close()


def path_of(kind: Kind, namespace: str = "", name: str = "") -> str:
    """Return the address of one object, of all of a namespace, or of all there are."""
    root = f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.api_version}"
    below = f"/namespaces/{namespace}" if kind.namespaced and namespace else ""
    return f"{root}{below}/{kind.plural}" + (f"/{name}" if name else "")


def _told(refused: ApiException) -> Object:
    try:
        return json.loads(refused.body)
    except ValueError:  # what is no resource at all is refused in plain text
        return {"message": refused.body}


def _warnings(headers: Any) -> list[str]:
    return list(headers.getlist("Warning")) if hasattr(headers, "getlist") else []
