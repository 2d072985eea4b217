"""KServe's CustomResourceDefinitions, where this machine has them: they are KServe's, and no part of the project."""

from __future__ import annotations

from pathlib import Path

from headrace.manifests.schemas import default_crds

WHERE = "KServe's CustomResourceDefinitions are in neither HEADRACE_SPECS nor ../shared/specs"


def crds() -> Path | None:
    """Return the folder that they are in; None where there is none."""
    return default_crds()
