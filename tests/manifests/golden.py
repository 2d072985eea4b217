"""The golden renders: what every overlay, and every combination that is promised, comes to.

An overlay, the base, the cluster's own objects and the graphs are kept whole. Of a combination only the objects are
kept that differ from the base's, and the names of those it leaves out. `python -m tests.manifests` writes them anew.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from headrace.manifests.documents import Object, write_yaml
from headrace.manifests.rendering import render
from tests.architecture.code import ROOT

MANIFESTS = ROOT / "manifests"
GOLDEN = Path(__file__).parent / "golden"
WHOLE = ("base", "cluster", "graphs", "overlays/laptop", "overlays/staging", "overlays/production")
#: What goes together, in the order in which it is listed; every component is in one of them.
COMBINATIONS = (
    ("gpu",),
    ("onnxruntime",),
    ("torchserve",),
    ("collocated",),
    ("collocated", "canary-standard"),
    ("hopsworks-secrets", "gpu", "collocated", "canary-standard"),
    ("collocated", "knative", "canary-knative"),
    ("knative", "scale-to-zero"),
    ("onnxruntime", "collocated", "embedded-store"),
    ("monitoring", "onnxruntime", "collocated", "embedded-store"),
    ("hpa",),
    ("keda-autoscaling",),
    ("network-policies",),
    ("monitoring",),
    ("tracing",),
    ("hopsworks-secrets",),
    ("kafka",),
    ("hopsworks-secrets", "kafka"),
    ("spark-pipeline",),
    ("spark-pipeline", "hopsworks-secrets", "kafka"),
    ("flink-pipeline",),
    ("flink-pipeline", "hopsworks-secrets"),
    ("model-cache",),
    ("verified-models",),
    ("onnxruntime", "verified-models"),
    ("gpu", "collocated", "canary-standard", "verified-models"),
)


@cache
def whole(name: str) -> list[Object]:
    """Return what a folder of the manifests comes to; not to be changed."""
    return render(MANIFESTS / name)


@cache
def combined(components: tuple[str, ...]) -> list[Object]:
    """Return what the base comes to with components, listed in this order, and the images after them.

    Not to be changed.
    """
    with TemporaryDirectory() as folder:
        # kustomize takes folders by relative paths only, and does not follow the links in them.
        to = Path(os.path.relpath(MANIFESTS.resolve(), Path(folder).resolve()))
        listed = "".join(f"- {to / 'components' / name}\n" for name in components)
        Path(folder, "kustomization.yaml").write_text(
            f"resources:\n- {to / 'base'}\ncomponents:\n{listed}- {to / 'images'}\n"
        )
        return render(Path(folder))


def goldens() -> dict[Path, str]:
    """Return what every golden file is to hold, by its path."""
    files = {GOLDEN / f"{Path(name).name}.yaml": write_yaml(whole(name)) for name in WHOLE}
    base = {known(each): each for each in whole("base")}
    for components in COMBINATIONS:
        files[GOLDEN / "components" / f"{'+'.join(components)}.yaml"] = changed(base, combined(components))
    return files


def changed(base: dict[str, Object], objects: list[Object]) -> str:
    """Return, as YAML, the objects that are not the base's, after a line for each of the base's that is left out."""
    left_out = sorted(set(base) - {known(each) for each in objects})
    differing = [each for each in objects if base.get(known(each)) != each]
    return "".join(f"# without {name}\n" for name in left_out) + write_yaml(differing)


def known(each: Object) -> str:
    """Return what an object is known by: its kind and its name.

    >>> known({"kind": "ConfigMap", "metadata": {"name": "a"}})
    'ConfigMap a'
    """
    return f"{each['kind']} {each['metadata']['name']}"
