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
from typing import Annotated, Any, TypeVar, get_type_hints

from headrace.features.rows import nearest

PREFIX = "HEADRACE_"
#: Variables that set the pipelines' Kafka client, which often shares an environment with the servers.
KAFKA_PREFIX = "HEADRACE_KAFKA_"
#: What commands, tests and images on the same machine are told: no setting of a server.
OF_OTHERS = frozenset(
    PREFIX + name
    for name in (
        *("CACHE", "CI_ENGINES", "CI_IMAGE", "CI_KUBE", "ETCD", "FLINK_PYTHON", "IMAGE", "KUBECTL", "KUBE_APISERVER"),
        *("LOOPS", "PEER_MODEL", "POD_SECURITY", "PREDICTION_KEY", "SIGNING_PASSWORD", "SPECS", "TORCHSERVE", "WORKER"),
    )
)
#: What Kubernetes puts into every container for a Service whose name begins with `headrace`.
_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT(_\w+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$")
FILE = "HEADRACE_SETTINGS"
#: Flags of KServe's own server that resemble settings of ours: none of them is a misspelt one.
_OF_KSERVE = frozenset(("max_threads", "predictor_request_retries", "predictor_request_timeout_seconds", "protocol"))


class SettingsError(Exception):
    """A setting that is unknown or cannot be used; the text says which and what was needed."""


@dataclass(frozen=True, slots=True)
class TransformerSettings:
    """What a transformer needs to start. Ports of 0 are chosen by the system."""

    application: Annotated[str, "short name, or module:ATTRIBUTE"] = "fraud"
    store: Annotated[str, "directory of the embedded online store, or hopsworks://"] = ".headrace/fraud/store"
    predictor_host: Annotated[str, "host, host:port or URL of the predictor's v2 endpoint"] = "127.0.0.1:8085"
    predictor_model: Annotated[str, "the model's name at the predictor; the application's where empty"] = ""
    predictor_in_process: Annotated[str, "a model repository on this machine: no server is asked"] = ""
    predictor_signed_by: Annotated[str, "a public key without whose signature no model is run in process"] = ""
    predictor_protocol: Annotated[str, "how it is asked: v2 or grpc-v2"] = "v2"
    predictor_use_ssl: Annotated[bool, "ask it over TLS, where its address is no URL that says so"] = False
    predictor_ca_file: Annotated[str, "authorities, in PEM, for its certificate; the system's where empty"] = ""
    predictor_refresh_s: Annotated[float, "how often its name is resolved again"] = 5.0
    predictor_answer_mib: Annotated[int, "MiB of its answer that are read"] = 64
    second_attempts: Annotated[float, "of requests, how many may be asked of another endpoint where one fails"] = 0.1
    forward_headers: Annotated[str, "further ones that go on to it, by name, with commas between"] = ""
    model_name: Annotated[str, "the name it is served under; the application's where empty"] = ""
    host: Annotated[str, "the address to listen on; 0.0.0.0 inside a container"] = "127.0.0.1"
    http_port: Annotated[int, "the port of REST"] = 8080
    grpc_port: Annotated[int, "the port of gRPC"] = 8081
    deadline_ms: Annotated[float, "for a request that names none"] = 50.0
    drain_s: Annotated[float, "how long to answer on after SIGTERM, not ready any more"] = 0.0
    workers: Annotated[int, "processes that serve the port, at most one for each core"] = 1
    max_in_flight: Annotated[int, "requests under way in one process; fewer where they would be late"] = 512
    max_connections: Annotated[int, "HTTP connections of one process"] = 4096
    ssl_certfile: Annotated[str, "the certificate of both ports, with its chain: PEM, read again when it changes"] = ""
    ssl_keyfile: Annotated[str, "its private key"] = ""
    ssl_client_ca: Annotated[str, "callers need a certificate of this authority"] = ""
    max_rows: Annotated[int, "rows of one request"] = 10_000
    max_body_mib: Annotated[int, "MiB of one request's body, also once it is unpacked"] = 16
    unproved_predictor: Annotated[bool, "accept a predictor that cannot tell its fingerprint"] = False
    on_store_failure: Annotated[str, "or stale, default; group=word for some: see docs/operations.md"] = "reject"
    store_timeout_ms: Annotated[float, "how long a read may take; 0: the request's time, half with a fallback"] = 0.0
    store_retry_ms: Annotated[float, "how long a store that fails is not asked"] = 500.0
    cache_entries: Annotated[int, "rows of the store kept in this process; 0: none"] = 0
    cache_mib: Annotated[int, "how much memory they may take"] = 64
    cache_ttl_ms: Annotated[float, "how long a row is fresh"] = 1_000.0
    cache_missing_ttl_ms: Annotated[float, "how long a key that the store does not have is not asked for"] = 1_000.0
    stale_limit_ms: Annotated[float, "how old a row may be where the store fails"] = 60_000.0
    second_reads: Annotated[bool, "make the slowest reads of the store, at most one in twenty, a second time"] = False
    prediction_log: Annotated[str, "dir:/path or kafka://host:port/topic; nothing is logged where empty"] = ""
    prediction_log_share: Annotated[float, "of the runs, how many are logged"] = 1.0
    prediction_log_keys: Annotated[str, "keys of entities in the log: none, hashed or plain"] = "none"
    prediction_log_key_file: Annotated[str, "the secret of hashed keys; HEADRACE_PREDICTION_KEY where empty"] = ""
    prediction_log_every_s: Annotated[float, "how often a file is written"] = 30.0
    prediction_log_days: Annotated[float, "how long files are kept"] = 30.0
    prediction_log_mib: Annotated[int, "and how much of them"] = 1024
    log_format: Annotated[str, "of what is said on stderr: text or json"] = "text"
    log_level: Annotated[str, "and from which level on: debug, info, warning or error"] = "warning"

    def __post_init__(self) -> None:
        _check_doors(self)
        for name in (
            *("deadline_ms", "max_rows", "max_body_mib", "cache_mib", "cache_ttl_ms", "cache_missing_ttl_ms"),
            *("predictor_refresh_s", "predictor_answer_mib"),
        ):
            if not getattr(self, name) > 0:
                raise SettingsError(f"setting {name} is {getattr(self, name)}, needs more than 0")
        for name in ("store_timeout_ms", "store_retry_ms", "cache_entries", "stale_limit_ms"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SettingsError(f"setting {name} is {getattr(self, name)}, needs a number, 0 or more")
        for name in ("prediction_log_every_s", "prediction_log_days", "prediction_log_mib"):
            if not 0 < getattr(self, name) < math.inf:
                raise SettingsError(f"setting {name} is {getattr(self, name)}, needs more than 0")
        for name in ("prediction_log_share", "second_attempts"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"setting {name} is {getattr(self, name)}, needs 0 to 1")

    @property
    def predictor_url(self) -> str:
        """The predictor's address as a URL."""
        scheme = "https" if self.predictor_use_ssl else "http"
        return self.predictor_host if "://" in self.predictor_host else f"{scheme}://{self.predictor_host}"


def _check_doors(given: TransformerSettings) -> None:
    if bool(given.ssl_certfile) != bool(given.ssl_keyfile) or (given.ssl_client_ca and not given.ssl_certfile):
        raise SettingsError("ssl_certfile and ssl_keyfile belong together, and ssl_client_ca to them: needs both")
    for name in ("workers", "max_in_flight", "max_connections"):
        if not getattr(given, name) > 0:
            raise SettingsError(f"setting {name} is {getattr(given, name)}, needs 1 or more")
    if not 0 <= given.drain_s < math.inf:
        raise SettingsError(f"setting drain_s is {given.drain_s}, needs seconds, 0 or more")
    for name in ("http_port", "grpc_port"):
        if not 0 <= getattr(given, name) < 65536:
            raise SettingsError(f"setting {name} is {getattr(given, name)}, needs a port from 0 to 65535")


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


def described(kind: type) -> str:
    """Return every setting with its default and what it is, a line each, for `--help`.

    >>> described(TransformerSettings).splitlines()[0]
    "  --application 'fraud'              short name, or module:ATTRIBUTE"
    """
    hints = get_type_hints(kind, include_extras=True)
    shown = [(f"--{field.name} {field.default!r}", hints[field.name].__metadata__[0]) for field in fields(kind)]
    return "\n".join(f"  {flag:<33}  {meaning}" for flag, meaning in shown)


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
    names = (name for name in environment if name.startswith(PREFIX) and name != FILE)
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
        if not flag.startswith("-"):
            raise SettingsError(f"{flag!r} stands where a flag is needed, such as --{known[0]} VALUE")
        name = flag.lstrip("-").replace("-", "_")
        takes = bool(left) and not left[0].startswith("--")
        if name in known:
            if not value and not takes:
                raise SettingsError(f"flag {flag} has no value, needs one")
            given[name] = value or left.pop(0)
            continue
        if name not in _OF_KSERVE and (meant := nearest(name, known)):
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
