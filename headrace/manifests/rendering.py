"""What kustomize makes of a folder: the objects that a cluster would be given.

The same folder gives the same objects in the same order. Nothing is fetched and no cluster is asked.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from headrace.manifests.documents import Object, objects_of, read_yaml
from headrace.manifests.kubectl import find_kubectl

KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_ORIGIN = "config.kubernetes.io/origin"
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


def render_with_origins(path: Path) -> list[tuple[Object, str]]:
    """Return the objects of a kustomization's folder, each with the file that it was written down in.

    Raises RenderFailed and KubectlAbsent.
    """
    if not is_kustomization(path):
        raise RenderFailed(f"{path} has no kustomization.yaml, needs one to be rendered")
    with TemporaryDirectory() as folder:
        around = Path(folder).resolve()
        base = os.path.relpath(path.resolve(), around)  # kustomize takes no absolute path for a base
        (around / KUSTOMIZATIONS[0]).write_text(f"resources: ['{base}']\nbuildMetadata: [originAnnotations]\n", "utf-8")
        try:
            objects = render(around)
        except RenderFailed as failed:
            raise RenderFailed(str(failed).replace(str(around), str(path))) from failed
        return [(each, _origin(each, around)) for each in objects]


def _origin(rendered: Object, around: Path) -> str:
    annotations = rendered["metadata"]["annotations"]
    told = read_yaml(annotations.pop(_ORIGIN, "{}"), _ORIGIN)[0]
    if not annotations:
        del rendered["metadata"]["annotations"]
    named = told.get("path") or told.get("configuredIn")
    return os.path.relpath((around / named).resolve()) if named else ""


def is_kustomization(path: Path) -> bool:
    """Tell whether a folder is one that kustomize renders."""
    return any((path / name).is_file() for name in KUSTOMIZATIONS)


def is_component(path: Path) -> bool:
    """Tell whether a folder is a kustomize component: a difference to others, which is no set of objects alone."""
    found = next((path / name for name in KUSTOMIZATIONS if (path / name).is_file()), None)
    documents = read_yaml(found.read_text("utf-8"), str(found)) if found else []
    return any(isinstance(each, dict) and each.get("kind") == "Component" for each in documents)
