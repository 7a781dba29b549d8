"""The specification's samples, applied verbatim, become Ready on a real API server."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.cluster.world import API, HPA, LWS, World, condition, engine_flags, example, gpus
from tools.sandbox.agent import USER as AGENT
from tools.sandbox.cluster import wait_until
from tools.sandbox.metacontroller import USER as METACONTROLLER
from tools.sandbox.operator import Operator

SAMPLES = ("llama2-cache", "llama2-7b-service", "llama2-endpoint")
NAMESPACE = "inference-system"

with_real_lws = pytest.mark.skipif("LWS_MANAGER" not in os.environ, reason="only the real LWS manager makes pods")


@pytest.fixture(scope="module")
def samples(operator: Operator) -> Iterator[World]:
    """The first three samples, Ready."""
    world = World(operator, NAMESPACE)
    world.create_namespace(NAMESPACE)
    kinds = (
        (API, "InferenceEndpoint"),
        (API, "InferenceService"),
        (API, "ModelCache"),
        ("v1", "PersistentVolumeClaim"),
    )
    wait_until(lambda: not any(world.names(*kind) for kind in kinds), "what other tests made there is gone")
    operator.cluster.apply([example(name) for name in SAMPLES])
    world.wait_ready("llama2-cache", "ModelCache")
    world.wait_ready("llama2-7b-service")
    world.wait_ready("llama2-endpoint", "InferenceEndpoint", "Available")
    yield world
    world.remove_services()


def test_the_service_is_ready_and_says_so_in_the_specifications_words(samples: World) -> None:
    status = samples.wait_ready("llama2-7b-service")["status"]
    ready = condition({"status": status}, "Ready")
    assert status["phase"] == "Ready"
    assert (ready["reason"], ready["status"]) == ("InferenceReady", "True")
    assert ready["message"].startswith("Inference service is ready and accepting requests")
    assert status["endpoints"]["internal"] == "http://llama2-7b-service.inference-system.svc:8000"
    assert {it["type"] for it in status["conditions"]} == {
        "Ready", "ModelLoaded", "GPUAllocated", "ServiceReady", "Healthy", "UpdateAvailable", "ChildConflict",
        "SpecApplied",
    }  # fmt: skip


def test_the_cache_is_ready_with_its_claim_and_job(samples: World) -> None:
    status = samples.wait_ready("llama2-cache", "ModelCache")["status"]
    assert (status["phase"], status["downloadProgress"]) == ("Ready", 100)
    claim = samples.get("v1", "PersistentVolumeClaim", "llama2-cache-cache")
    assert claim is not None
    assert claim["spec"]["resources"]["requests"]["storage"] == "50Gi"
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    jobs = samples.names("batch/v1", "Job")
    assert sum(job.startswith("llama2-cache-download-") for job in jobs) == 1


def test_the_endpoint_is_available_at_its_host(samples: World) -> None:
    status = samples.wait_ready("llama2-endpoint", "InferenceEndpoint", "Available")["status"]
    by_name = {it["name"]: it for it in status["endpoints"]}
    assert by_name["http-api"]["url"] == "https://llama2.example.com"
    assert by_name["grpc-api"]["status"] == "GRPCUnavailable"
    service = samples.get("v1", "Service", "llama2-endpoint-endpoint")
    assert service is not None
    assert [port["name"] for port in service["spec"]["ports"]] == ["http-api"]


def test_the_group_is_a_leader_worker_set_of_two_nodes(samples: World) -> None:
    workload = samples.group("llama2-7b-service")
    assert workload["spec"]["leaderWorkerTemplate"]["size"] == 2
    flags = engine_flags(workload)
    assert "--tensor-parallel-size=2" in flags
    assert "--data-parallel-size=2" in flags
    assert "--max-model-len=8192" in flags
    assert len(flags) == len({flag.partition("=")[0] for flag in flags})


def test_the_autoscaler_scales_the_group(samples: World) -> None:
    autoscaler = samples.get(HPA, "HorizontalPodAutoscaler", "llama2-7b-service")
    assert autoscaler is not None
    assert autoscaler["spec"]["scaleTargetRef"]["kind"] == "LeaderWorkerSet"
    assert (autoscaler["spec"]["minReplicas"], autoscaler["spec"]["maxReplicas"]) == (1, 5)
    assert autoscaler["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 300


@with_real_lws
def test_the_groups_pods_are_scheduled_with_their_gpus(samples: World) -> None:
    pods = [pod for pod in samples.all_of("v1", "Pod") if gpus(pod)]
    assert [gpus(pod) for pod in pods] == [2, 2]
    assert all(pod["metadata"]["name"].startswith("llama2-7b-service-") for pod in pods)
    assert all(pod["spec"]["nodeName"].startswith("mi300x-") for pod in pods)


def test_three_forced_resyncs_write_nothing(samples: World) -> None:
    samples.settled()
    before = samples.syncs()
    assert samples.resyncs(3) == []
    assert samples.syncs() - before >= 9, "three parents were to be synced three times"


def test_the_second_spelling_makes_a_deployment(world: World) -> None:
    world.apply(example("second-spelling/basic-test"))
    assert world.wait_ready("basic-test")["status"]["phase"] == "Ready"
    assert world.deployment("basic-test")["spec"]["replicas"] == 1
    assert "basic-test-model" in world.names(API, "ModelCache")


def test_the_second_spelling_makes_a_group_of_four(world: World) -> None:
    world.apply(example("second-spelling/distributed-test"))
    status = world.wait_ready("distributed-test")["status"]
    assert status["phase"] == "Ready"
    assert status["distributed"] == {"leaderReady": 1, "workersReady": 3}
    assert world.group("distributed-test")["spec"]["leaderWorkerTemplate"]["size"] == 4


def test_deleting_the_parents_removes_every_child(world: World) -> None:
    for name in SAMPLES:
        world.apply(example(name))
    world.wait_ready("llama2-endpoint", "InferenceEndpoint", "Available")
    kinds = (
        ("apps/v1", "Deployment"), (LWS, "LeaderWorkerSet"), (HPA, "HorizontalPodAutoscaler"), ("v1", "Service"),
        ("policy/v1", "PodDisruptionBudget"), ("networking.k8s.io/v1", "Ingress"),
        ("v1", "PersistentVolumeClaim"), ("batch/v1", "Job"),
    )  # fmt: skip
    assert sum(len(world.names(*kind)) for kind in kinds) >= 8
    world.remove_services()
    wait_until(lambda: not any(world.names(*kind) for kind in kinds), "every child is gone")


def test_no_write_for_the_samples_is_refused_by_rights_or_policies(samples: World) -> None:
    written = [it for it in samples.cluster.audit_writes() if it.user in (AGENT, METACONTROLLER)]
    ours = [it for it in written if it.namespace == NAMESPACE]
    assert {it.user for it in ours} == {AGENT, METACONTROLLER}
    assert [it for it in ours if it.code in (401, 403)] == []
    policies = samples.cluster.list("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy")
    assert {it["metadata"]["name"] for it in policies} >= {"inference-agent-binds", "inference-children"}
