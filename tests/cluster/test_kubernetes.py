"""The manifests: valid by the schemas of Kubernetes and KubeRay, safe, and of one mind."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from manifests import CLUSTER, Document, check, document, documents, manifests, pods

RAYCLUSTER = CLUSTER / "kuberay" / "raycluster.yaml"
RAYJOB = CLUSTER / "kuberay" / "rayjob.yaml"
KUEUE = CLUSTER / "kuberay" / "rayjob-kueue.yaml"
EVERY = [one for path in manifests() for one in documents(path)]


def identify(value: Any) -> str:
    return value.name if isinstance(value, Path) else str(value)


@pytest.mark.parametrize("path", manifests(), ids=identify)
def test_a_manifest_is_valid(path: Path) -> None:
    for one in documents(path):
        check(one)


BROKEN = {
    "no such field of a RayJob": (RAYJOB, "RayJob", ["spec", "backofLimit"], 3),
    "no such mode": (RAYJOB, "RayJob", ["spec", "rayClusterSpec", "authOptions", "mode"], "basic"),
    "no such field of a pod": (
        RAYCLUSTER,
        "RayCluster",
        ["spec", "headGroupSpec", "template", "spec", "securityContex"],
        {},
    ),
    "no number": (
        RAYCLUSTER,
        "RayCluster",
        ["spec", "workerGroupSpecs", 0, "maxReplicas"],
        "eight",
    ),
    "no quantity": (
        RAYCLUSTER,
        "RayCluster",
        ["spec", "autoscalerOptions", "resources", "limits", "memory"],
        "1 GB",
    ),
    "no such field of a Deployment": (
        CLUSTER / "services" / "mlflow.yaml",
        "Deployment",
        ["spec", "replica"],
        1,
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_manifest_is_refused(case: str) -> None:
    path, kind, (*keys, last), value = BROKEN[case]
    one = document(path, kind)
    inner: Any = one
    for key in keys:
        inner = inner[key]
    inner[last] = value
    with pytest.raises(jsonschema.ValidationError):
        check(one)


def test_all_containers_are_safe_and_have_what_they_may_use() -> None:
    found = [pod for one in EVERY for pod in pods(one)]
    assert len(found) == 12
    for pod in found:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert not pod.get("hostNetwork")
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["requests"] == container["resources"]["limits"]
            assert "memory" in container["resources"]["limits"]


def test_no_file_has_a_secret() -> None:
    assert "Secret" not in {one["kind"] for one in EVERY}
    variables = [
        variable
        for one in EVERY
        for pod in pods(one)
        for container in pod["containers"]
        for variable in container.get("env", [])
    ]
    secret = [
        one for one in variables if re.search("PASSWORD|SECRET|KEY|TOKEN|USERNAME", one["name"])
    ]
    assert len(secret) > 10
    assert all("secretKeyRef" in one["valueFrom"] for one in secret)
    for path in manifests():
        assert not re.search(r"://[^/\s@:]+:[^/\s@]+@", path.read_text()), path.name


def test_services_are_reached_within_the_cluster_alone() -> None:
    for one in EVERY:
        if one["kind"] == "Service":
            assert one["spec"].get("type", "ClusterIP") == "ClusterIP"


def test_every_address_is_that_of_a_service() -> None:
    ports = {
        one["metadata"]["name"]: {port["port"] for port in one["spec"]["ports"]}
        for one in EVERY
        if one["kind"] == "Service"
    }
    for path in manifests():
        named = re.findall(r"\w+://(?:\w+@)?(\w+):(\d+)", path.read_text())
        for host, port in named:
            assert int(port) in ports[host], f"{path.name}: {host}:{port}"
    assert ports == {"postgres": {5432}, "mlflow": {5000}}


def test_policies_select_pods_that_there_are() -> None:
    ours = [
        one["spec"]["template"]["metadata"]["labels"]
        for one in EVERY
        if one["kind"] in ("Deployment", "StatefulSet")
    ]
    # What KubeRay puts on its pods.
    ours += [{"ray.io/node-type": "head", "ray.io/is-ray-node": "yes"}]
    for one in documents(CLUSTER / "services" / "network.yaml"):
        peers = [peer for rule in one["spec"]["ingress"] for peer in rule["from"]]
        selectors = [one["spec"]["podSelector"], *(peer.get("podSelector", {}) for peer in peers)]
        for selector in selectors:
            wanted = selector.get("matchLabels", {}).items()
            assert any(wanted <= labels.items() for labels in ours), selector


def test_all_files_describe_one_cluster() -> None:
    """Three files for three ways to run it, and what differs between them is meant."""
    cluster = document(RAYCLUSTER, "RayCluster")["spec"]
    job, queued = document(RAYJOB, "RayJob"), document(KUEUE, "RayJob")
    of_job = copy.deepcopy(job["spec"]["rayClusterSpec"])
    head = of_job["headGroupSpec"]["template"]["spec"]
    assert head.pop("volumes") == [{"name": "sweep", "configMap": {"name": "sweep"}}]
    [container] = head["containers"]
    assert container.pop("volumeMounts")[0]["mountPath"] == "/etc/sweep"
    assert of_job == cluster

    assert document(KUEUE, "ConfigMap") == document(RAYJOB, "ConfigMap")
    assert queued["metadata"].pop("labels") == {"kueue.x-k8s.io/queue-name": "sweeps"}
    assert queued["spec"].pop("suspend") is True
    of_queued = queued["spec"]["rayClusterSpec"]
    # Kueue takes no RayJob whose cluster grows, or stays when the job has ended.
    assert of_queued.pop("enableInTreeAutoscaling") is False
    assert queued["spec"]["shutdownAfterJobFinishes"] is True
    of_job = job["spec"]["rayClusterSpec"]
    assert of_job.pop("enableInTreeAutoscaling") is True
    del of_job["autoscalerOptions"]
    [group] = of_queued["workerGroupSpecs"]
    assert group["replicas"] == group["minReplicas"] == group["maxReplicas"]
    of_job["workerGroupSpecs"] = [of_job["workerGroupSpecs"][0] | replicas(group)]
    assert queued == job


def replicas(group: Document) -> Document:
    return {key: group[key] for key in ("replicas", "minReplicas", "maxReplicas")}


def test_workers_come_when_lanes_wait_and_the_head_has_none() -> None:
    cluster = document(RAYCLUSTER, "RayCluster")["spec"]
    assert cluster["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}
    for group in cluster["workerGroupSpecs"]:
        assert group["replicas"] == group["minReplicas"] == 0 < group["maxReplicas"]
    for path in (RAYJOB, RAYCLUSTER):
        kind = document(path, "RayJob" if path is RAYJOB else "RayCluster")["spec"]
        assert kind.get("rayClusterSpec", kind)["authOptions"] == {"mode": "token"}
