"""Whatever can be put together from these manifests has no mistake that `headrace manifests lint` knows of.

The custom resources of others, which nobody has given a schema here, are held against what their APIs need.
"""

from __future__ import annotations

import pytest

from headrace.manifests.documents import Object, objects_of
from headrace.manifests.linting import Manifest, lint
from headrace.manifests.schemas import default_crds
from tests.manifests.golden import COMBINATIONS, GOLDEN, MANIFESTS, WHOLE, combined, whole
from tests.manifests.test_release import one


def found(name: str, objects: list[Object]) -> list[str]:
    """Return what lint says of objects, a line for each finding."""
    report = lint(Manifest(name, objects, {id(each): name for each in objects}), default_crds())
    return [str(each.as_dict()) for each in report.findings]


@pytest.mark.parametrize("name", WHOLE)
def test_nothing_is_wrong_with_what_is_applied(name):
    assert found(name, whole(name)) == []


@pytest.mark.parametrize("components", COMBINATIONS, ids="+".join)
def test_nothing_is_wrong_with_a_combination(components):
    assert found("+".join(components), combined(components)) == []


def test_golden_files_are_read_as_manifests():
    for path in GOLDEN.rglob("*.yaml"):
        assert objects_of(path.read_text("utf-8"), path.name)


@pytest.mark.parametrize("components", [(), *COMBINATIONS], ids="+".join)
def test_ports_and_volumes_have_names_of_their_own_in_a_pod(components):
    objects = combined(components)
    spec = one(objects, "InferenceService")["spec"]
    runtime = one(objects, "ServingRuntime", spec["predictor"]["model"]["runtime"])["spec"]
    predictor = {name: runtime.get(name, []) + spec["predictor"].get(name, []) for name in ("containers", "volumes")}
    pods = [predictor, *([spec["transformer"]] if "transformer" in spec else [])]
    pods += [each["spec"]["template"]["spec"] for each in objects if each["kind"] == "Deployment"]
    for pod in pods:
        ports = [port for container in pod["containers"] for port in container.get("ports", ())]
        for named in (pod["volumes"], pod["containers"], ports):
            names = [each["name"] for each in named]
            assert len(set(names)) == len(names)
        assert len({port["containerPort"] for port in ports}) == len(ports)
        assert all(len(port["name"]) <= 15 for port in ports)
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_spark_runs_the_command_in_a_restricted_pod_and_keeps_the_store():
    objects = combined(("spark-pipeline",))
    application = one(objects, "SparkApplication", "fraud-pipeline-payments")
    spec = application["spec"]
    assert (application["apiVersion"], spec["type"], spec["mode"]) == (
        "sparkoperator.k8s.io/v1beta2",
        "Python",
        "cluster",
    )
    assert spec["mainApplicationFile"].endswith("/headrace/cli/__main__.py")
    assert spec["arguments"][:4] == ["pipeline", "run", "fraud", "--engine=spark"]
    (volume,) = [each for each in spec["volumes"] if "persistentVolumeClaim" in each]
    assert one(objects, "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])
    assert {"name": volume["name"], "mountPath": "/store"} in spec["driver"]["volumeMounts"]
    for role in ("driver", "executor"):
        assert spec[role]["podSecurityContext"]["runAsNonRoot"] is True
        assert spec[role]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert spec[role]["labels"]["app.kubernetes.io/part-of"] == "headrace"
    assert one(objects, "ServiceAccount", spec["driver"]["serviceAccount"])["automountServiceAccountToken"] is True
    assert not [each for each in objects if each["kind"] == "Deployment" and "payments" in each["metadata"]["name"]]


def test_flink_runs_the_entry_point_that_the_engines_page_describes():
    objects = combined(("flink-pipeline", "hopsworks-secrets"))
    deployment = one(objects, "FlinkDeployment", "fraud-pipeline-payments")
    spec, told = deployment["spec"], MANIFESTS.with_name("docs").joinpath("engines.md").read_text("utf-8")
    assert deployment["apiVersion"] == "flink.apache.org/v1beta1"
    assert spec["job"]["args"][-2:] == ["feature_pipelines.engines.flink_job", "/etc/headrace/job.json"]
    for said in (spec["job"]["entryClass"], spec["job"]["upgradeMode"], *spec["job"]["args"]):
        assert f"`{said}`" in told
    assert (
        spec["flinkConfiguration"].items()
        >= {"python.execution-mode": "thread", "state.backend.type": "rocksdb"}.items()
    )
    assert spec["taskManager"]["replicas"] == 1
    volumes = spec["podTemplate"]["spec"]["volumes"]
    claims = [each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each]
    assert [one(objects, "PersistentVolumeClaim", claim)["spec"]["accessModes"] for claim in claims] == [
        ["ReadWriteMany"]
    ]
    (job,) = [each["configMap"]["name"] for each in volumes if "configMap" in each]
    assert "job.json" in one(objects, "ConfigMap", job)["data"]


def test_monitors_choose_pods_and_ports_that_are_there():
    objects = combined(("monitoring",))
    spec, runtime = one(objects, "InferenceService")["spec"], one(objects, "ServingRuntime", "headrace-triton")["spec"]
    (ours,) = one(objects, "PodMonitor", "fraud-transformer")["spec"]["podMetricsEndpoints"]
    assert ours["portNumber"] in [port["containerPort"] for port in spec["transformer"]["containers"][0]["ports"]]
    (theirs,) = one(objects, "PodMonitor", "fraud-predictor")["spec"]["podMetricsEndpoints"]
    assert theirs["port"] in [port["name"] for port in runtime["containers"][0]["ports"]]
    service, monitor = one(objects, "Service", "fraud-pipelines"), one(objects, "ServiceMonitor", "fraud-pipelines")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    pods = [each["spec"]["template"] for each in objects if each["kind"] == "Deployment"]
    assert len(pods) == 2
    for pod in pods:
        assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        assert service["spec"]["ports"][0]["targetPort"] in [p["name"] for p in pod["spec"]["containers"][0]["ports"]]


def test_a_pod_that_holds_everything_is_scraped_at_every_port_that_has_metrics():
    objects = combined(("monitoring", "onnxruntime", "collocated", "embedded-store"))
    spec = one(objects, "InferenceService")["spec"]["predictor"]
    runtime = one(objects, "ServingRuntime", spec["model"]["runtime"])["spec"]
    ports = [port for each in (*runtime["containers"], *spec["containers"]) for port in each["ports"]]
    numbers = {port["name"]: port["containerPort"] for port in ports}
    scraped = {}
    for monitor in ("fraud-transformer", "fraud-predictor"):
        for endpoint in one(objects, "PodMonitor", monitor)["spec"]["podMetricsEndpoints"]:
            number = endpoint.get("portNumber") or numbers[endpoint["port"]]
            scraped[number] = endpoint["relabelings"][0]["replacement"]
    assert scraped == {8080: "transformer", 8000: "predictor", 9100: "pipeline", 9101: "pipeline"}


def test_what_keda_is_told_has_a_value_and_not_an_average():
    spec = one(combined(("keda-autoscaling",)), "InferenceService")["spec"]
    for component in ("transformer", "predictor"):
        (metric,) = spec[component]["autoScaling"]["metrics"]
        # KServe reads `value` alone of a target outside the pod, and fails on one that has none.
        assert metric["external"]["target"].keys() == {"type", "value"}
        assert spec[component]["minReplicas"] < spec[component]["maxReplicas"]
