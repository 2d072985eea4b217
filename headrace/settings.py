"""Settings of the servers: read once from flags, environment and a TOML file, then frozen.

Flags win over `HEADRACE_*` variables, those over the file named by `HEADRACE_SETTINGS`. A
misspelt setting stops the start-up and names the nearest valid one. Flags that the KServe
controller or a runtime passes and that mean nothing here are ignored, and said.
"""

from __future__ import annotations

import math
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from headrace.features.rows import nearest

PREFIX = "HEADRACE_"
#: Variables that set the pipelines' Kafka client, which often shares an environment with the servers.
KAFKA_PREFIX = "HEADRACE_KAFKA_"
#: Variables of the command and of the tests, which start servers in their own environment.
OF_OTHERS = ("HEADRACE_KUBECTL", "HEADRACE_SPECS", "HEADRACE_CI_ENGINES")
#: Variables of commands and tests that run on the same machine: no setting of a server.
_OF_COMMANDS = frozenset(
    PREFIX + name
    for name in ("CACHE", "CI_ENGINES", "FLINK_PYTHON", "KUBECTL", "SIGNING_PASSWORD", "SPECS", "TORCHSERVE")
)
#: What Kubernetes puts into every container for a Service whose name begins with `headrace`.
_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT(_\w+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$")
FILE = "HEADRACE_SETTINGS"


class SettingsError(Exception):
    """A setting that is unknown or cannot be used; the text says which and what was needed."""


@dataclass(frozen=True, slots=True)
class TransformerSettings:
    """What a transformer needs to start. Ports of 0 are chosen by the system."""

    application: str = "fraud"  # short name, or module:ATTRIBUTE
    store: str = ".headrace/fraud/store"  # directory of the embedded online store, or hopsworks://
    predictor_host: str = "127.0.0.1:8085"  # host, host:port or URL of the predictor's v2 endpoint
    predictor_model: str = ""  # the model's name at the predictor; the application's where empty
    predictor_in_process: str = ""  # a model repository on this machine: no server is asked
    predictor_signed_by: str = ""  # a public key without whose signature no model is run in process
    model_name: str = ""  # the name it is served under; the application's where empty
    host: str = "127.0.0.1"  # the address to listen on; 0.0.0.0 inside a container
    http_port: int = 8080
    grpc_port: int = 8081
    deadline_ms: float = 50.0  # for a request that names none
    drain_s: float = 0.0  # how long to answer on after SIGTERM, not ready any more
    max_rows: int = 10_000
    max_body_mib: int = 16
    unproved_predictor: bool = False  # accept a predictor that cannot tell its fingerprint
    on_store_failure: str = "reject"  # or stale, default; group=word for some: see docs/operations.md
    store_timeout_ms: float = 0.0  # how long a read may take; 0: all of the request's time, half with a fallback
    store_retry_ms: float = 500.0  # how long a store that fails is not asked
    cache_entries: int = 0  # rows of the store kept in this process; 0: none
    cache_mib: int = 64  # how much memory they may take
    cache_ttl_ms: float = 1_000.0  # how long a row is fresh
    cache_missing_ttl_ms: float = 1_000.0  # how long a key that the store does not have is not asked for
    stale_limit_ms: float = 60_000.0  # how old a row may be where the store fails
    second_reads: bool = False  # make the slowest reads of the store, at most one in twenty, a second time

    def __post_init__(self) -> None:
        for name in ("deadline_ms", "max_rows", "max_body_mib", "cache_mib", "cache_ttl_ms", "cache_missing_ttl_ms"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"setting {name} is {getattr(self, name)}, needs more than 0")
        for name in ("store_timeout_ms", "store_retry_ms", "cache_entries", "stale_limit_ms"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SettingsError(f"setting {name} is {getattr(self, name)}, needs a number, 0 or more")
        if not 0 <= self.drain_s < math.inf:
            raise SettingsError(f"setting drain_s is {self.drain_s}, needs seconds, 0 or more")
        for name in ("http_port", "grpc_port"):
            if not 0 <= getattr(self, name) < 65536:
                raise SettingsError(f"setting {name} is {getattr(self, name)}, needs a port from 0 to 65535")

    @property
    def predictor_url(self) -> str:
        """The predictor's address as a URL."""
        return self.predictor_host if "://" in self.predictor_host else f"http://{self.predictor_host}"


Chosen = TypeVar("Chosen")


def read_settings(kind: type[Chosen], flags: Sequence[str], environment: Mapping[str, str]) -> Chosen:
    """Return frozen settings from `--flag value` pairs, the environment and its TOML file.

    Raises SettingsError for an unknown name, a value of the wrong type or a file that is not TOML.

    >>> read_settings(TransformerSettings, ["--http_port", "9000"], {"HEADRACE_DEADLINE_MS": "20"}).http_port
    9000
    """
    known = {field.name: hint for field, hint in zip(fields(kind), _hints(kind), strict=True)}  # type: ignore[arg-type]
    given: dict[str, Any] = {}
    for source, values in (
        ("the settings file", _of_file(environment.get(FILE))),
        ("the environment", _of_environment(environment)),
    ):
        for name, value in values.items():
            if name not in known:
                raise SettingsError(f"{source} has setting {name!r}, which is unknown{nearest(name, list(known))}")
            given[name] = value
    given |= _of_flags(flags, list(known))
    return kind(**{name: _typed(name, value, known[name]) for name, value in given.items()})


def _hints(kind: type) -> list[type]:
    hints = get_type_hints(kind)
    return [hints[field.name] for field in fields(kind)]


def _of_file(path: str | None) -> dict[str, Any]:
    if not path:
        return {}
    try:
        return tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as wrong:
        raise SettingsError(f"the settings file named by {FILE} cannot be read: {wrong}") from wrong


def _of_environment(environment: Mapping[str, str]) -> dict[str, str]:
    names = (name for name in environment if name.startswith(PREFIX) and name != FILE and name not in _OF_COMMANDS)
    return {
        name.removeprefix(PREFIX).lower(): environment[name]
        for name in names
        if not (name in OF_OTHERS or name.startswith(KAFKA_PREFIX) or is_service_link(name, environment[name]))
    }


def is_service_link(name: str, value: str) -> bool:
    """Tell whether a variable is one that Kubernetes sets for a Service, and thus no setting."""
    return bool(_SERVICE_LINK.search(name)) or (name.endswith("_PORT") and value.startswith(("tcp://", "udp://")))


def _of_flags(flags: Sequence[str], known: list[str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    left = list(flags)
    while left:
        flag, _, value = left.pop(0).partition("=")
        name = flag.lstrip("-").replace("-", "_")
        takes = bool(left) and not left[0].startswith("--")
        if name in known:
            if not value and not takes:
                raise SettingsError(f"flag {flag} has no value, needs one")
            given[name] = value or left.pop(0)
            continue
        if meant := nearest(name, known):
            raise SettingsError(f"flag {flag} is unknown{meant}")
        print(f"ignored the flag {flag}, which means nothing here", file=sys.stderr)
        if not value and takes:
            left.pop(0)
    return given


def _typed(name: str, value: Any, wanted: type) -> Any:
    if wanted is bool and isinstance(value, str):
        if value.lower() not in ("true", "false", "1", "0"):
            raise SettingsError(f"setting {name} is {value!r}, needs true or false")
        return value.lower() in ("true", "1")
    if not isinstance(value, str) and not (type(value) is wanted or (wanted is float and type(value) is int)):
        raise SettingsError(f"setting {name} is {value!r}, needs {wanted.__name__}")
    try:
        return wanted(value)
    except (TypeError, ValueError) as wrong:
        raise SettingsError(f"setting {name} is {value!r}, needs {wanted.__name__}") from wrong
