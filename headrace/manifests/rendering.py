"""What kustomize makes of a folder: the objects that a cluster would be given.

The same folder gives the same objects in the same order. Nothing is fetched and no cluster is asked.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from headrace.manifests.documents import Object, objects_of
from headrace.manifests.kubectl import find_kubectl

KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_RENDER_S = 60


class RenderFailed(ValueError):
    """A folder that kustomize makes nothing of; the text has its reason."""


def render(path: Path) -> list[Object]:
    """Return the objects of a kustomization's folder, in kustomize's order.

    Raises RenderFailed where kustomize refuses it, KubectlAbsent where there is no kubectl.
    """
    return objects_of(render_text(path), f"the render of {path}")


def render_text(path: Path) -> str:
    """Return what kustomize prints for a folder, as it printed it; raises RenderFailed and KubectlAbsent."""
    if not is_kustomization(path):
        raise RenderFailed(f"{path} has no kustomization.yaml, needs one to be rendered")
    command = [str(find_kubectl()), "kustomize", str(path)]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_RENDER_S, check=False)
    except subprocess.TimeoutExpired as late:
        raise RenderFailed(f"{path} was not rendered within {_RENDER_S} s: does it name a base elsewhere?") from late
    except OSError as wrong:
        raise RenderFailed(f"{command[0]} cannot be run: {wrong}") from wrong
    if ended.returncode:
        raise RenderFailed(f"{path} cannot be rendered: {ended.stderr.strip().removeprefix('error: ')}")
    return ended.stdout


def is_kustomization(path: Path) -> bool:
    """Tell whether a folder is one that kustomize renders."""
    return any((path / name).is_file() for name in KUSTOMIZATIONS)
