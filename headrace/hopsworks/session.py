"""A session with a Hopsworks cluster: who is asked, as whom, and what a refusal means.

The one place that logs in through the SDK. Every fault on the way there, and of a call made under
`Session.asking`, is a HopsworksError whose text says what was found and what was needed; neither
the key nor a payload is ever in it. The SDK keeps one session per process: connecting again ends
the one before. Credentials that the cluster hands out are written to a private folder, which goes
when the session is closed. Times are in seconds.
"""

from __future__ import annotations

import io
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from headrace.hopsworks.descriptors import set_apart
from headrace.hopsworks.session_faults import HopsworksError as HopsworksError
from headrace.hopsworks.session_faults import asking, limit_requests, preflight, within

ENDPOINT = "https://{host}:{port}/hopsworks-api/api"
#: How many requests the SDK makes to log in.
_REQUESTS = 4
_TRUTHS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True)
class HopsworksSettings:
    """Where a cluster is and as whom it is asked.

    `ca_file` is a PEM file of the authorities that sign the cluster's certificate (the system's where empty);
    without `hostname_verification` any certificate is taken. Credentials go to `cert_folder`, a private
    temporary folder where empty. `timeout_s` limits each request.

    >>> HopsworksSettings("my.cluster", "fraud", "secret")
    HopsworksSettings(host='my.cluster', project='fraud', port=443, ca_file='', hostname_verification=True, \
cert_folder='', timeout_s=10.0)
    """

    host: str
    project: str
    api_key: str = field(repr=False)
    port: int = 443
    ca_file: str = ""
    hostname_verification: bool = True
    cert_folder: str = ""
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        for name, sample in (("host", "my.cluster"), ("project", "fraud")):
            if not getattr(self, name):
                raise HopsworksError(f"no {name} of Hopsworks was given, needs HOPSWORKS_{name.upper()}={sample}")
        if not self.api_key:
            raise HopsworksError(
                "no API key of Hopsworks was given, needs HOPSWORKS_API_KEY, HOPSWORKS_API_KEY_FILE or --key-file"
            )
        if "/" in self.host or ":" in self.host:
            raise HopsworksError(f"the host of Hopsworks is {self.host!r}, needs a name alone: no https://, no port")
        if not 0 < self.port < 65536:
            raise HopsworksError(f"the port of Hopsworks is {self.port}, needs 1 to 65535")
        if not self.timeout_s > 0:
            raise HopsworksError(f"the timeout of Hopsworks is {self.timeout_s}, needs seconds, more than 0")
        if self.ca_file and not Path(self.ca_file).is_file():
            raise HopsworksError(f"there is no file {self.ca_file!r}, needs the PEM of the cluster's authorities")

    @classmethod
    def of(cls, environment: Mapping[str, str], **given: Any) -> HopsworksSettings:
        """Read the `HOPSWORKS_*` variables that the SDK reads too; what is given wins. Raises HopsworksError.

        >>> HopsworksSettings.of({"HOPSWORKS_HOST": "a", "HOPSWORKS_PROJECT": "b", "HOPSWORKS_API_KEY": "c"}).port
        443
        """
        said = {
            "host": environment.get("HOPSWORKS_HOST", ""),
            "project": environment.get("HOPSWORKS_PROJECT", ""),
            "api_key": _key(environment),
            "port": _number("HOPSWORKS_PORT", environment.get("HOPSWORKS_PORT", "443")),
            "ca_file": environment.get("HOPSWORKS_TRUST_STORE_PATH", ""),
            "hostname_verification": _truth(environment, "HOPSWORKS_HOSTNAME_VERIFICATION", True),
            "cert_folder": environment.get("HOPSWORKS_CERT_FOLDER", ""),
        }
        return cls(**{**said, **{name: value for name, value in given.items() if value is not None}})

    @property
    def verify(self) -> str | bool:
        """What a certificate is checked against: a file, the system's authorities, or nothing (False)."""
        return (self.ca_file or True) if self.hostname_verification else False

    @property
    def where(self) -> str:
        """How the cluster is named in messages."""
        return f"{self.host}:{self.port}"

    @property
    def endpoint(self) -> str:
        """The URL below which the cluster's API lies."""
        return ENDPOINT.format(host=self.host, port=self.port)


def _key(environment: Mapping[str, str]) -> str:
    value, path = environment.get("HOPSWORKS_API_KEY", ""), environment.get("HOPSWORKS_API_KEY_FILE", "")
    if value and path:
        raise HopsworksError("HOPSWORKS_API_KEY and HOPSWORKS_API_KEY_FILE are both set, needs one of them")
    if not path:
        return value.strip()
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as unread:
        raise HopsworksError(f"the key file {path!r} cannot be read: {type(unread).__name__}") from unread


def _number(name: str, text: str) -> int:
    if not text.isdecimal():
        raise HopsworksError(f"{name} is {text!r}, needs a number")
    return int(text)


def _truth(environment: Mapping[str, str], name: str, default: bool) -> bool:
    text = environment.get(name, "")
    if text and text.lower() not in _TRUTHS:
        raise HopsworksError(f"{name} is {text!r}, needs true or false")
    return _TRUTHS[text.lower()] if text else default


class Session:
    """An open session: `feature_store` and `project` are the SDK's own objects. Close it, or use it in a `with`."""

    def __init__(self, settings: HopsworksSettings, project: Any, feature_store: Any, folder: Path, own: bool) -> None:
        self.settings, self.project, self.feature_store = settings, project, feature_store
        #: Where the cluster's credentials lie: `ca_chain.pem`, `client_cert.pem`, `client_key.pem`.
        self.folder = folder
        self._own = own

    @property
    def version(self) -> str:
        """The cluster's version of Hopsworks, as it said when we logged in."""
        from hopsworks import client

        return str(client._get_connection().backend_version)

    def asking(self, doing: str) -> AbstractContextManager[None]:
        """Return a context in which a fault of the SDK's becomes a HopsworksError that says what was being done."""
        return asking(self.settings.where, doing)

    @contextmanager
    def quietly(self, doing: str) -> Iterator[None]:
        """Ask as `asking` does, of a call of the SDK's that prints progress which nobody asked for."""
        with self.asking(doing), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield

    def close(self) -> None:
        """End the session and remove the credentials from this machine; twice does no harm."""
        import hopsworks

        with suppress(OSError):
            hopsworks.logout()
        if self._own:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def connect(settings: HopsworksSettings) -> Session:
    """Log in and return the session; raises HopsworksError."""
    _refuse_contradictions(settings, os.environ)
    sdk = _sdk()
    folder, own = _folder(settings)
    try:
        with asking(settings.where, "log in"):
            preflight(settings.endpoint, settings.project, settings.api_key, settings.verify, settings.timeout_s)
            project = within(_REQUESTS * settings.timeout_s, settings.where, lambda: _log_in(sdk, settings, folder))
            limit_requests(settings.timeout_s)
            store = project.get_feature_store()
    except BaseException:
        sdk.logout()
        if own:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return Session(settings, project, store, folder, own)


def _log_in(sdk: Any, settings: HopsworksSettings, folder: Path) -> Any:
    with redirect_stdout(io.StringIO()):
        return sdk.login(
            host=settings.host,
            port=str(settings.port),  # a port given as text is not replaced by the environment's
            project=settings.project,
            api_key_value=settings.api_key,
            hostname_verification=settings.hostname_verification,
            trust_store_path=settings.ca_file or None,
            cert_folder=str(folder),
            engine="python",
        )


def _sdk() -> Any:
    # Importing the SDK sets up logging for the whole process unless it is set up already.
    quiet = logging.NullHandler()
    logging.root.addHandler(quiet)
    try:
        import hopsworks

        set_apart()
    except ModuleNotFoundError as absent:
        if absent.name != "hopsworks":
            raise
        raise HopsworksError("the package hopsworks is not installed, needs the extra: headrace[hopsworks]") from absent
    finally:
        logging.root.removeHandler(quiet)
    return hopsworks


def _folder(settings: HopsworksSettings) -> tuple[Path, bool]:
    try:
        if settings.cert_folder:
            Path(settings.cert_folder).mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=settings.cert_folder):
                return Path(settings.cert_folder), False
        return Path(tempfile.mkdtemp(prefix="headrace-hopsworks-")), True
    except OSError as refused:
        where = settings.cert_folder or "the temporary folder"
        raise HopsworksError(
            f"the cluster's credentials cannot be written to {where}: {refused.strerror}, "
            "needs HOPSWORKS_CERT_FOLDER to be a folder that can be written"
        ) from refused


def _refuse_contradictions(settings: HopsworksSettings, environment: Mapping[str, str]) -> None:
    # The SDK takes these from the environment even where it is given another.
    if "REST_ENDPOINT" in environment:
        raise HopsworksError("REST_ENDPOINT is set: the SDK would use the cluster it runs in, unset it to name another")
    said = _truth(environment, "HOPSWORKS_HOSTNAME_VERIFICATION", settings.hostname_verification)
    if said != settings.hostname_verification:
        raise HopsworksError(
            f"hostname verification was asked for as {settings.hostname_verification}, "
            f"HOPSWORKS_HOSTNAME_VERIFICATION says {said}: unset it"
        )
    trusted = environment.get("HOPSWORKS_TRUST_STORE_PATH", settings.ca_file)
    if trusted != settings.ca_file:
        raise HopsworksError(
            f"the authorities asked for are {settings.ca_file!r}, "
            f"HOPSWORKS_TRUST_STORE_PATH names {trusted!r}: unset it"
        )
