"""The way to a cluster: which one a kubeconfig names, and one request to it after another.

Every request has a deadline in seconds and is made once, for the client's own retries would make four deadlines of it;
only a cluster that says it is busy is asked again, three times in all. Errors are those of `cluster_faults`. Nothing is
logged, and no answer is kept.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.config.config_exception import ConfigException
from kubernetes.dynamic import DynamicClient
from kubernetes.watch import Watch

from headrace.manifests.cluster_faults import Asked, Busy, ClusterUnnamed, Refused, as_cluster_errors
from headrace.manifests.documents import read_yaml

_WARNED = re.compile(r'\d{3} \S+ "((?:[^"\\]|\\.)*)"')  # RFC 7234: code, agent, quoted text
_ATTEMPTS = 3
_LONGEST_PAUSE_S = 10.0
_DEFAULT_NAMESPACE = "default"
_IN_CLUSTER = "KUBERNETES_SERVICE_HOST"
_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True, slots=True)
class Access:
    """Which cluster, as a person names it; what is None comes from the kubeconfig."""

    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str | None = None
    request_timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server answered: its text, its status, and the warnings that came with it."""

    text: str
    status: int
    warnings: tuple[str, ...]

    def object(self) -> dict[str, Any]:
        """Return the answer as the object it is; raises Refused where it is none."""
        try:
            read = json.loads(self.text)
        except ValueError:
            read = None
        if not isinstance(read, dict):
            raise Refused("what answers is no Kubernetes API server: see the server in the kubeconfig, and any proxy")
        return read


class Connection:
    """Requests to one cluster. `context` and `host` say which; `namespace` is the one its context names."""

    def __init__(
        self, dynamic: DynamicClient, context: str, namespace: str, timeout_s: float, pause: Callable[[float], None]
    ) -> None:
        self.context, self.namespace = context, namespace
        self.host: str = dynamic.configuration.host
        self._dynamic, self._timeout_s, self._pause = dynamic, timeout_s, pause

    def asked(self, verb: str, group: str, resource: str, namespace: str | None, name: str | None = None) -> Asked:
        """Return what is about to be asked, for the text of an error."""
        return Asked(verb, group, resource, namespace, name, self.host, self._timeout_s)

    def request(self, asked: Asked, method: str, path: str, **params: Any) -> Answer:
        """Send one request and return its answer; raises ClusterError."""
        for _ in range(_ATTEMPTS - 1):
            try:
                return self.once(asked, method, path, params)
            except Busy as busy:
                self._pause(min(busy.after_s, _LONGEST_PAUSE_S))
        return self.once(asked, method, path, params)

    def once(
        self, asked: Asked, method: str, path: str, params: Mapping[str, Any], timeout_s: float | None = None
    ) -> Answer:
        """Send one request that is not sent again, whatever comes of it; raises ClusterError."""
        timeouts = (timeout_s or self._timeout_s,) * 2
        query = list(params.get("query_params", ()))  # the client adds to it
        with as_cluster_errors(asked):
            raw = self._dynamic.request(
                method, path, **{**params, "query_params": query}, serialize=False, _request_timeout=timeouts
            )
            return Answer(raw.data.decode("utf-8", "replace"), raw.status, _warnings(raw.headers))

    def watch(self, asked: Asked, path: str, since: str, for_s: int) -> Iterator[dict[str, Any]]:
        """Yield what changes below a path from a resource version on, for so many seconds; raises ClusterError."""

        def changes(**params: Any) -> Any:
            waited = (self._timeout_s, for_s + self._timeout_s)
            return self._dynamic.request("get", path, serialize=False, _request_timeout=waited, **params)

        with as_cluster_errors(asked):
            yield from Watch().stream(changes, timeout_seconds=for_s, resource_version=since)

    def close(self) -> None:
        """Let go of the connections."""
        self._dynamic.client.close()


def connect(
    access: Access, environment: Mapping[str, str] = os.environ, pause: Callable[[float], None] = time.sleep
) -> Connection:
    """Return a connection to the cluster that is named; raises ClusterUnnamed. Nothing is sent yet."""
    settings = client.Configuration()
    paths = [path for path in _paths(access, environment) if path.is_file()]
    if paths:
        context, namespace = _by_kubeconfig(settings, paths, access.context)
    elif access.kubeconfig is None and access.context is None and environment.get(_IN_CLUSTER):
        context, namespace = _in_cluster(settings)
    else:
        where = " and ".join(map(str, _paths(access, environment)))
        raise ClusterUnnamed(f"there is no kubeconfig at {where}: name one by --kubeconfig or KUBECONFIG")
    settings.retries = False
    dynamic = DynamicClient(client.ApiClient(settings), discoverer=lambda asking, cache: None)
    return Connection(dynamic, context, namespace, access.request_timeout_s, pause)


def _by_kubeconfig(settings: client.Configuration, paths: Sequence[Path], asked: str | None) -> tuple[str, str]:
    joined = os.pathsep.join(map(str, paths))
    current, contexts = _contexts(paths)
    name = asked or current
    if name not in contexts:
        missing = f"no context {name!r}" if name else "no current context"
        raise ClusterUnnamed(
            f"{joined} has {missing}, its contexts are {', '.join(contexts) or 'none'}: choose one by --context"
        )
    try:
        config.load_kube_config(joined, name, settings, persist_config=False)
    except (ConfigException, OSError) as wrong:
        raise ClusterUnnamed(f"{joined} cannot be used: {' '.join(str(wrong).split())}") from wrong
    return name, contexts[name].get("namespace") or _DEFAULT_NAMESPACE


def _in_cluster(settings: client.Configuration) -> tuple[str, str]:
    try:
        config.load_incluster_config(client_configuration=settings)
    except (ConfigException, OSError) as wrong:
        raise ClusterUnnamed(
            f"there is no kubeconfig, and this pod has no service account to log in with ({wrong}): name a kubeconfig "
            "by --kubeconfig or KUBECONFIG, or mount the account's token"
        ) from wrong
    namespace = _OWN_NAMESPACE.read_text().strip() if _OWN_NAMESPACE.is_file() else _DEFAULT_NAMESPACE
    return "in-cluster", namespace


def _contexts(paths: Sequence[Path]) -> tuple[str, dict[str, dict[str, Any]]]:
    current = ""
    contexts: dict[str, dict[str, Any]] = {}  # what an earlier file says counts, as kubectl has it
    for path in paths:
        for document in read_yaml(path.read_text("utf-8"), str(path)):
            if not isinstance(document, dict):
                raise ClusterUnnamed(f"{path} is no kubeconfig: name another by --kubeconfig or KUBECONFIG")
            current = current or document.get("current-context") or ""
            for each in document.get("contexts") or ():
                contexts.setdefault(each["name"], each.get("context") or {})
    return current, contexts


def _paths(access: Access, environment: Mapping[str, str]) -> list[Path]:
    if access.kubeconfig is not None:
        return [access.kubeconfig]
    if named := environment.get("KUBECONFIG"):
        return [Path(each) for each in named.split(os.pathsep) if each]
    return [Path(environment.get("HOME") or Path.home()) / ".kube" / "config"]


def _warnings(headers: Any) -> tuple[str, ...]:
    said = headers.getlist("Warning") if hasattr(headers, "getlist") else ()
    texts = (text for each in said for text in _WARNED.findall(each))
    return tuple(text.replace('\\"', '"').replace("\\\\", "\\") for text in texts)
