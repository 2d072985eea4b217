"""Transformers: settings and flags that they would refuse, found before a pod fails to start."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.manifests.findings import Rule, Spot
from headrace.manifests.settings import SETTINGS, flag_refusal, refusal, variables
from headrace.manifests.workloads import Manifests
from headrace.settings import SettingsError, TransformerSettings, read_settings


def _settings(manifests: Manifests) -> Iterator[Spot]:
    for _, container in manifests.running("transformer"):
        for each in variables(manifests, container):
            if why := refusal(each.name, each.value):
                yield each.owner, each.path, why


def _flags(manifests: Manifests) -> Iterator[Spot]:
    for _, container in manifests.running("transformer"):
        for word in container.words:
            name = word.partition("=")[0]
            if name.startswith("--") and (why := flag_refusal(name)):
                yield container.owner, f"{container.path}.args", why


def _values(manifests: Manifests) -> Iterator[Spot]:
    for _, container in manifests.running("transformer"):
        for name in SETTINGS:
            value = container.flag(name)
            if value is None or "$(" in value:  # Kubernetes puts a variable's value there
                continue
            try:
                read_settings(TransformerSettings, [f"--{name}={value}"] if value else [f"--{name}"], {})
            except SettingsError as wrong:
                yield container.owner, f"{container.path}.args", str(wrong)


RULES = (
    Rule(
        "transformer-setting",
        _settings,
        "the transformer refuses to start with a setting that it does not know or cannot use",
        "use a setting that `python -m transformer --help` lists",
    ),
    Rule(
        "transformer-flag",
        _flags,
        "an unknown flag changes nothing, or stops the start where it is like a known one",
        "use a flag that `python -m transformer --help` lists",
    ),
    Rule(
        "transformer-flag-value",
        _values,
        "the transformer refuses to start with a value that it cannot use",
        "give the flag a value of its kind and range",
    ),
)
