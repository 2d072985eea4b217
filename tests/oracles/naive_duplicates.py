"""Duplicates from their definition: one event after the other, in order of arrival."""

from __future__ import annotations

from collections.abc import Hashable, Iterable


def duplicates(events: Iterable[tuple[Hashable | None, int]], horizon_ms: int) -> list[bool]:
    """Tell which events, each an id and a time, repeat one that counted and is still remembered."""
    newest = None
    counted: dict[Hashable, int] = {}
    found = []
    for name, at_ms in events:
        newest = at_ms if newest is None else max(newest, at_ms)
        known = name is not None and name in counted and newest <= counted[name] + horizon_ms
        found.append(known)
        if name is not None and not known:
            counted[name] = at_ms
    return found
