"""What containers are told to run is what the code takes: commands, options, jobs, and variables that are set."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest

from feature_pipelines.engines.flink_plan import Plan
from feature_pipelines.engines.opening import job_of
from headrace.cli import main
from headrace.manifests.documents import Object
from headrace.settings import TransformerSettings, read_settings
from predictor.__main__ import _parser
from tests.manifests.golden import COMBINATIONS, combined, whole
from tests.manifests.test_draining import settings_of
from tests.manifests.test_release import OVERLAYS, one

EVERYTHING = [*(f"overlays/{name}" for name in OVERLAYS), *COMBINATIONS]


def objects_of(what: str | tuple[str, ...]) -> list[Object]:
    """Return what an overlay, or the base with components, comes to."""
    return whole(what) if isinstance(what, str) else combined(what)


def containers(objects: list[Object]) -> Iterator[Object]:
    """Yield the containers of everything that runs our image."""
    spec = one(objects, "InferenceService")["spec"]
    pods = [spec["predictor"], spec.get("transformer", {})]
    pods += [each["spec"]["template"]["spec"] for each in objects if each["kind"] == "Deployment"]
    pods += [each["spec"] for each in objects if each["kind"] == "ServingRuntime"]
    for pod in pods:
        yield from (each for each in pod.get("containers", ()) if each["image"].startswith("headrace"))


def options_of(*words: str) -> list[click.Parameter]:
    """Return the parameters of a command of `headrace`."""
    found: click.Command = main
    for word in words:
        assert isinstance(found, click.Group)
        inner = found.get_command(click.Context(found), word)
        assert inner is not None, word
        found = inner
    return found.params


def taken(words: list[str]) -> click.Context:
    """Return the context of `headrace ...`; click's refusal where it does not take the words."""
    found: click.Command = main
    context = click.Context(main)
    while isinstance(found, click.Group):
        inner = found.get_command(context, words[0])
        assert inner is not None, words[0]
        found, words = inner, words[1:]
    return found.make_context(found.name, [re.sub(r"\$\(\w+\)", "broker:9092", word) for word in words])


@pytest.mark.parametrize("what", EVERYTHING, ids=str)
def test_every_container_runs_what_the_image_has(what):
    found = list(containers(objects_of(what)))
    assert found
    for container in found:
        command, arguments = container["command"], container.get("args", [])
        if command[:3] == ["headrace", "model", "verify"]:
            known = {name for option in options_of("model", "verify") for name in option.opts}
            assert {word.partition("=")[0] for word in arguments if word.startswith("--")} <= known
        elif command[0] == "headrace":
            given = taken([*command[1:], *arguments]).params
            assert given["metrics"].startswith("0.0.0.0:91")
            assert given["source"] == f"kafka://broker:9092/{given['topic']}"
        elif command == ["python", "-m", "predictor"]:
            assert _parser().parse_args(arguments).model == ["fraud"]
        else:
            assert command == ["python", "-m", "transformer"]
            flags = ["--model_name", "fraud", "--http_port", "8080", "--predictor_host", "fraud-predictor.headrace"]
            assert read_settings(TransformerSettings, [*arguments, *flags], {}).model_name == "fraud"


@pytest.mark.parametrize("what", EVERYTHING, ids=str)
def test_every_variable_that_is_filled_in_is_set(what):
    objects = objects_of(what)
    maps = {each["metadata"]["name"]: each["data"] for each in objects if each["kind"] == "ConfigMap"}
    for container in containers(objects):
        sources = [source["configMapRef"]["name"] for source in container.get("envFrom", ())]
        known = {name for source in sources for name in maps[source]} | {
            each["name"] for each in container.get("env", ())
        }
        assert set(re.findall(r"\$\((\w+)\)", " ".join(container.get("args", ())))) <= known


@pytest.mark.parametrize("what", EVERYTHING, ids=str)
def test_a_transformer_starts_with_its_settings(what):
    settings = settings_of(objects_of(what))
    assert settings.host == "0.0.0.0"
    assert settings.application == "fraud"


def test_the_cluster_engines_are_given_jobs_that_they_know():
    spark = one(combined(("spark-pipeline",)), "SparkApplication", "fraud-pipeline-payments")["spec"]
    given = taken(spark["arguments"]).params
    assert (given["engine"], str(given["store"])) == ("spark", "/store")
    flink = combined(("flink-pipeline", "hopsworks-secrets"))
    (data,) = [each["data"] for each in flink if "flink-payments-" in each["metadata"]["name"]]
    flow = Plan(job_of(data["job.json"]), "").flow()
    assert flow.stream.name == "payments"
