"""Every pod that the renders lead to is restricted, and objects have fields of today's Kubernetes only, by its code.

The program judges by the packages that servers are built with. What of an object no schema says, such as which values
may go together, only a server judges.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from headrace.manifests.documents import read_objects
from tests.kubernetes.kinds import KSERVE
from tests.kubernetes.pod_security.judging import Said, find_program
from tests.kubernetes.real.renders import FILES, named, pods
from tests.kubernetes.real.test_renders import UNDEFINED
from tests.kubernetes.store import Object

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
OWN = 'container "it" must'
APPARMOR = "container.apparmor.security.beta.kubernetes.io/it"
TOO_MUCH = 'would violate PodSecurity "restricted:latest": '


def pod(spec: Any = None, metadata: Any = None, **context: Any) -> Object:
    """A pod of one container that is restricted but for what is said otherwise; None leaves a thing out."""
    security = {name: value for name, value in (RESTRICTED | context).items() if value is not None}
    container = {"name": "it", "image": "it:1", "securityContext": security}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "it"} | (metadata or {}),
        "spec": {"containers": [container]} | (spec or {}),
    }


@pytest.mark.parametrize("path", FILES, ids=named)
def test_no_pod_of_a_render_is_warned_of(said, path):
    found = dict(pods(path))
    answers = dict(zip(found, said(*found.values()), strict=True))
    assert {name: answer for name, answer in answers.items() if answer != Said([], [])} == {}


@pytest.mark.parametrize("path", FILES, ids=named)
def test_every_object_has_only_fields_that_kubernetes_of_today_has(said, path):
    own = [each for each in read_objects(path) if of_kubernetes(each)]
    answers = zip(own, said(*own), strict=True)
    assert {f"{of['kind']} {of['metadata']['name']}": it.faults for of, it in answers if it.faults} == {}


def of_kubernetes(of: Object) -> bool:
    """Return whether an object's kind is one of Kubernetes' own."""
    return of["kind"] not in UNDEFINED and of["apiVersion"].partition("/")[0] != KSERVE


def test_the_renders_lead_to_pods_of_every_kind_of_owner():
    owners = {name.partition(" ")[0] for path in FILES for name, _ in pods(path)}
    assert owners >= {"Deployment", "InferenceService"}


def test_a_restricted_pod_is_not_warned_of(said):
    assert said(pod()) == [Said([], [])]


@pytest.mark.parametrize(
    ("made", "warned"),
    [
        (pod(privileged=True), f"privileged ({OWN} not set securityContext.privileged=true)"),
        (
            pod(allowPrivilegeEscalation=True),
            f"allowPrivilegeEscalation != false ({OWN} set securityContext.allowPrivilegeEscalation=false)",
        ),
        (
            pod(allowPrivilegeEscalation=None),
            f"allowPrivilegeEscalation != false ({OWN} set securityContext.allowPrivilegeEscalation=false)",
        ),
        (
            pod(capabilities=None),
            f'unrestricted capabilities ({OWN} set securityContext.capabilities.drop=["ALL"])',
        ),
        (
            pod(capabilities={"drop": ["ALL"], "add": ["SYS_ADMIN"]}),
            f'unrestricted capabilities ({OWN} not include "SYS_ADMIN" in securityContext.capabilities.add)',
        ),
        (
            pod(runAsNonRoot=None),
            f"runAsNonRoot != true (pod or {OWN} set securityContext.runAsNonRoot=true)",
        ),
        (
            pod(runAsNonRoot=False),
            f"runAsNonRoot != true ({OWN} not set securityContext.runAsNonRoot=false)",
        ),
        (pod(runAsUser=0), f"runAsUser=0 ({OWN} not set runAsUser=0)"),
        (
            pod(seccompProfile=None),
            f'seccompProfile (pod or {OWN} set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")',
        ),
        (
            pod(seccompProfile={"type": "Unconfined"}),
            f'seccompProfile ({OWN} not set securityContext.seccompProfile.type to "Unconfined")',
        ),
        (pod(procMount="Unmasked"), f'procMount ({OWN} not set securityContext.procMount to "Unmasked")'),
        (
            pod(seLinuxOptions={"type": "spc_t"}),
            'seLinuxOptions (container "it" set forbidden securityContext.seLinuxOptions: type "spc_t")',
        ),
        (pod({"hostNetwork": True}), "host namespaces (hostNetwork=true)"),
        (pod({"hostPID": True, "hostIPC": True}), "host namespaces (hostPID=true, hostIPC=true)"),
        (
            pod({"volumes": [{"name": "node", "hostPath": {"path": "/"}}]}),
            'restricted volume types (volume "node" uses restricted volume type "hostPath")',
        ),
        (
            pod({"volumes": [{"name": "far", "nfs": {"server": "far", "path": "/"}}]}),
            'restricted volume types (volume "far" uses restricted volume type "nfs")',
        ),
        (
            pod({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "65536"}]}}),
            "forbidden sysctls (kernel.msgmax)",
        ),
        (
            pod(metadata={"annotations": {APPARMOR: "unconfined"}}),
            f'forbidden AppArmor profile (annotation must not set AppArmor profile type to "{APPARMOR}="unconfined"")',
        ),
    ],
)
def test_a_pod_that_is_not_restricted_is_warned_of(said, made, warned):
    assert said(made) == [Said([], [TOO_MUCH + warned])]


@pytest.mark.parametrize(
    ("more", "warned"),
    [
        ({"ports": [{"containerPort": 80, "hostPort": 80}]}, 'hostPort (container "it" uses hostPort 80)'),
        (
            {"livenessProbe": {"httpGet": {"port": 80, "host": "10.0.0.1"}}},
            'probe or lifecycle host (container "it" uses probe or lifecycle host "10.0.0.1")',
        ),
    ],
)
def test_a_container_that_reaches_past_its_pod_is_warned_of(said, more, warned):
    made = pod()
    made["spec"]["containers"][0] |= more
    assert said(made) == [Said([], [TOO_MUCH + warned])]


def test_a_container_that_runs_before_the_others_is_judged_too(said):
    (warned,) = said(pod({"initContainers": [{"name": "first", "image": "it:1"}]}))[0].warnings
    assert 'container "first" must set securityContext.allowPrivilegeEscalation=false' in warned


def test_the_warnings_of_many_mistakes_are_one(said):
    (warned,) = said(pod({"hostNetwork": True}, privileged=True, runAsNonRoot=None))[0].warnings
    assert warned.count("(") == 3


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ({"hostNetwrok": True}, 'unknown field "spec.hostNetwrok"'),
        ({"restartPolicy": 1}, "cannot unmarshal number into Go struct field PodSpec.spec.restartPolicy"),
    ],
)
def test_a_field_that_no_pod_has_is_a_fault(said, spec, fault):
    assert fault in said(pod(spec))[0].faults[0]


def test_a_kind_that_kubernetes_has_no_more_is_a_fault(said):
    (answer,) = said({"apiVersion": "policy/v1beta1", "kind": "PodDisruptionBudget"})
    assert 'no kind "PodDisruptionBudget" is registered for version "policy/v1beta1"' in answer.faults[0]


def test_the_program_is_found_where_it_is_named_or_kept(tmp_path: Path):
    kept = tmp_path / "pod-security-0.36.4"
    assert find_program({"HEADRACE_CACHE": str(tmp_path)}) is None
    kept.touch(mode=0o700)
    assert find_program({"HEADRACE_CACHE": str(tmp_path)}) == kept
    assert find_program({"HEADRACE_POD_SECURITY": str(tmp_path)}) is None
    assert find_program({"HEADRACE_POD_SECURITY": str(kept)}) == kept


def test_the_program_is_built_where_a_relative_path_says(tmp_path: Path):
    go = tmp_path / "go"
    go.write_text('#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\ntouch "$2"\n')
    go.chmod(0o700)
    build = Path(__file__).with_name("build")
    subprocess.run([build, "kept/program"], cwd=tmp_path, env=os.environ | {"GO": str(go)}, check=True, timeout=20)
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["program"]
