"""Which kinds the server has, how they are addressed, and how it tells a client so."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple


class Kind(NamedTuple):
    """One kind of object as an address names it."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """The kind's `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """The resource as errors name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


KSERVE = "serving.kserve.io"
KINDS = (
    Kind("", "v1", "Namespace", "namespaces", False),
    Kind("", "v1", "ServiceAccount", "serviceaccounts"),
    Kind("", "v1", "ConfigMap", "configmaps"),
    Kind("", "v1", "Secret", "secrets"),
    Kind("", "v1", "Service", "services"),
    Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    Kind("", "v1", "Pod", "pods"),
    Kind("", "v1", "Event", "events"),
    Kind("apps", "v1", "Deployment", "deployments"),
    Kind("apps", "v1", "StatefulSet", "statefulsets"),
    Kind("apps", "v1", "DaemonSet", "daemonsets"),
    Kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    Kind("batch", "v1", "Job", "jobs"),
    Kind("batch", "v1", "CronJob", "cronjobs"),
    Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
    Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    Kind("rbac.authorization.k8s.io", "v1", "Role", "roles"),
    Kind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
    Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", False),
    Kind(KSERVE, "v1beta1", "InferenceService", "inferenceservices"),
    Kind(KSERVE, "v1alpha1", "ServingRuntime", "servingruntimes"),
    Kind(KSERVE, "v1alpha1", "ClusterServingRuntime", "clusterservingruntimes", False),
    Kind(KSERVE, "v1alpha1", "InferenceGraph", "inferencegraphs"),
    Kind(KSERVE, "v1alpha1", "LocalModelCache", "localmodelcaches", False),
    Kind(KSERVE, "v1alpha1", "LocalModelNodeGroup", "localmodelnodegroups", False),
    Kind(KSERVE, "v1alpha1", "ClusterStorageContainer", "clusterstoragecontainers", False),
    Kind("sparkoperator.k8s.io", "v1beta2", "SparkApplication", "sparkapplications"),
    Kind("flink.apache.org", "v1beta1", "FlinkDeployment", "flinkdeployments"),
    Kind("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects"),
    Kind("keda.sh", "v1alpha1", "TriggerAuthentication", "triggerauthentications"),
    Kind("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors"),
    Kind("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors"),
    Kind("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules"),
    Kind("external-secrets.io", "v1", "ExternalSecret", "externalsecrets"),
)
_ADDRESS = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/(?P<version>[^/]+)(?:/namespaces/(?P<space>[^/]+))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?"
)


class Address(NamedTuple):
    """What a path names: all objects of a kind, those of a namespace, or one."""

    kind: Kind
    namespace: str | None
    name: str | None


def addressed(path: str, kinds: Iterable[Kind]) -> Address | None:
    """Return what a path names, None where it names no kind that is there."""
    found = _ADDRESS.fullmatch(path)
    if found is None:
        space = re.fullmatch(r"/api/v1/namespaces/([^/]+)", path)
        return Address(KINDS[0], None, space[1]) if space else None
    for kind in kinds:
        if (kind.group, kind.version, kind.plural) == (found["group"] or "", found["version"], found["plural"]):
            return Address(kind, found["space"], found["name"])
    return None


def discovered(path: str, kinds: Iterable[Kind]) -> dict[str, Any] | None:
    """Return what `/api` and `/apis` tell, a group's kinds for `/api/v1` or `/apis/GROUP/VERSION`; None for others."""
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": list(_groups(kinds))}
    api_version = path.removeprefix("/apis/").removeprefix("/api/")
    found = list(_resources(kind for kind in kinds if kind.api_version == api_version))
    return {"kind": "APIResourceList", "groupVersion": api_version, "resources": found} if found else None


def _groups(kinds: Iterable[Kind]) -> Iterator[dict[str, Any]]:
    versions: dict[str, list[str]] = {}
    for kind in kinds:
        if kind.group and kind.version not in versions.setdefault(kind.group, []):
            versions[kind.group].append(kind.version)
    for group, names in versions.items():
        told = [{"groupVersion": f"{group}/{name}", "version": name} for name in names]
        yield {"name": group, "versions": told, "preferredVersion": told[0]}


def _resources(kinds: Iterable[Kind]) -> Iterator[dict[str, Any]]:
    for kind in kinds:
        verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
        yield {"name": kind.plural, "kind": kind.kind, "namespaced": kind.namespaced, "verbs": verbs}
        yield {"name": f"{kind.plural}/status", "kind": kind.kind, "namespaced": kind.namespaced, "verbs": ["get"]}
