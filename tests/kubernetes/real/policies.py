"""Who may make which pods, where the server is too old to know the levels of Pod Security.

Before levels there were PodSecurityPolicies, which the server itself holds pods to. One of them says what the level
`restricted` says; only the user who judges is bound to it. Such a policy fills in what a pod leaves out, so a pod is
restricted by its own words only if nothing of it is filled in.
"""

from __future__ import annotations

from tests.kubernetes.real.requests import Requests
from tests.kubernetes.store import Object

POLICIES = "/apis/policy/v1beta1/podsecuritypolicies"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
#: From this version on, the second number of it, a server has no such policies, and levels by itself.
LEVELS_SINCE = 25
_ANY = {"rule": "RunAsAny"}
_SECCOMP = "seccomp.security.alpha.kubernetes.io/allowedProfileNames"
RESTRICTED = {
    "privileged": False,
    "allowPrivilegeEscalation": False,
    "requiredDropCapabilities": ["ALL"],
    "volumes": [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ],
    "runAsUser": {"rule": "MustRunAsNonRoot"},
    **dict.fromkeys(("seLinux", "supplementalGroups", "fsGroup"), _ANY),
}
PRIVILEGED = {
    "privileged": True,
    "allowPrivilegeEscalation": True,
    "allowedCapabilities": ["*"],
    "volumes": ["*"],
    **dict.fromkeys(("hostNetwork", "hostPID", "hostIPC"), True),
    **dict.fromkeys(("runAsUser", "seLinux", "supplementalGroups", "fsGroup"), _ANY),
}


def write_policies(requests: Requests) -> None:
    """Write the two policies, and the role of who judges: to make pods, by the restricted one."""
    _write(
        requests, POLICIES, "policy/v1beta1", "PodSecurityPolicy", "restricted", {"spec": RESTRICTED}, "runtime/default"
    )
    _write(requests, POLICIES, "policy/v1beta1", "PodSecurityPolicy", "any", {"spec": PRIVILEGED}, "*")
    use = {
        "apiGroups": ["policy"],
        "resources": ["podsecuritypolicies"],
        "resourceNames": ["restricted"],
        "verbs": ["use"],
    }
    make = {"apiGroups": [""], "resources": ["pods"], "verbs": ["create", "get", "patch"]}
    version, name = "rbac.authorization.k8s.io/v1", "judge"
    _write(requests, f"{_RBAC}/clusterroles", version, "ClusterRole", name, {"rules": [use, make]})
    bound = {
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
    }
    _write(requests, f"{_RBAC}/clusterrolebindings", version, "ClusterRoleBinding", name, bound)


def _write(
    requests: Requests, path: str, api_version: str, kind: str, name: str, content: Object, seccomp: str | None = None
) -> None:
    metadata: Object = {"name": name}
    if seccomp:
        metadata["annotations"] = {_SECCOMP: seccomp}
    requests.send("post", path, {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}).taken()
