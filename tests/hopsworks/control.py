"""The control plane: an API key, then the route, and nothing else is answered."""

from __future__ import annotations

from collections import deque

from tests.hopsworks.account import ACCOUNT
from tests.hopsworks.files import FILES
from tests.hopsworks.functions import FUNCTIONS
from tests.hopsworks.groups import GROUPS
from tests.hopsworks.metadata import PROJECT_ID, STORE_ID, Metadata
from tests.hopsworks.models import MODELS
from tests.hopsworks.offline_routes import OFFLINE
from tests.hopsworks.routes import ROOT, RefusedError, Routes, as_json
from tests.hopsworks.statements import STATEMENTS
from tests.hopsworks.views import VIEWS
from tests.hopsworks.wire import Request, Response

ROUTES = Routes(OFFLINE, ACCOUNT, GROUPS, VIEWS, STATEMENTS, FUNCTIONS, MODELS, FILES)


class ControlPlane:
    """The server's answers; what nothing here knows is 404 and kept in `unknown`."""

    def __init__(self, state: Metadata) -> None:
        self._state = state
        self.requests: deque[tuple[str, str]] = deque(maxlen=100_000)
        self.unknown: list[tuple[str, str]] = []

    def answer(self, request: Request) -> Response:
        """Answer one request."""
        self.requests.append((request.method, request.path))
        try:
            return self._answer(request)
        except RefusedError as refused:
            return as_json(refused.body, refused.status)

    def _answer(self, request: Request) -> Response:
        if request.headers.get(b"authorization", b"").decode("latin-1") != f"ApiKey {self._state.api_key}":
            raise RefusedError(401, 320004, "Api key is invalid", "No valid API key in the request.")
        path = request.path
        found = ROUTES.find(request.method, path.removeprefix(ROOT)) if path.startswith(ROOT + "/") else None
        if found is None:
            self.unknown.append((request.method, path))
            raise RefusedError(
                404, 120000, "HTTP 404 Not Found", f"{request.method} {path} is no route of this cluster"
            )
        function, parts = found
        for name, known in (("project", PROJECT_ID), ("store", STORE_ID), ("registry", PROJECT_ID)):
            if parts.get(name, str(known)) != str(known):
                raise RefusedError(403, 150001 if name != "store" else 270091, f"No access to {name} {parts[name]}.")
        told = function(self._state, request, **parts)
        return told if isinstance(told, Response) else as_json(told)
