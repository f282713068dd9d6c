"""trials/rayjob.yaml is what KubeRay and Ray's second autoscaler take; nothing was started on a cluster."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler.v2.event_logger import AutoscalerEventLogger
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.instance_manager.subscribers.cloud_resource_monitor import CloudResourceMonitor
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil
from ray.core.generated.instance_manager_pb2 import Instance, InstanceUpdateEvent

MANIFEST = Path(__file__).parents[2] / "trials" / "rayjob.yaml"
PUBLISHED = Path(__file__).with_name("ray.io_rayjobs.yaml.gz")


@pytest.fixture
def job() -> dict[str, Any]:
    return dict(yaml.safe_load(MANIFEST.read_text()))


@pytest.fixture
def cluster(job: dict[str, Any]) -> dict[str, Any]:
    return dict(job["spec"]["rayClusterSpec"])


def pods(cluster: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        yield group["template"]["spec"]


def closed(schema: Any) -> Any:
    """The schema with keys refused that it does not name: an API server drops them, or refuses them when asked to."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    free = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    return inner if free or not isinstance(schema.get("properties"), dict) else inner | {"additionalProperties": False}


@pytest.fixture(scope="module")
def definition() -> jsonschema.Draft202012Validator:
    text = gzip.decompress(PUBLISHED.read_bytes())
    (published,) = (v for v in yaml.load(text, yaml.CSafeLoader)["spec"]["versions"] if v["name"] == "v1")
    schema = closed(published["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    return jsonschema.Draft202012Validator(schema)


def test_as_the_published_definition_says(definition: jsonschema.Draft202012Validator, job: dict[str, Any]) -> None:
    assert not [f"{error.json_path}: {error.message}" for error in definition.iter_errors(job)]
    group = job["spec"]["rayClusterSpec"]["workerGroupSpecs"][1]
    group["priorty"] = group.pop("priority")
    group["template"]["spec"]["containers"][0]["resources"] = {"limits": {"memory": "1000 GiB"}}
    assert {error.validator for error in definition.iter_errors(job)} >= {"additionalProperties", "pattern"}


@pytest.mark.skipif(not shutil.which("kubectl"), reason="needs kubectl")
def test_kubectl_reads_the_same(job: dict[str, Any]) -> None:
    """Its reader of YAML is another, and the file has anchors and merged keys."""
    command = ["kubectl", "label", "--local", "-o=json", f"--filename={MANIFEST}", "sweep=rayci"]
    read = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert read["metadata"].pop("labels") == {"sweep": "rayci"}
    assert read == job


def node_types(cluster: dict[str, Any]) -> AutoscalingConfig:
    resource = {"metadata": {"name": "rayci", "namespace": "default"}, "spec": cluster}
    return AutoscalingConfig(_derive_autoscaling_config_from_ray_cr(resource), skip_content_hash=True)


def started(cluster: dict[str, Any], trials: int, monitor: CloudResourceMonitor) -> dict[str, int]:
    """Nodes that the second autoscaler asks for when so many trials wait."""
    trial = {"CPU": 4.0, "GPU": 1.0, "memory": 20.0 * 2**30}
    request = SchedulingRequest(
        node_type_configs=node_types(cluster).get_node_type_configs(),
        disable_launch_config_check=True,
        resource_requests=ResourceRequestUtil.group_by_count([ResourceRequestUtil.make(trial)] * trials),
        recoverable_resource_availabilities=monitor.get_recoverable_resource_availabilities(),
        cloud_resource_availabilities=monitor.get_resource_availabilities(),
    )
    reply = ResourceDemandScheduler(AutoscalerEventLogger(None)).schedule(request)
    return {
        launch.instance_type: launch.count
        for launch in reply.to_launch
        if launch.instance_type not in ("headgroup", "driver")
    }


def test_on_demand_where_spot_does_not_come(cluster: dict[str, Any]) -> None:
    monitor = CloudResourceMonitor()
    assert started(cluster, 16, monitor) == {"spot": 2}
    assert started(cluster, 80, monitor) == {"spot": 8, "on-demand": 2}
    in_vain = InstanceUpdateEvent(instance_type="spot", new_instance_status=Instance.ALLOCATION_TIMEOUT)
    monitor.notify([in_vain])
    assert started(cluster, 16, monitor) == {"on-demand": 2}
    assert started(cluster, 48, monitor) == {"on-demand": 4, "spot": 2}


def test_every_pod(cluster: dict[str, Any]) -> None:
    assert cluster["rayVersion"] == version("ray")
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["enableInTreeAutoscaling"] and cluster["autoscalerOptions"]["version"] == "v2"
    for pod in pods(cluster):
        assert pod["restartPolicy"] == "Never", "what the second autoscaler asks for"
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
        (container,) = pod["containers"]
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        environment = {each["name"]: each for each in container["env"]}
        places = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert all(environment[name]["value"].startswith("/nvme/") for name in ("RAYCI_CACHE", "HF_HOME"))
        assert environment["RAYCI_DATA"]["value"] in places and {"/nvme", "/dev/shm"} <= places
        assert "secretKeyRef" in environment["HF_TOKEN"]["valueFrom"], "handed over by reference"
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


def test_trials_run_on_workers_alone(cluster: dict[str, Any]) -> None:
    types = node_types(cluster).get_node_type_configs()
    assert types["headgroup"].resources["CPU"] == types["driver"].resources["CPU"] == 0
    for group in cluster["workerGroupSpecs"][1:]:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        reserved = sum(int(group["rayStartParams"][name]) for name in ("memory", "object-store-memory"))
        assert reserved < int(limits["memory"].removesuffix("Gi")) * 2**30


def test_the_driver_is_not_on_the_head(job: dict[str, Any], cluster: dict[str, Any]) -> None:
    """So that it outlives one that comes back with its memory."""
    wanted = json.loads(job["spec"]["entrypointResources"])
    types = node_types(cluster).get_node_type_configs()
    able = [name for name, one in types.items() if all(one.resources.get(key, 0) >= wanted[key] for key in wanted)]
    assert able == ["driver"] and types["driver"].min_worker_nodes == types["driver"].max_worker_nodes == 1
    assert cluster["gcsFaultToleranceOptions"]["backend"] == "rocksdb"


@pytest.mark.parametrize(("code", "failed"), [(0, False), (1, False), (2, True), (130, True)])
def test_failed_trials_are_no_reason_for_another_cluster(code: int, failed: bool, job: dict[str, Any]) -> None:
    entrypoint = job["spec"]["entrypoint"]
    assert job["spec"]["submissionMode"] == "HTTPMode", "the operator submits it again where the head was lost"
    done = subprocess.run(["bash", "-c", f"rayci() {{ return {code}; }}; {entrypoint}"], check=False)
    assert bool(done.returncode) is failed


def test_what_belongs_to_a_cluster_is_marked() -> None:
    for line in MANIFEST.read_text().splitlines():
        specific = re.search(r"REGISTRY|nodeSelector:(?! \*)|tolerations:|serviceAccountName: &|s3://", line)
        assert not specific or "PLACEHOLDER" in line, line
