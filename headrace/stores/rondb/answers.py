"""The body of a request to RonDB's REST server, and the rows of tiles in its answer.

Entries and vectors belong together by position alone, so an answer with another number of vectors,
or with one that could not be read, is refused whole: nothing is served from it. Whoever asked for many may ask for
fewer, without the one to blame.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from headrace.stores.online import RowsUnread
from headrace.stores.rondb.errors import BrokenAnswer
from headrace.stores.rondb.view import TilesView

Keys = Sequence[int | str]


def request_head(view: TilesView) -> bytes:
    """Return a request's body up to its entries, which are the last thing in it."""
    about = {
        "featureStoreName": view.feature_store,
        "featureViewName": view.name,
        "featureViewVersion": view.version,
        "passedFeatures": [],
        "options": {"validatePassedFeatures": False, "includeDetailedStatus": False},
    }
    return orjson.dumps(about)[:-1] + b',"entries":'


def entries_of(names: Sequence[str], keys: Sequence[Keys]) -> list[dict[str, int | str]]:
    """Return the entries that look up every key of every column once; `keys` has one list per name.

    Columns are looked up each by its own key, so that the longest list says how many entries there are;
    the entries that have no key for a column leave it out.

    >>> entries_of(["card", "shop"], [[0, 7], ["a"]])
    [{'card': 0, 'shop': 'a'}, {'card': 7}]
    """
    count = max(map(len, keys), default=0)
    if all(len(column) == count for column in keys):
        return [dict(zip(names, row, strict=True)) for row in zip(*keys, strict=True)]
    entries: list[dict[str, int | str]] = [{} for _ in range(count)]
    for name, column in zip(names, keys, strict=True):
        for entry, key in zip(entries, column, strict=False):
            entry[name] = key
    return entries


def columns_of(view: TilesView, answer: bytes, entries: int) -> list[tuple[Any, ...]]:
    """Return the values of an answer by column of the view, one per entry; raises BrokenAnswer and RowsUnread."""
    try:
        found = orjson.loads(answer)
    except orjson.JSONDecodeError:
        raise BrokenAnswer(f"RonDB's answer about {view} is not JSON, {len(answer)} bytes of it came") from None
    vectors = found.get("features") if isinstance(found, dict) else None
    if not isinstance(vectors, list):
        raise BrokenAnswer(f"RonDB's answer about {view} has no list of features, needs one of {entries}")
    if len(vectors) != entries:
        raise BrokenAnswer(f"RonDB's answer about {view} has {len(vectors)} vectors, needs {entries}")
    if "ERROR" in (found.get("status") or ()) or None in vectors:
        unread = sum(vector is None for vector in vectors) or found["status"].count("ERROR")
        kind = RowsUnread if unread < entries or entries == 1 else BrokenAnswer
        raise kind(f"RonDB could not read {unread} of {entries} vectors of {view}: none of them is served")
    try:
        columns = list(zip(*vectors, strict=True))
    except (TypeError, ValueError):
        columns = []
    if len(columns) != view.width:
        raise BrokenAnswer(f"RonDB's answer about {view} has vectors of another width, needs {view.width} values each")
    return columns


def tiles_of(view: TilesView, column: Sequence[Any]) -> list[bytes]:
    """Return the bytes of a column's values, empty where there is no row; raises BrokenAnswer."""
    from pybase64 import b64decode  # an extra: whoever got here has a session, and so has it

    try:
        return [b64decode(value, None, True) if value else b"" for value in column]
    except (TypeError, ValueError):
        raise BrokenAnswer(f"RonDB's answer about {view} has tiles that are not base64: none of it is served") from None
