"""The programs that make a real API server, where this machine has them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headrace.cache_folder import cache_folder

APISERVER, ETCD = "HEADRACE_KUBE_APISERVER", "HEADRACE_ETCD"
REASON = f"needs make kube-apiserver, or {APISERVER} and {ETCD}"
_FOLDER = "kube-apiserver-1.20.2"


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the two programs lie."""

    kube_apiserver: Path
    etcd: Path


def find_programs(environment: Mapping[str, str] = os.environ) -> Programs | None:
    """Return those that the environment names, or those that were built; None where one is not there."""
    cache = cache_folder(environment) / _FOLDER
    found = Programs(
        Path(environment.get(APISERVER) or cache / "kube-apiserver"), Path(environment.get(ETCD) or cache / "etcd")
    )
    return found if all(os.access(each, os.X_OK) for each in (found.kube_apiserver, found.etcd)) else None
