"""A model's directory copied whole, for a server that reads it by itself later.

What was checked is then what is served, whatever becomes of the original. A directory that is
exchanged while it is copied is copied again.
"""

from __future__ import annotations

from pathlib import Path
from shutil import copytree, rmtree

from predictor.repository import ModelRefused, verified

_TRIES = 5


def copied(repository: Path, name: str, models: Path, public_key: Path | None = None) -> Path:
    """Copy a model of a repository into the folder `models`, check the copy and return it; raises ModelRefused.

    With a public key the copy must be signed by it.
    """
    if not name or name in (".", "..") or "/" in name:
        raise ModelRefused(f"model {name!r} is no name of a model, needs one without slashes")
    source, copy, tries = repository / name, models / name, _TRIES
    while True:
        if not source.is_dir():
            raise ModelRefused(f"model {name!r} is not in the repository: train one first")
        before = source.stat().st_ino
        try:
            copytree(source, copy)
            verified(copy, public_key)
            return copy
        except (ModelRefused, OSError) as refused:
            rmtree(copy, ignore_errors=True)
            tries -= 1
            if tries and _changed(source, before):
                continue
            if isinstance(refused, ModelRefused):
                raise
            raise ModelRefused(f"model {name!r} cannot be copied: {refused}") from refused


def _changed(source: Path, before: int) -> bool:
    return not source.is_dir() or source.stat().st_ino != before
