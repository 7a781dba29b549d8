"""Where pods find the model: one of a cache's volumes, a folder of the nodes, or a volume of their own."""

from __future__ import annotations

from typing import Any

import pytest

from app.api.v1alpha1.modelcache import CopyStatus
from app.inferenceservice.model_volume import choose_copy
from app.inferenceservice.observe import CacheState
from app.kube.manifest import Manifest
from app.settings import Settings
from tests.calls import Answer, manifest
from tests.inferenceservice.service import API, DISTRIBUTED, call, container, observed, pod, spec
from tests.security import violations

ONCE = {"accessMode": "ReadWriteOnce"}
GROUP = {"distributed": DISTRIBUTED["distributed"], "resources": {"totalGpus": 2}}
CACHED = {"storage": {"modelCache": "weights"}}


def cache(given: dict[str, Any] | None = None, ready: bool = True, **status: Any) -> Manifest:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    known = {"phase": "Ready" if ready else "Pending", "path": "tiny-1", "conditions": conditions} | status
    fields = {"spec": {"modelName": "org/tiny"} | (given or {}), "status": known}
    return manifest(API, "ModelCache", "weights", **fields)


def served(found: Manifest, settings: Settings | None = None, **parts: Any) -> Answer:
    return call(spec(**CACHED, **parts), related=[found], settings=settings)


def volume(answer: Answer, name: str = "model-store") -> dict[str, Any]:
    [found] = [it for it in pod(answer)["volumes"] if it["name"] == name]
    return {key: value for key, value in found.items() if key != "name"}


def writing(found: Manifest, settings: Settings | None = None) -> Answer:
    """A service that asks for a writable model."""
    return call(spec(storage=CACHED["storage"] | {"readOnly": False}), related=[found], settings=settings)


def mount(answer: Answer, name: str = "model-store") -> dict[str, Any]:
    [found] = [it for it in container(answer)["volumeMounts"] if it["name"] == name]
    return {key: value for key, value in found.items() if key != "name"}


def copies(*ready: bool) -> list[dict[str, Any]]:
    return [
        {"claimName": f"weights-cache-{it}", "ready": done, "path": f"tiny-1@{it}"} for it, done in enumerate(ready)
    ]


def test_a_folder_of_the_nodes_is_mounted_read_only() -> None:
    found = cache({"hostPath": "/mnt/ns/m"}, hostPath="/mnt/ns/m", copies=[{"claimName": "", "ready": True}])
    answer = writing(found, settings=Settings(host_path_prefixes=("/mnt",)))
    assert volume(answer) == {"hostPath": {"path": "/mnt/ns", "type": "Directory"}}
    assert mount(answer) == {"mountPath": "/model-store", "subPath": "m", "readOnly": True}


@pytest.mark.parametrize("path", ["/", "/etc", "/mnt", "/mnt/other/m", "/mnt/nsx", "/mnt/ns/../other"])
def test_a_folder_that_the_namespace_may_not_use_is_not_mounted_whatever_the_cache_says(path: str) -> None:
    """Who may write a ModelCache's status could name any folder."""
    found = cache({"hostPath": "/mnt/ns/m"}, hostPath=path, copies=[{"claimName": "", "ready": True}])
    answer = served(found, settings=Settings(host_path_prefixes=("/mnt",)))
    assert answer.conditions()["Ready"] == ("False", "ConfigurationError")
    assert "Deployment" not in answer.kinds()


@pytest.mark.parametrize(
    ("given", "claim", "expected"),
    [
        ({"existingClaim": "theirs"}, "theirs", True),
        ({}, "theirs", True),
        ({"existingClaim": "weights-cache"}, "weights-cache", True),
        ({}, "weights-cache", None),
    ],
    ids=["a claim of others", "its name in the status only", "a claim of that name", "the cache's own"],
)
def test_only_a_claim_that_the_cache_made_can_be_mounted_writable(
    given: dict[str, Any], claim: str, expected: bool | None
) -> None:
    answer = writing(cache(given, claimName=claim))
    assert volume(answer)["persistentVolumeClaim"].get("readOnly") is expected
    assert mount(answer).get("readOnly") is expected


def test_a_service_reads_one_copy_where_that_one_keeps_the_model() -> None:
    answer = served(cache(ONCE | {"caching": {"replicas": 3}}, copies=copies(True, True, True)))
    claim = volume(answer)["persistentVolumeClaim"]["claimName"]
    number = claim.rpartition("-")[2]
    assert f"--model=/model-store/tiny-1@{number}" in container(answer)["args"]


def state(*claims: str) -> CacheState:
    found = tuple(CopyStatus(claim_name=claim, ready=True) for claim in claims)
    plain: dict[str, Any] = dict.fromkeys(
        ("name", "size", "storage_class", "phase", "path", "claim", "version", "message", "model", "model_name"), ""
    )
    return CacheState(
        **plain, progress=None, usable=True, facts={}, source={}, access_mode="ReadWriteOnce", keeps=True,
        host_path="", copies=found, is_leaving=False,
    )  # fmt: skip


def test_services_spread_over_the_copies_the_same_at_every_look() -> None:
    names = [f"team/s{it}" for it in range(60)]
    first = [choose_copy(name, state("a", "b", "c")) for name in names]
    assert first == [choose_copy(name, state("a", "b", "c")) for name in names]
    assert all(sum(it.claim_name == claim for it in first if it) >= 10 for claim in "abc")


def test_a_service_whose_copy_is_not_filled_waits_for_it() -> None:
    answer = served(cache(ONCE, copies=copies(False)))
    assert "Deployment" not in answer.kinds()
    assert "fills the copy on PersistentVolumeClaim weights-cache-0" in answer.condition("Ready")["message"]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        pytest.param(GROUP, "is distributed", id="a group"),
        pytest.param({"replicas": 2}, "may have several replicas", id="replicas"),
        pytest.param(
            {"autoscaling": {"enabled": True, "maxReplicas": 3}, "resources": {"totalGpus": 1, "cpuRequest": "1"}},
            "may have several replicas", id="an autoscaler",
        ),
    ],
)  # fmt: skip
def test_pods_of_several_nodes_cannot_read_one_node_volumes(parts: dict[str, Any], words: str) -> None:
    answer = served(cache(ONCE, copies=copies(True)), **parts)
    assert answer.conditions()["Ready"] == ("False", "ConfigurationError")
    assert words in answer.condition("Ready")["message"]
    assert "set the ModelCache's accessMode to ReadWriteMany" in answer.condition("Ready")["message"]


def test_what_the_claim_can_do_counts_and_not_what_the_spec_says() -> None:
    once = served(cache(accessMode="ReadWriteOnce", copies=copies(True)), **GROUP)
    assert "ModelCache weights is ReadWriteOnce" in once.condition("Ready")["message"]
    many = served(cache(ONCE, accessMode="ReadWriteMany", copies=copies(True)), **GROUP)
    assert "LeaderWorkerSet" in many.kinds()


def test_where_nothing_is_kept_every_pod_fetches_before_it_serves() -> None:
    source = {"type": "s3", "s3": {"bucket": "my-models", "key": "a/", "credentialsSecret": "keys"}}
    answer = served(cache({"caching": {"enabled": False}, "source": source, "size": "50Gi"}))
    [fetcher] = pod(answer)["initContainers"]
    variables = {it["name"]: it.get("value", it.get("valueFrom")) for it in fetcher["env"]}
    assert fetcher["command"] == ["download"]
    assert (variables["INFERENCE_VOLUME"], variables["INFERENCE_PATH"]) == ("/cache", "tiny-1")
    assert variables["AWS_ACCESS_KEY_ID"]["secretKeyRef"]["name"] == "keys"
    assert "INFERENCE_JOB" not in variables
    assert {"name": "model-store", "mountPath": "/cache"} in fetcher["volumeMounts"]
    assert volume(answer) == {"emptyDir": {"sizeLimit": "50Gi"}}
    assert variables["INFERENCE_VOLUME_BYTES"] == str(50 * 2**30), "the pod would be evicted for more"
    assert "--model=/model-store/tiny-1" in container(answer)["args"]
    assert violations(pod(answer)) == []


def test_a_source_that_names_none_is_the_repository_of_the_models_name() -> None:
    [fetcher] = pod(served(cache({"caching": {"enabled": False}})))["initContainers"]
    variables = {it["name"]: it.get("value") for it in fetcher["env"]}
    assert variables["INFERENCE_SOURCE"] == '{"repository":"org/tiny","revision":"main"}'
    assert "INFERENCE_VOLUME_BYTES" not in variables


def leaving(found: Manifest) -> Manifest:
    return found | {"metadata": found["metadata"] | {"deletionTimestamp": "2026-01-01T11:00:00Z"}}


def test_a_cache_on_its_way_out_serves_nobody_new() -> None:
    answer = served(leaving(cache(claimName="weights-cache")))
    assert "Deployment" not in answer.kinds()
    assert "ModelCache weights is being deleted" in answer.condition("Ready")["message"]


def test_what_runs_stays_when_its_cache_goes_and_says_so() -> None:
    there = cache(claimName="weights-cache")
    first = served(there)
    for related in ([leaving(there)], []):
        later = call(spec(**CACHED), children=observed(first), related=related, status=first.status)
        assert later.child("Deployment") == first.child("Deployment")
        assert "ModelCache weights" in later.condition("UpdateAvailable")["message"]


@pytest.mark.parametrize(
    ("source", "size"),
    [
        pytest.param("huggingface://Qwen/Qwen3-8B", "18209Mi", id="weights that are known, and a margin"),
        pytest.param("huggingface://org/tiny", "100Gi", id="else the settings'"),
    ],
)
def test_the_cache_of_a_source_is_as_large_as_its_model(source: str, size: str) -> None:
    answer = call(spec(model={"name": "m", "source": source}))
    assert answer.child("ModelCache")["spec"]["size"] == size
