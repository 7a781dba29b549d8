"""Services that read one ReadWriteOnce volume share a node, or are told why they do not start."""

from __future__ import annotations

from typing import Any

import pytest

from app.inferenceservice.sync import customize
from app.kube.manifest import Manifest
from app.metacontroller.protocol import Parent
from app.settings import Settings
from tests.calls import Answer, manifest, stored
from tests.inferenceservice.service import API, cache, call, pod, spec, workload

ONCE = {"storage": {"modelCache": "m"}, "resources": {"totalGpus": 8}}
READERS = {"matchLabels": {"inference.ai/claim": "m-cache"}}
AFFINITY = {"labelSelector": READERS, "topologyKey": "kubernetes.io/hostname"}
REQUEST = "GPURequest.inference.ai/v1alpha1"


def volume(**status: Any) -> Manifest:
    return cache("m", accessMode="ReadWriteOnce", **status)


def sibling(name: str = "a", node: str = "mi300x-0", of: str = "m") -> Manifest:
    """The GPURequest of a service that runs."""
    found = manifest(API, "GPURequest", name, status={"pods": [{"name": f"{name}-0", "node": node}]})
    found["metadata"]["labels"] = {"inference.ai/cache": of}
    return found


def pooled(*related: Manifest, **options: Any) -> Answer:
    """Where GPURequests are managed."""
    return call(spec(**ONCE), related=related, also_managed=[REQUEST], **options)


def asked(*related: Manifest, copies: Any = None, **options: Any) -> dict[str, Any]:
    answer = pooled(volume(copies=copies) if copies else volume(), *related, **options)
    found: dict[str, Any] = answer.child("GPURequest")["spec"]
    return found


def test_pods_that_read_one_volume_stay_on_one_node() -> None:
    answer = call(spec(**ONCE), related=[volume()])
    terms = pod(answer)["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert terms == [AFFINITY]
    labels = workload(answer)["spec"]["template"]["metadata"]["labels"]
    assert labels["inference.ai/claim"] == "m-cache", "the first one matches itself"


@pytest.mark.parametrize("mode", ["ReadWriteMany", ""])
def test_a_shared_volume_binds_nobody(mode: str) -> None:
    answer = call(spec(**ONCE), related=[cache("m", accessMode=mode)])
    assert "requiredDuringSchedulingIgnoredDuringExecution" not in pod(answer)["affinity"]["podAffinity"]
    assert "inference.ai/claim" not in workload(answer)["spec"]["template"]["metadata"]["labels"]


def test_the_pool_is_asked_for_the_node_where_the_volume_is() -> None:
    assert asked(sibling())["nodeSelector"] == {"kubernetes.io/hostname": "mi300x-0"}


def test_what_the_settings_select_still_counts() -> None:
    found = asked(sibling(), settings=Settings(node_selector={"accelerator": "amd-gpu"}))
    assert found["nodeSelector"] == {"accelerator": "amd-gpu", "kubernetes.io/hostname": "mi300x-0"}


@pytest.mark.parametrize(
    "other",
    [
        sibling(of="another"),
        sibling(node=""),
        sibling("demo"),
        sibling() | {"metadata": sibling()["metadata"] | {"namespace": "elsewhere"}},
    ],
    ids=["of another cache", "without a node", "its own", "of another namespace"],
)
def test_nobody_else_decides_the_node(other: Manifest) -> None:
    assert "nodeSelector" not in asked(other)


def test_a_service_on_another_copy_decides_nothing() -> None:
    copies = [{"claimName": f"m-cache-{it}", "ready": True} for it in range(2)]
    names = [f"s{it}" for it in range(8)]
    found = [
        "nodeSelector" in pooled(volume(copies=copies), sibling(name)).child("GPURequest")["spec"] for name in names
    ]
    assert True in found
    assert False in found


def test_the_pool_is_told_of_the_claim_and_decides_nothing_anew_for_it() -> None:
    shared, once = (pooled(it).child("GPURequest")["spec"] for it in (cache("m", accessMode="ReadWriteMany"), volume()))
    assert "claim" not in shared
    assert once == shared | {"claim": "m-cache"}, "the digest is the same, so what runs stays"
    copies = [{"claimName": f"m-cache-{it}", "ready": True} for it in range(2)]
    assert asked(copies=copies)["claim"] in ("m-cache-0", "m-cache-1")


def test_the_request_of_what_runs_learns_its_claim_and_forgets_it() -> None:
    before = stored(pooled(cache("m", accessMode="ReadWriteMany")).child("GPURequest"))
    after = pooled(volume(), children=[before]).child("GPURequest")
    assert after["spec"] == before["spec"] | {"claim": "m-cache"}
    again = pooled(cache("m", accessMode="ReadWriteMany"), children=[stored(after)]).child("GPURequest")
    assert again["spec"] == before["spec"]


def test_services_find_each_other_by_the_label_of_their_cache() -> None:
    found = pooled(volume()).child("GPURequest")
    assert found["metadata"]["labels"]["inference.ai/cache"] == "m"
    parent = Parent.model_validate({"metadata": {"name": "b", "namespace": "ns"}, "spec": spec(**ONCE)})
    [rule] = [it for it in customize(parent).related_resources if it.resource == "gpurequests"]
    assert rule.model_dump(by_alias=True, exclude_none=True) == {
        "apiVersion": API,
        "resource": "gpurequests",
        "namespace": "ns",
        "labelSelector": {"matchLabels": {"inference.ai/cache": "m"}},
    }


def refused(answer: Answer) -> Manifest:
    """The pool's answer to a request: that node is full."""
    request = answer.child("GPURequest")
    return manifest(
        API,
        "GPUAllocation",
        "demo",
        spec={
            "pool": "default",
            "digest": request["spec"]["digest"],
            "phase": "Pending",
            "message": "0 of 1 nodes have 8 free GPUs",
            "gpus": [],
        },
    )


def test_who_cannot_have_that_node_is_told_why_and_what_to_do() -> None:
    first = pooled(volume(), sibling())
    answer = pooled(volume(), sibling(), refused(first), children=[stored(first.child("GPURequest"))])
    assert answer.conditions()["Ready"] == ("False", "InsufficientGPU")
    message = answer.condition("Ready")["message"]
    for words in (
        "0 of 1 nodes",
        "m-cache is ReadWriteOnce",
        "service a reads it on node mi300x-0",
        "caching.replicas",
    ):
        assert words in message


@pytest.mark.parametrize(
    ("reason", "said"), [("Unschedulable", "no node takes pod demo-0."), ("Volume", "Multi-Attach error for volume x.")]
)
def test_a_pod_that_no_node_takes_or_that_waits_for_the_volume_is_told_of_the_neighbour(reason: str, said: str) -> None:
    first = call(spec(**ONCE), related=[volume()])
    failure = {"pod": "demo-0", "reason": reason, "error": "Resource", "message": said}
    request = manifest(API, "GPURequest", "demo", spec={"digest": "x"}, status={"failures": [failure]})
    children = [*(stored(it) for it in first.children), request]
    answer = pooled(volume(), sibling(), children=children)
    message = answer.condition("Ready")["message"]
    assert f"{said} PersistentVolumeClaim m-cache is ReadWriteOnce" in message
