"""What a container is told to start with, read by the code that it starts with."""

from __future__ import annotations

import pytest

from headrace.manifests.rulebook import EVERY_RULE
from headrace.manifests.settings import flag_refusal, given_to, refusal
from headrace.manifests.workloads import Manifests
from headrace.settings import TransformerSettings, read_settings
from tests.manifests.planting import good, one, plant

SERVED = "spec/transformer/containers/0"


def given(changes):
    """Return what the transformer of the good set starts with, once it is changed."""
    objects = good()
    plant(one(objects, "InferenceService/fraud"), changes)
    manifests = Manifests(objects)
    ((_, container),) = manifests.running("transformer")
    return given_to(manifests, container)


def test_settings_come_from_configmaps_variables_and_flags():
    settings = given({}).settings
    assert (settings.store, settings.drain_s, settings.deadline_ms) == ("hopsworks://", 15.0, 50.0)
    assert settings.predictor_host == "fraud-predictor:8000"


def test_a_flag_wins_over_a_variable_and_a_variable_over_a_configmap():
    told = given({f"{SERVED}/args/-": "--drain_s=20", f"{SERVED}/env/-": {"name": "HEADRACE_STORE", "value": "/store"}})
    assert (told.settings.drain_s, told.settings.store) == (20.0, "/store")
    owner, path = told.where("drain_s")
    assert (owner["kind"], path) == ("InferenceService", "spec.transformer.containers[0].args")


def test_what_only_a_cluster_knows_is_not_guessed():
    reference = {"name": "HEADRACE_STORE", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}
    told = given({f"{SERVED}/env/-": reference, f"{SERVED}/envFrom": []})
    assert not told.knows("store")
    assert told.knows("max_rows")
    hidden = given({f"{SERVED}/envFrom/0/configMapRef/name": "elsewhere"})
    assert not hidden.knows("max_rows")
    assert hidden.knows("drain_s")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HEADRACE_DEADLINE_MS", "50", ""),
        ("HEADRACE_DEADLINE_MS", None, ""),
        ("HEADRACE_KAFKA_SASL_PASSWORD", "x", ""),
        ("HEADRACE_SETTINGS", "/etc/none.toml", ""),
        ("PATH", "/bin", ""),
        ("HEADRACE_DEADLINE", None, "setting 'deadline', which is unknown; did you mean 'deadline_ms'?"),
        ("HEADRACE_SECOND_READS", "maybe", "setting second_reads is 'maybe', needs true or false"),
    ],
)
def test_a_variable_is_refused_in_the_transformers_words(name, value, said):
    assert said in refusal(name, value)
    assert bool(refusal(name, value)) == bool(said)


@pytest.mark.parametrize("flag", ["--model_name", "--predictor-host", "--http_port", "--workers"])
def test_flags_of_kserve_are_taken(flag):
    assert flag_refusal(flag) == ""


def test_nothing_is_printed_about_a_flag_that_means_nothing(capsys):
    assert flag_refusal("--enable_latency_logging") == "flag --enable_latency_logging means nothing to the transformer"
    assert capsys.readouterr() == ("", "")


def test_variables_of_the_command_are_no_settings_of_a_transformer():
    others = {"HEADRACE_SPECS": "/specs", "HEADRACE_KUBECTL": "/bin/kubectl", "HEADRACE_CI_ENGINES": "0"}
    assert read_settings(TransformerSettings, [], others) == TransformerSettings()


def test_every_rule_takes_an_empty_set():
    for rule in EVERY_RULE:
        assert list(rule.find(Manifests([]))) == []
