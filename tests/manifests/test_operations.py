"""What the operations page tells to do can be done: the commands, the options, the files and the objects are there."""

from __future__ import annotations

import re

import click
import pytest

from headrace.cli import main
from headrace.manifests.documents import read_yaml
from headrace.manifests.rendering import render
from tests.architecture.code import ROOT
from tests.manifests.golden import COMBINATIONS, MANIFESTS, WHOLE, combined, whole

TEXT = (ROOT / "docs" / "operations.md").read_text("utf-8")
SECTION = TEXT[TEXT.index("\n## From an empty cluster") :]
NAMED = set(re.findall(r"(?:^\$ |`|&& )(headrace [^`\n|&#]+)", SECTION, re.MULTILINE))
COMMANDS = sorted(NAMED - {"headrace manifests"})
#: What KServe makes of an InferenceService, and what people make by hand.
MADE = {"fraud-hopsworks", "fraud-kafka", "fraud-models-loader"}


def test_the_section_has_every_part_of_the_way():
    told = re.findall(r"^### (.+)$", SECTION, re.MULTILINE)
    for part in (
        "Once for the cluster",
        "Apply",
        "Check",
        "Rollback",
        "A canary",
        "GPU nodes",
        "Upgrades",
        "Disasters",
    ):
        assert part in told


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_one_with_options_that_it_has(command):
    words = command.replace("...", "").split()[1:]
    found: click.Command = main
    context = click.Context(main)
    while isinstance(found, click.Group) and words:
        inner = found.get_command(context, words[0])
        assert inner is not None, f"{command}: there is no {words[0]!r}"
        found, words = inner, words[1:]
    assert not isinstance(found, click.Group), f"{command} is half a command"
    known = {option for each in found.params for option in (*each.opts, *each.secondary_opts)}
    assert {word.partition("=")[0] for word in words if word.startswith("-")} <= known


def test_every_file_it_names_is_there():
    named = set(re.findall(r"[ (](?:\.\./)?(manifests/[\w./-]+?)[`)\]\s]", SECTION))
    assert len(named) > 8
    for name in named:
        assert (ROOT / name.rstrip(".")).exists(), name


def test_every_object_it_names_is_one_that_is_made():
    objects = [each for name in WHOLE for each in whole(name)]
    objects += [each for components in COMBINATIONS for each in combined(components)]
    known = {each["metadata"]["name"] for each in objects} | MADE
    # KServe's Deployments and Services have these names; revisions of caches end in the release's.
    known |= {"fraud-predictor", "fraud-transformer", "fraud-2", "fraud-3", "fraud-pipeline-payments-0"}
    assert set(re.findall(r"\b(fraud-[a-z0-9-]+[a-z0-9])", SECTION)) <= known


def test_the_overlay_that_it_shows_renders(tmp_path):
    (shown,) = re.findall(r"```yaml\n# canary/kustomization.yaml.*?\n(.*?)```", SECTION, re.DOTALL)
    (folder := tmp_path / "canary").mkdir()
    (tmp_path / "manifests").mkdir()
    for path in MANIFESTS.rglob("*"):  # kustomize follows no link out of the folder
        if path.is_file():
            (to := tmp_path / "manifests" / path.relative_to(MANIFESTS)).parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(path.read_bytes())
    assert read_yaml(shown, "the page")
    (folder / "kustomization.yaml").write_text(shown)
    (service,) = [each for each in render(folder) if each["kind"] == "InferenceService"]
    assert service["spec"]["canary"][0]["trafficPercent"] == 10
    assert service["metadata"]["namespace"] == "headrace"


def test_the_counts_of_objects_it_shows_are_those_there_are():
    shown = re.findall(r"^(manifests/\S+): (\d+) objects, no findings$", TEXT, re.MULTILINE)
    assert len(shown) == 2
    for folder, count in shown:
        assert len(whole(folder.removeprefix("manifests/"))) == int(count), folder
