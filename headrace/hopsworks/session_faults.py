"""What a refusal of Hopsworks means: faults of the network, of TLS and of the API as one plain sentence each.

`asking` turns them into a HopsworksError; `preflight` finds the ones of a first contact before the
SDK logs in, which has no limit of time and says little. No key and no body is ever in a message.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

#: The scopes that a key needs for what is done here.
SCOPES = "PROJECT and FEATURESTORE, to write KAFKA and JOB, for models MODELREGISTRY, DATASET_VIEW and DATASET_CREATE"
_LONGEST = 300


class HopsworksError(Exception):
    """Hopsworks cannot be used, or refused what was asked; the text says why."""


@contextmanager
def asking(where: str, doing: str) -> Iterator[None]:
    """Turn a fault of the SDK's into a HopsworksError that says what was being done at `where` (host:port)."""
    from hopsworks.client import exceptions as sdk
    from hsml.client import exceptions as models
    from requests import exceptions as http

    try:
        yield
    except sdk.RestAPIError as refused:
        raise HopsworksError(_refused(where, doing, refused.response)) from refused
    except http.SSLError as untrusted:
        raise HopsworksError(_untrusted(_asked_at(untrusted, where), untrusted)) from untrusted
    except http.Timeout as slow:
        raise HopsworksError(_silent(_asked_at(slow, where), doing)) from slow
    except http.JSONDecodeError as foreign:
        raise HopsworksError(_foreign(where, doing)) from foreign
    except (http.ChunkedEncodingError, http.ContentDecodingError) as broken:
        raise HopsworksError(f"cannot {doing}: {where} broke off its answer") from broken
    except http.ConnectionError as absent:
        raise HopsworksError(
            f"cannot {doing}: {_asked_at(absent, where)} cannot be reached ({_cause(absent)}), "
            "needs the host and the port where it listens and a network that lets them through"
        ) from absent
    except (
        sdk.ProjectException,
        sdk.FeatureStoreException,
        sdk.JobException,
        sdk.JobExecutionException,
        models.ModelRegistryException,
        models.DatasetException,
        OSError,
    ) as refused:
        raise HopsworksError(f"cannot {doing} at {where}: {_short(str(refused))}") from refused


def preflight(endpoint: str, project: str, key: str, verify: str | bool, limit_s: float) -> None:
    """Ask for the project once, as `key`, in `limit_s` seconds.

    Raises HopsworksError where the answer is a refusal, and the errors of `requests` where there is none.
    """
    import requests

    with requests.Session() as asked:
        url = requests.utils.requote_uri(f"{endpoint}/project/getProjectInfo/{project}")
        answer = asked.get(url, headers={"Authorization": f"ApiKey {key}"}, verify=verify, timeout=limit_s)
    where = endpoint.removeprefix("https://").partition("/")[0]
    if answer.status_code in (400, 404) and "errorCode" in answer.text:
        raise HopsworksError(
            f"there is no project {project!r} at {where} that this key may see (code {_code(answer)}), "
            "needs HOPSWORKS_PROJECT or --project to name one that the key's owner is a member of"
        )
    if answer.status_code != 200:
        raise HopsworksError(_refused(where, "log in", answer))
    if "projectId" not in answer.json():
        raise HopsworksError(_foreign(where, "log in"))


def within(limit_s: float, where: str, call: Callable[[], Any]) -> Any:
    """Return what a call of the SDK's that knows no limit of time returns; HopsworksError after `limit_s` seconds.

    The call is then left to itself, in a thread that keeps no process alive.
    """
    from hopsworks.client import exceptions as sdk

    faults = (sdk.RestAPIError, sdk.ProjectException, OSError, LookupError, TypeError, ValueError, AttributeError)
    doing: Future[Any] = Future()

    def run() -> None:
        try:
            doing.set_result(call())
        except faults as fault:
            doing.set_exception(fault)

    threading.Thread(target=run, name="hopsworks", daemon=True).start()
    try:
        return doing.result(limit_s)
    except FutureTimeout as slow:
        raise HopsworksError(_silent(where, "log in")) from slow


def limit_requests(limit_s: float) -> None:
    """Give each later request of the SDK's session a limit of time; by itself it has none."""
    from hopsworks import client
    from requests.adapters import HTTPAdapter

    class Limited(HTTPAdapter):
        def send(self, request: Any, stream: bool = False, timeout: Any = None, *given: Any, **options: Any) -> Any:
            return super().send(request, stream, timeout or limit_s, *given, **options)

    client._get_instance()._session.mount("https://", Limited())


def _refused(where: str, doing: str, answer: Any) -> str:
    if answer.status_code == 401:
        return f"{where} does not accept the key (HTTP 401), needs a key that is valid: HOPSWORKS_API_KEY"
    if answer.status_code == 403:
        return f"the key may not {doing} at {where} (HTTP 403): {_said(answer)}; it needs the scopes {SCOPES}"
    if not _said(answer):
        return f"{_foreign(where, doing)} (HTTP {answer.status_code})"
    return f"cannot {doing}: {where} answers HTTP {answer.status_code}: {_said(answer)}"


def _asked_at(fault: Any, where: str) -> str:
    # Not all that the SDK asks is the cluster's API: the fault knows whom it was about.
    if isinstance(fault, TimeoutError):  # the SDK's own kind, which it has for its online store alone
        return "RonDB's REST server"
    if netloc := urlsplit(getattr(fault.request, "url", None) or "").netloc:
        return netloc
    asked = getattr(fault.args[0] if fault.args else None, "conn", None)
    return f"{asked.host}:{asked.port}" if asked else where


def _silent(where: str, doing: str) -> str:
    return f"cannot {doing}: {where} gave no answer in time, it is stopped or a firewall drops packets"


def _code(answer: Any) -> object:
    try:
        return answer.json()["errorCode"]
    except (ValueError, LookupError, TypeError):
        return "unknown"


def _said(answer: Any) -> str:
    try:
        body = answer.json()
    except ValueError:
        return ""
    if not isinstance(body, dict) or "errorCode" not in body:
        return ""
    said = body.get("usrMsg") or body.get("errorMsg") or "no reason given"
    return _short(f"{said} (code {body['errorCode']})")


def _foreign(where: str, doing: str) -> str:
    return f"cannot {doing}: what answers at {where} is not Hopsworks, needs the host and the port of its API"


def _untrusted(where: str, fault: Exception) -> str:
    text = str(fault)
    if "CERTIFICATE_VERIFY_FAILED" in text or "doesn't match" in text:
        why = text.partition("certificate verify failed: ")[2].partition(" (_ssl")[0] or "another name"
        return (
            f"the certificate of {where} is not trusted ({_short(why)}), needs HOPSWORKS_TRUST_STORE_PATH "
            "to be the PEM file of the cluster's authorities, or HOPSWORKS_HOSTNAME_VERIFICATION=false to take any"
        )
    return f"{where} does not speak TLS as Hopsworks does, needs the port of its API"


def _cause(fault: BaseException) -> str:
    text = str(fault)
    for sign, meaning in (
        ("refused", "connection refused"),
        ("NameResolution", "no such host"),
        ("ame or service not known", "no such host"),
        ("unreachable", "no route"),
        ("reset", "connection reset"),
        ("Remote end closed", "connection closed"),
    ):
        if sign in text:
            return meaning
    return "no connection"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
