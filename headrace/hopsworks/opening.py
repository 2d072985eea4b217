"""The online store in a Hopsworks cluster by its URL: how a transformer opens it.

`hopsworks://` is read from RonDB's REST server by our own client, `hopsworks-sdk://` by the SDK
(`hopsworks-sdk://?client=sql` through its SQL client). The cluster, the project and the key are those of the
`HOPSWORKS_*` variables. What stands for the REST server's address (`hopsworks://10.0.0.7:4406`) is used in
place of what the cluster says; `?tls=false` asks it in plain HTTP.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

from headrace.application import Application
from headrace.hopsworks.declared import Declared, NotDeclarable
from headrace.hopsworks.sdk_store import SdkStore
from headrace.hopsworks.serving import address, found_view, tiles_view
from headrace.hopsworks.session import HopsworksSettings, Session, connect
from headrace.hopsworks.session_faults import HopsworksError
from headrace.stores.late import LateStore
from headrace.stores.online import StoreUnavailable
from headrace.stores.rondb.client import RonDBClient
from headrace.stores.rondb.errors import AccessRefused
from headrace.stores.rondb.store import RonDBStore

READERS = ("hopsworks", "hopsworks-sdk")
_OPTIONS = {"tls": ("true", "false"), "client": ("rest", "sql")}


@dataclass(frozen=True, slots=True)
class StoreURL:
    """A store in a cluster: which reader, and where its REST server is if not where the cluster says."""

    reader: str
    host: str = ""
    port: int = 0
    tls: bool = True
    client: str = "rest"

    @classmethod
    def of(cls, url: str) -> StoreURL:
        """Read a URL; ValueError for one that is no store in a cluster.

        >>> StoreURL.of("hopsworks://10.0.0.7:4406?tls=false")
        StoreURL(reader='hopsworks', host='10.0.0.7', port=4406, tls=False, client='rest')
        """
        parts = urlsplit(url)
        if parts.scheme not in READERS or parts.path.strip("/") or parts.username or parts.fragment:
            raise ValueError(
                f"the store is {parts.scheme}://{parts.hostname or ''}{parts.path}, needs one of "
                f"{', '.join(f'{reader}://' for reader in READERS)}, with at most the REST server's host:port after it"
            )
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        for name, value in options.items():
            foreign = name == "client" and parts.scheme == READERS[0]
            if foreign or value not in _OPTIONS.get(name, ()):
                raise ValueError(
                    f"the store's URL has {name}={value}, needs tls=true or false, for the SDK also client=rest or sql"
                )
        tls, client = options.get("tls", "true") == "true", options.get("client", "rest")
        return cls(parts.scheme, parts.hostname or "", _port(parts), tls, client)


def _port(parts: SplitResult) -> int:
    try:
        return parts.port or 0
    except ValueError:
        raise ValueError("the store's URL has a port that is none, needs 1 to 65535") from None


def open_hopsworks(url: str, app: Application, environment: Mapping[str, str]) -> LateStore:
    """Return the store that a URL names; it is opened when its readiness is asked for.

    Raises ValueError where the URL, the variables or the application cannot be used.
    """
    at = StoreURL.of(url)
    try:
        declared = Declared.of(app)
        HopsworksSettings.of(environment)
    except (NotDeclarable, HopsworksError) as unfit:
        raise ValueError(str(unfit)) from unfit

    def opening() -> Any:
        try:
            return opened(at, declared, environment)
        except HopsworksError as failed:
            raise StoreUnavailable(str(failed)) from failed

    return LateStore(opening, f"view {declared.tiles_view.name} of Hopsworks")


def opened(at: StoreURL, declared: Declared, environment: Mapping[str, str]) -> RonDBStore | SdkStore:
    """Log in, read what the reader must know, and return the reader; raises HopsworksError.

    The session of a reader of RonDB is closed again; the SDK's own reader keeps it.
    """
    reader = _opened(at, declared, environment)
    # The SDK stays loaded: what it consists of is not looked through again, which would hold a request up for long.
    gc.collect()
    gc.freeze()
    return reader


def _opened(at: StoreURL, declared: Declared, environment: Mapping[str, str]) -> RonDBStore | SdkStore:
    session = connect(HopsworksSettings.of(environment))
    try:
        if at.reader == "hopsworks":
            rondb = rondb_of(session, at, declared, _key(environment))
            session.close()
            return rondb
        found = found_view(session, declared)
        view = tiles_view(found, session.feature_store.name, declared, of_vectors=True)
        _init(session, found, at)
        return SdkStore(found, view, client="sql" if at.client == "sql" else "rest", closing=session.close)
    except BaseException:
        session.close()
        raise


def rondb_of(session: Session, at: StoreURL, declared: Declared, key: Callable[[], str]) -> RonDBStore:
    """Return our own reader of a session's cluster, which outlives the session; raises HopsworksError."""
    view = tiles_view(found_view(session, declared), session.feature_store.name, declared)
    return RonDBStore(view, RonDBClient(address(session, at.host, at.port, tls=at.tls), key))


def _init(session: Session, feature_view: Any, at: StoreURL) -> None:
    sql = at.client == "sql"
    rest: dict[str, Any] = {"use_ssl": at.tls}
    rest |= {"host": at.host} if at.host else {}
    rest |= {"port": at.port} if at.port else {}
    with session.asking("prepare reads of the feature view from RonDB"):
        feature_view.init_serving(
            1,
            init_sql_client=sql,
            init_rest_client=not sql,
            config_rest_client=None if sql else rest,
            reset_rest_client=not sql,
        )


def _key(environment: Mapping[str, str]) -> Callable[[], str]:
    def key() -> str:
        try:
            return HopsworksSettings.of(environment).api_key
        except HopsworksError as unread:
            raise AccessRefused(str(unread)) from unread

    return key
