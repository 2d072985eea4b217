"""Where what is fetched or built once for this machine is kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

VARIABLE = "HEADRACE_CACHE"


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Return where this machine's cache is to be, there or not: where HEADRACE_CACHE says, else in the user's own.

    >>> cache_folder({"XDG_CACHE_HOME": "/var/cache"}).as_posix()
    '/var/cache/headrace'
    """
    if named := environment.get(VARIABLE):
        return Path(named).absolute()
    cache = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME") or Path.home()) / ".cache"
    return Path(cache).absolute() / "headrace"
