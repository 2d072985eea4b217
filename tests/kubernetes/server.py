"""The server on the loopback, in a thread of its own, and the kubeconfig that names it."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web

from tests.hopsworks.certificates import Authority
from tests.kubernetes.controllers import Behaviour, Controllers
from tests.kubernetes.kinds import KINDS
from tests.kubernetes.kubeconfig import SPACE, write_kubeconfig
from tests.kubernetes.routes import TOKEN, Api, Rules
from tests.kubernetes.store import Object, Store, kind_named

_HERE = "127.0.0.1"
T = TypeVar("T")


class StandIn:
    """A running server. What a test does to its objects is done on its loop, between two requests."""

    def __init__(self, home: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.home, self._loop = home, loop
        self.port = 0
        self.rules = Rules()
        self.kinds = list(KINDS)
        self.store = Store()
        self.controllers = Controllers(self.store, self.kinds)
        self.api = Api(self.store, self.kinds, self.rules)
        self.authority = Authority()
        for name in ("default", SPACE):
            self.store.update(kind_named("Namespace"), ("namespaces", "", name), {"metadata": {}}, "setup")

    @classmethod
    @contextmanager
    def started(cls, home: Path) -> Iterator[StandIn]:
        """Run a server until the block ends; its certificate is signed by an authority of its own."""
        loop = asyncio.new_event_loop()
        stand_in = cls(home, loop)
        ready = threading.Event()
        thread = threading.Thread(target=loop.run_until_complete, args=(stand_in._serve(ready),), daemon=True)
        thread.start()
        assert ready.wait(10)
        try:
            yield stand_in
        finally:
            stand_in.on_loop(stand_in.api.end)
            thread.join(10)

    async def _serve(self, ready: threading.Event) -> None:
        _, server_file = self.authority.write(self.home)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(server_file)
        runner = web.ServerRunner(web.Server(self.api.answer, access_log=None), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, _HERE, 0, ssl_context=tls)
        await site.start()
        self.port = runner.addresses[0][1]
        ready.set()
        await self.api.ended.wait()
        await runner.cleanup()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"https://{_HERE}:{self.port}"

    def kubeconfig(self, *, token: str = TOKEN, url: str | None = None, authority: str | None = None) -> Path:
        """Write a kubeconfig that leads here and return its path."""
        return write_kubeconfig(self.home / "kubeconfig", url or self.url, authority or self.authority.pem, token)

    def on_loop(self, do: Callable[[], T]) -> T:
        """Do something on the server's loop and return what it gave."""

        async def done() -> T:
            return do()

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result(10)

    def get(self, kind: str, name: str, namespace: str = SPACE) -> Object | None:
        """Return a copy of an object."""
        found = kind_named(kind)
        space = namespace if found.namespaced else ""
        return self.on_loop(lambda: deepcopy(self.store.get(found.plural, name, space)))

    def names(self, kind: str, namespace: str = SPACE) -> list[str]:
        """Return the names of a kind's objects."""
        found = kind_named(kind)
        return self.on_loop(lambda: [each["metadata"]["name"] for each in self.store.of(found.plural, namespace)])

    def edit(self, kind: str, name: str, change: Callable[[Object], Any], manager: str = "kubectl-edit") -> None:
        """Change an object by another manager's hand."""
        found = kind_named(kind)
        key = (found.plural, SPACE if found.namespaced else "", name)

        def edited() -> None:
            made = deepcopy(self.store.objects[key])
            change(made)
            self.store.update(found, key, made, manager)

        self.on_loop(edited)

    def behave(self, behaviour: Behaviour) -> None:
        """Say what becomes of the objects that are written from now on."""

        def said() -> None:
            self.controllers.behaviour = behaviour

        self.on_loop(said)
