"""Pods as the Pod Security level `restricted` wants them, a root file system that is not written, and no token."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from headrace.manifests.findings import Rule, Spot
from headrace.manifests.objects import look, mapping, mappings, name_of, namespace_of, texts
from headrace.manifests.workloads import RUNTIMES, Container, Manifests, Pod

_VOLUMES = ("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret")
_LINUX_TYPES = ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
_SYSCTLS = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
)
_ABSENT = "absent"
_ENFORCE = "pod-security.kubernetes.io/enforce"


def _effective(pod: Pod, container: Container, field: str) -> Any:
    own = look(container.spec, f"securityContext.{field}")
    return own if own is not None else look(pod.spec, f"securityContext.{field}")


def _each(manifests: Manifests) -> Iterator[tuple[Pod, Container, str]]:
    for pod in manifests.pods:
        for container in pod.containers:
            yield pod, container, f"{container.path}.securityContext"


def _shown(value: Any) -> str:
    return _ABSENT if value is None else str(value).lower()


def _unless(field: str, fits: Callable[[Any], bool]) -> Callable[[Manifests], Iterator[Spot]]:
    def find(manifests: Manifests) -> Iterator[Spot]:
        for pod, container, path in _each(manifests):
            if not fits(value := _effective(pod, container, field)):
                yield container.owner, f"{path}.{field}", f"{field} is {_shown(value)}"

    return find


def _own(field: str, fits: Callable[[Any], bool]) -> Callable[[Manifests], Iterator[Spot]]:
    def find(manifests: Manifests) -> Iterator[Spot]:
        for _, container, path in _each(manifests):
            if not fits(value := look(container.spec, f"securityContext.{field}")):
                yield container.owner, f"{path}.{field}", f"{field} is {_shown(value)}"

    return find


def _capabilities(manifests: Manifests) -> Iterator[Spot]:
    for _, container, path in _each(manifests):
        if "ALL" not in texts(look(container.spec, "securityContext.capabilities.drop")):
            yield container.owner, f"{path}.capabilities.drop", "ALL is not dropped"
        if added := [
            e for e in texts(look(container.spec, "securityContext.capabilities.add")) if e != "NET_BIND_SERVICE"
        ]:
            yield container.owner, f"{path}.capabilities.add", f"{', '.join(added)} added"


def _namespaces(manifests: Manifests) -> Iterator[Spot]:
    for pod in manifests.pods:
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            if pod.spec.get(field):
                yield pod.owner, f"{pod.path}.{field}", f"{field} is true"


def _ports(manifests: Manifests) -> Iterator[Spot]:
    for _, container, _ in _each(manifests):
        for at, port in mappings(container.spec.get("ports")):
            if port.get("hostPort"):
                yield container.owner, f"{container.path}.ports[{at}].hostPort", f"hostPort is {port['hostPort']}"


def _volumes(manifests: Manifests) -> Iterator[Spot]:
    for pod in manifests.pods:
        for at, volume in mappings(pod.spec.get("volumes")):
            for kind in volume:
                if kind not in (*_VOLUMES, "name"):
                    yield pod.owner, f"{pod.path}.volumes[{at}].{kind}", f"a volume of kind {kind}"


def _token(manifests: Manifests) -> Iterator[Spot]:
    for pod in manifests.pods:
        said = pod.spec.get("automountServiceAccountToken")
        if said is not False and pod.owner.get("kind") not in RUNTIMES:
            yield (
                pod.owner,
                f"{pod.path}.automountServiceAccountToken",
                f"automountServiceAccountToken is {_shown(said)}",
            )


def _accounts(manifests: Manifests) -> Iterator[Spot]:
    used = {(namespace_of(pod.owner), str(pod.spec.get("serviceAccountName"))) for pod in manifests.pods}
    for account in manifests.of_kind("ServiceAccount"):
        own = (namespace_of(account), name_of(account))
        if own in used and account.get("automountServiceAccountToken") is not False:
            yield account, "automountServiceAccountToken", "the account gives its token to pods that do not refuse it"


def _namespaced(manifests: Manifests) -> Iterator[Spot]:
    for namespace in manifests.of_kind("Namespace"):
        said = mapping(look(namespace, "metadata.labels")).get(_ENFORCE)
        if said != "restricted":
            yield namespace, f"metadata.labels.{_ENFORCE}", f"the level is {said or 'absent'}"


def _unusual(manifests: Manifests) -> Iterator[Spot]:
    for pod in manifests.pods:
        places = [(pod.owner, f"{pod.path}.securityContext", mapping(pod.spec.get("securityContext")))]
        for each in pod.containers:
            places.append((each.owner, f"{each.path}.securityContext", mapping(each.spec.get("securityContext"))))
        for owner, path, context in places:
            for field, found in _odd(context):
                yield owner, f"{path}.{field}", found


def _odd(context: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if context.get("procMount") not in (None, "Default"):
        yield "procMount", f"procMount is {context['procMount']}"
    linux = mapping(context.get("seLinuxOptions"))
    if linux.get("user") or linux.get("role") or linux.get("type", "") not in _LINUX_TYPES:
        yield "seLinuxOptions", "seLinuxOptions sets a user, a role or a type of its own"
    if mapping(context.get("windowsOptions")).get("hostProcess"):
        yield "windowsOptions.hostProcess", "hostProcess is true"
    if mapping(context.get("appArmorProfile")).get("type") not in (None, "RuntimeDefault", "Localhost"):
        yield "appArmorProfile", "AppArmor is turned off"
    for at, each in mappings(context.get("sysctls")):
        if each.get("name") not in _SYSCTLS:
            yield f"sysctls[{at}]", f"sysctl {each.get('name')} is not a safe one"


_REFUSED = "a namespace of level `restricted` refuses the pod"

RULES = (
    Rule(
        "run-as-non-root",
        _unless("runAsNonRoot", lambda value: value is True),
        f"an image whose user is root runs as root; {_REFUSED}",
        "say securityContext.runAsNonRoot: true",
    ),
    Rule(
        "run-as-root",
        _unless("runAsUser", lambda value: value != 0),
        f"whoever breaks out of the process is root; {_REFUSED}",
        "run as another user than 0",
    ),
    Rule(
        "privilege-escalation",
        _own("allowPrivilegeEscalation", lambda value: value is False),
        f"a set-user-id program makes root of anybody; {_REFUSED}",
        "say securityContext.allowPrivilegeEscalation: false in each container",
    ),
    Rule(
        "privileged",
        _own("privileged", lambda value: not value),
        f"the container is the node; {_REFUSED}",
        "take privileged out",
    ),
    Rule(
        "capabilities",
        _capabilities,
        f"the container may do what it never needs; {_REFUSED}",
        "say securityContext.capabilities: {drop: [ALL]} in each container",
    ),
    Rule(
        "seccomp",
        _unless("seccompProfile", lambda value: mapping(value).get("type") in ("RuntimeDefault", "Localhost")),
        f"every system call of the kernel can be attacked; {_REFUSED}",
        "say securityContext.seccompProfile: {type: RuntimeDefault}",
    ),
    Rule(
        "host-namespace",
        _namespaces,
        f"the pod sees the node's network or processes; {_REFUSED}",
        "take hostNetwork, hostPID and hostIPC out",
    ),
    Rule(
        "host-port",
        _ports,
        f"only one such pod fits on a node, and network policies do not hold there; {_REFUSED}",
        "take hostPort out and let a Service lead to the pod",
    ),
    Rule("volume-kind", _volumes, f"the node's files are in reach; {_REFUSED}", f"use one of {', '.join(_VOLUMES)}"),
    Rule(
        "security-context",
        _unusual,
        f"it takes away what protects the node; {_REFUSED}",
        "leave the field at its default",
    ),
    Rule(
        "writable-root",
        _own("readOnlyRootFilesystem", lambda value: value is True),
        "who breaks in can change the program that runs",
        "say readOnlyRootFilesystem: true, and mount an emptyDir where something is written (/tmp)",
    ),
    Rule(
        "service-account-token",
        _token,
        "whoever breaks in can speak to the API server in the pod's name; nothing here needs to",
        "say automountServiceAccountToken: false in the pod",
    ),
    Rule(
        "account-token",
        _accounts,
        "a pod that forgets to refuse the token gets one",
        "say automountServiceAccountToken: false in the ServiceAccount too",
    ),
    Rule(
        "namespace-unrestricted",
        _namespaced,
        "any pod may be started there, whatever these manifests say of their own",
        f"label the Namespace with {_ENFORCE}: restricted",
    ),
)
