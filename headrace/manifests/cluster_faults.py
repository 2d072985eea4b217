"""What can go wrong between a command and a cluster, as errors that say what is needed.

    ClusterError
    ├── ClusterUnnamed      there is no kubeconfig, or no such context in it
    ├── Unreachable         nothing answers
    │   ├── CertificateRefused
    │   └── Busy            it asks to be left alone for a while
    ├── TimedOut            the cluster did not answer in time
    ├── LoginRefused        the cluster does not know who asks
    ├── Forbidden           it knows, and does not allow it
    ├── KindUnknown         it has no such kind: a CRD is not installed
    ├── Absent              there is no such object
    ├── AlreadyThere        there is one already
    ├── Conflict            fields of it are another manager's
    ├── Expired             what was asked for is too long ago
    └── Refused             anything else that the cluster said no to

Only statuses and the API server's own words become text; bodies and headers of requests never do.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kubernetes.client.exceptions import ApiException
from urllib3 import exceptions as urllib3

_MANAGER = re.compile(r'conflict with "(?P<manager>[^"]*)"(?: with subresource "(?P<sub>[^"]*)")?')
_UNTRUSTED = re.compile(
    r"certificate verify failed: (?P<why>[^(]+)|(?P<name>hostname .* doesn't match|IP address mismatch)"
)


class ClusterError(ValueError):
    """A cluster could not be asked, or said no; the text is for the person who asked."""


class ClusterUnnamed(ClusterError):
    """No kubeconfig, or no such context in it."""


class Unreachable(ClusterError):
    """Nothing answers at the cluster's address."""


class CertificateRefused(Unreachable):
    """What answers cannot show that it is the cluster."""


class Busy(Unreachable):
    """The cluster has too much to do. `after_s` is when it wants to be asked again."""

    def __init__(self, text: str, after_s: float) -> None:
        self.after_s = after_s
        super().__init__(text)


class TimedOut(ClusterError):
    """The cluster did not answer in time."""


class LoginRefused(ClusterError):
    """The cluster does not know who asks."""


class Forbidden(ClusterError):
    """The cluster does not allow it; the text has the rule that would."""


class KindUnknown(ClusterError):
    """The cluster has no such kind of object."""


class Absent(ClusterError):
    """There is no such object."""


class AlreadyThere(ClusterError):
    """There is an object of that name already."""


class Expired(ClusterError):
    """What was asked for is too long ago."""


class Refused(ClusterError):
    """The cluster said no; the text has its reason."""


@dataclass(frozen=True, slots=True)
class Owned:
    """A field that another manager set, in the words of the API server: `.spec.replicas`, `kubectl-edit`."""

    field: str
    manager: str


class Conflict(ClusterError):
    """Fields of an object are another manager's."""

    def __init__(self, what: str, owned: tuple[Owned, ...]) -> None:
        self.owned = owned
        fields = ", ".join(f"{each.field} is {each.manager}'s" for each in owned)
        super().__init__(f"{what}: {fields or 'fields of it are set by another manager'}")


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of a cluster: the verb and resource that a Role names, and the address it went to."""

    verb: str
    group: str
    resource: str
    namespace: str | None
    name: str | None
    host: str
    timeout_s: float

    def __str__(self) -> str:
        named = f"{self.resource}/{self.name}" if self.name else self.resource
        return f"{self.verb} {named}" + (f" in {self.namespace}" if self.namespace else "")


@contextmanager
def as_cluster_errors(asked: Asked) -> Iterator[None]:
    """Raise a client's errors as the errors of this file."""
    try:
        yield
    except ApiException as said:
        raise _answered(asked, said) from said
    except urllib3.SSLError as wrong:
        raise _untrusted(asked, str(wrong)) from wrong
    except urllib3.HTTPError as failed:
        raise _unanswered(asked, failed) from failed


def _unanswered(asked: Asked, failed: urllib3.HTTPError) -> ClusterError:
    late = isinstance(failed, urllib3.ConnectTimeoutError | urllib3.ReadTimeoutError)
    if late and not isinstance(failed, urllib3.NewConnectionError):  # which is a timeout by name alone
        return TimedOut(
            f"{asked.host} did not answer within {asked.timeout_s:g} s ({asked}): see that the cluster is well, "
            "or give it longer by --request-timeout"
        )
    return Unreachable(
        f"no cluster answers at {asked.host} ({_why(failed)}): see that it runs, and that --context names the right one"
    )


def _answered(asked: Asked, said: ApiException) -> ClusterError:
    if said.status == 0:  # how the client tells that TLS failed
        return _untrusted(asked, str(said.reason))
    status = _status(said.body)
    message = status.get("message") or f"{said.status} {said.reason}"
    reason = status.get("reason")
    if said.status == 401:
        return LoginRefused(f"{asked.host} does not accept the login of the kubeconfig: log in anew (401 {message})")
    if said.status == 403:
        return _forbidden(asked, message)
    if said.status == 404:
        return Absent(f"there is no {asked.resource}/{asked.name}: {message}")
    if said.status == 409:
        return _conflicting(asked, status, message)
    if said.status == 410:
        return Expired(message)
    if said.status in (429, 503):
        text = f"{asked.host} is too busy to {asked}: {message}: try again in a while"
        return Busy(text, _seconds((said.headers or {}).get("Retry-After", "")))
    if said.status == 504 or reason == "Timeout":
        return TimedOut(f"{asked.host} gave up on {asked}: {message}")
    return Refused(f"{asked.host} refused to {asked}: {message}")


def _forbidden(asked: Asked, message: str) -> ClusterError:
    if "forbidden: User" not in message:  # an admission rule, not a missing right
        return Refused(f"{asked.host} refused to {asked}: {message}")
    kind = "Role" if asked.namespace else "ClusterRole"
    rule = f'apiGroups: ["{asked.group}"], resources: ["{asked.resource}"], verbs: ["{asked.verb}"]'
    return Forbidden(f"not allowed to {asked}: {message}; it needs a {kind} with the rule {{{rule}}}")


def _conflicting(asked: Asked, status: Mapping[str, Any], message: str) -> ClusterError:
    if status.get("reason") == "AlreadyExists":
        return AlreadyThere(message)
    causes = (status.get("details") or {}).get("causes") or ()
    owned = tuple(
        Owned(cause.get("field", ""), _manager(cause.get("message", "")))
        for cause in causes
        if cause.get("reason") == "FieldManagerConflict"
    )
    return Conflict(f"{asked.resource}/{asked.name}", owned) if owned else Refused(f"{asked}: {message}")


def _seconds(said: str) -> float:
    return float(said) if said.isdecimal() else 1.0


def _manager(message: str) -> str:
    found = _MANAGER.search(message)
    if found is None:
        return "another manager"
    return found["manager"] + (f" (by its {found['sub']})" if found["sub"] else "")


def _untrusted(asked: Asked, said: str) -> CertificateRefused:
    found = _UNTRUSTED.search(said)
    why = " ".join((found["why"] or found["name"] if found else said.splitlines()[-1]).split())
    return CertificateRefused(
        f"{asked.host} shows a certificate that is not trusted ({why}): "
        "the kubeconfig's certificate-authority must be the one that signed it"
    )


def _why(away: urllib3.HTTPError) -> str:
    cause: BaseException | None = away
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLError):
        return "TLS failed"
    return getattr(cause, "strerror", None) or type(away).__name__


def _status(body: Any) -> Mapping[str, Any]:
    try:
        read = json.loads(body or b"{}")
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}
