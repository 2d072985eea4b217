"""Flags and settings that the programs would refuse or pass over, found before a pod fails to start."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.manifests.findings import Rule, Spot
from headrace.manifests.objects import misspelt
from headrace.manifests.settings import SETTINGS, flag_refusal, refusal, variables
from headrace.manifests.workloads import Container, Manifests
from headrace.settings import PREFIX, SettingsError, TransformerSettings, read_settings

#: The flags of the other programs, as their `--help` lists them.
FLAGS = {
    "pipeline": (
        *("accept-gap", "batch", "dead-letters", "durable", "engine", "fast", "format", "group", "help", "history"),
        *("hopsworks", "kafka", "kafka-config", "metrics", "no-hopsworks", "offset-columns", "option", "order"),
        *("registry", "schema", "source", "store", "to-end", "topic", "wait"),
    ),
    "predictor": (
        *("batch-rows", "cores", "deadline-ms", "drain-s", "grpc-port", "help", "host", "http-port", "log-format"),
        *("log-level", "max-connections", "max-in-flight", "model", "queue-rows", "reload-s", "repository"),
        *("signed-by", "ssl-certfile", "ssl-client-ca", "ssl-keyfile", "threads", "workers"),
    ),
}
#: What KServe's controller gives a transformer by flags, which win over variables.
_INJECTED = ("model_name", "predictor_host", "http_port")


def _settings(manifests: Manifests) -> Iterator[Spot]:
    for _, container in manifests.running("transformer"):
        for each in variables(manifests, container):
            if why := refusal(each.name, each.value):
                yield each.owner, each.path, why


def _overridden(manifests: Manifests) -> Iterator[Spot]:
    for pod, container in manifests.running("transformer"):
        for each in variables(manifests, container):
            name = each.name.removeprefix(PREFIX).lower()
            if pod.component == "transformer" and name in _INJECTED and container.flag(name) is None:
                yield each.owner, each.path, f"KServe passes --{name}, which wins over {each.name}"


def _flags(manifests: Manifests) -> Iterator[Spot]:
    for _, container in manifests.running("transformer"):
        for name in _given(container):
            if why := flag_refusal(name):
                yield container.owner, f"{container.path}.args", why


def _other_flags(manifests: Manifests, program: str) -> Iterator[Spot]:
    for _, container in manifests.running(program):
        streams = program != "pipeline" or {"run", "bootstrap"} & set(container.words)
        for name in _given(container) if streams else ():
            if name[2:] not in FLAGS[program]:
                meant = misspelt(name[2:], FLAGS[program])
                found = f"flag {name} is unknown to the {program}{f'; did you mean --{meant}?' if meant else ''}"
                yield container.owner, f"{container.path}.args", found


def _given(container: Container) -> list[str]:
    return [word.partition("=")[0] for word in container.words if word.startswith("--") and word != "--"]


def _pipeline_flags(manifests: Manifests) -> Iterator[Spot]:
    return _other_flags(manifests, "pipeline")


def _predictor_flags(manifests: Manifests) -> Iterator[Spot]:
    return _other_flags(manifests, "predictor")


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
    Rule(
        "setting-overridden",
        _overridden,
        "the variable changes nothing: KServe's controller passes the flag to every transformer that has none",
        "give it as a flag in the container's args",
    ),
    Rule(
        "pipeline-flag",
        _pipeline_flags,
        "the pipeline ends at once with a word on its usage, and is started over and over",
        "use a flag that `headrace pipeline run --help` lists",
    ),
    Rule(
        "predictor-flag",
        _predictor_flags,
        "the predictor ends at once with a word on its usage, and is started over and over",
        "use a flag that `python -m predictor --help` lists",
    ),
)
