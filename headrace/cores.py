"""How many cores this process may use: those it may run on, and no more than its container's quota.

A container that may use two cores of a machine of 64 sees all 64. Threads for each of them would share
two cores' time and be held back together whenever it is spent.
"""

from __future__ import annotations

import os
from pathlib import Path

_GROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def cores(groups: Path = _GROUPS, own: Path = _OWN, allowed: int | None = None) -> int:
    """Return whole cores, at least 1; a quota of 2.5 cores is 2, so that no thread waits for a part of one.

    `allowed` is the number of cores the process may run on, as the system says unless it is given.
    """
    if allowed is None:
        allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *(int(quota) for quota in _quotas(groups, own))]))


def as_cores_allow(asked: int, cores: int) -> int:
    """Return how many workers there are to be, and say where it is fewer than were asked for."""
    if asked <= cores:
        return asked
    print(f"{asked} workers were asked for, {cores} are started: one for each core", flush=True)
    return cores


def _quotas(groups: Path, own: Path) -> list[float]:
    """Return the quotas, in cores, of the process's groups and all above them, of cgroups 2 and 1."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        lines = []
    found = []
    for line in lines or ["0::/"]:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if not controllers:
            found += [_quota(folder / "cpu.max", None) for folder in _upwards(groups, path)]
        elif "cpu" in controllers.split(","):
            for tree in {groups / controllers, groups / "cpu"}:
                found += [
                    _quota(folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us") for folder in _upwards(tree, path)
                ]
    return [quota for quota in found if quota is not None]


def _upwards(root: Path, path: str) -> list[Path]:
    # In a container the path may be the host's, of which only the root is to be seen.
    inner = root / path.strip("/")
    return [folder for folder in (inner, *inner.parents) if folder.is_relative_to(root)]


def _quota(quota: Path, period: Path | None) -> float | None:
    try:
        said = quota.read_text().split()
        if period is not None:
            said += period.read_text().split()
        allowed, per = float(said[0]), float(said[1])  # `max` is no limit, and -1 neither
    except (OSError, ValueError, IndexError):
        return None
    return allowed / per if allowed > 0 and per > 0 else None
