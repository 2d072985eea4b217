"""A model with all the versions it serves, which can be exchanged for others while it is asked.

The versions are those of the model's configuration, one for each alias. A request that names none is
answered by production's. Whoever was given a version asks it to the end: an exchange changes what the
next request is given, and a version ends with the last request that has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.open_inference import InferRequest, InferResponse
from predictor.manifest import ALIASES, MANIFEST, SIGNATURE, Manifest
from predictor.repository import verified
from predictor.server import OnnxServable

Open = Callable[[Manifest, bytes], OnnxServable]
#: What tells one state of a model directory from another; None where there is none.
Stamp = tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions of one model that were read from one state of its directory."""

    production: str
    servables: Mapping[str, OnnxServable]
    stamp: Stamp


class ServedModel:
    """A model of several versions; see `Servable`."""

    def __init__(self, name: str, versions: Versions) -> None:
        self.name = name
        self.exchange(versions)

    def exchange(self, versions: Versions) -> None:
        """Serve these from the next request on."""
        self._now = versions
        self.versions: tuple[str, ...] = tuple(versions.servables)

    def at(self, version: str) -> OnnxServable:
        """Return a version, production's where none is named."""
        now = self._now
        return now.servables[version or now.production]

    @property
    def stamp(self) -> Stamp:
        """The state of the directory that is served."""
        return self._now.stamp

    @property
    def production(self) -> str:
        """The version that is asked where none is named."""
        return self._now.production

    @property
    def waiting_rows(self) -> int:
        """How many rows wait for a run, of all versions that are served."""
        return sum(servable.batches.waiting_rows for servable in self._now.servables.values())

    def readiness(self) -> str | None:
        """A model that could be loaded is ready."""
        return None

    def metadata(self) -> dict[str, Any]:
        """Return production's."""
        return self.at("").metadata()

    def config(self) -> dict[str, Any]:
        """Return production's."""
        return self.at("").config()

    async def infer(self, request: InferRequest, deadline: float) -> InferResponse:
        """Ask the version that the request names."""
        return await self.at(request.version).infer(request, deadline)


def read_versions(directory: Path, open_version: Open, public_key: Path | None = None) -> Versions:
    """Read, open and try every version that is to be served; raises ModelRefused.

    With a public key the directory must be signed by it.
    """
    stamp = stamp_of(directory)  # before it is read: what changes meanwhile will be noticed
    model = verified(directory, public_key)
    servables = {str(number): open_version(model.of(number), model.models[number]) for number in model.served}
    return Versions(str(model.production), servables, stamp)


def models_in(repository: Path) -> list[str]:
    """Return the names of the models in a repository, those that are refused too."""
    return sorted(path.parent.name for path in repository.glob(f"[!.]*/{MANIFEST}"))


def stamp_of(directory: Path) -> Stamp:
    """Return what changes when a model directory is exchanged, or a file that names its versions is.

    A directory's number alone may come back: a removed one's is given to the next.
    """
    return tuple(_identity(directory / name) for name in ("", MANIFEST, ALIASES, SIGNATURE))


def _identity(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns, found.st_mtime_ns, found.st_size
