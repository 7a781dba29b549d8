"""What people of one namespace try: nothing of it acts in another namespace, and nothing that runs is lost."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest

from app.kube.manifest import LAST_APPLIED
from tests.cluster.people import change, editor, refused, tenant
from tests.cluster.world import API, World, condition, service
from tools.sandbox.api import ApiError, Object
from tools.sandbox.cluster import wait_until

BLOCKED = {"spec": {"vllm": {"engineArgs": {"host": "x"}}}}
"""Nothing of a blocked service is touched: its children are answered as they stand."""
KINDS = (
    ("apps/v1", "Deployment"),
    ("batch/v1", "Job"),
    ("v1", "ServiceAccount"),
    ("v1", "Service"),
    ("v1", "PersistentVolumeClaim"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    (API, "ModelCache"),
    (API, "InferenceService"),
)


@pytest.fixture
def victim(world: World) -> str:
    """Another namespace, with an account of its own."""
    name = f"{world.namespace}-victim"
    world.create_namespace(name)
    return name


def everything(world: World, namespace: str) -> set[str]:
    found = [item for kind in KINDS for item in world.cluster.list(*kind, namespace)]
    return {f"{item['kind']} {item['metadata']['name']}" for item in found}


def forged(item: Object, **claims: Any) -> Object:
    """A patch by which an object claims that something else was applied."""
    said = {key: item[key] for key in ("apiVersion", "kind")} | {"metadata": {"name": item["metadata"]["name"]}}
    claimed = said | claims
    claimed["metadata"] = said["metadata"] | claims.get("metadata", {})
    return {"metadata": {"annotations": {LAST_APPLIED: json.dumps(claimed)}}}


def pool(world: World) -> Object:
    """An owner that lives in no namespace: the garbage collector would not take its children for lost."""
    found = {"apiVersion": API, "kind": "GPUPool", "metadata": {"name": f"{world.namespace}-none"}}
    spec = {"nodeSelector": {"matchLabels": {"nobody": "has"}}, "namespaceSelector": {"matchLabels": {"nobody": "has"}}}
    [made] = world.cluster.apply(found | {"spec": spec})
    return {"apiVersion": API, "kind": "GPUPool", "name": made["metadata"]["name"], "uid": made["metadata"]["uid"]}


def test_a_tenants_forged_annotation_makes_nothing_in_another_namespace(world: World, victim: str) -> None:
    """Through the ModelCache that a blocked service answers again."""
    before, owner = everything(world, victim), pool(world)
    try:
        with tenant(world.cluster, world.namespace) as mallory:
            cache: Object = {"apiVersion": API, "kind": "ModelCache"}
            mine = {"metadata": {"name": "a-model", "namespace": victim}, "spec": {"modelName": "x"}}
            assert "Forbidden" in refused(mallory, cache | mine)
            world.apply(service("a", model={"name": "org/tiny", "source": "huggingface://org/tiny"}))
            made = world.cluster.wait_for(API, "ModelCache", "a-model", world.namespace, lambda _: True)
            change(mallory, world.get(API, "InferenceService", "a") or {}, BLOCKED)
            world.wait_condition("Ready", "False", "cannot be set here", name="a")
            spec = {"modelName": "org/tiny", "existingClaim": "victims-data"}
            claims = {"metadata": {"namespace": victim, "ownerReferences": [owner]}, "spec": spec}
            change(mallory, made, forged(made, **claims))
            world.resyncs(2)
        assert everything(world, victim) == before
        assert (world.get(API, "ModelCache", "a-model") or {})["spec"] == made["spec"]
    finally:
        world.cluster.delete(API, "GPUPool", owner["name"])


def evil_deployment(world: World, uid: str, labels: dict[str, str]) -> Object:
    """Under a name and a label of ours, with the rights of the node."""
    containers = [{"name": "leader", "image": "evil", "securityContext": {"privileged": True}}]
    host = {"hostNetwork": True, "volumes": [{"name": "root", "hostPath": {"path": "/"}}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "b-leader", "namespace": world.namespace, "labels": {"controller-uid": uid}},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers} | host},
        },
    }


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param({"a": "b"}, id="with pods of its own"),
        pytest.param({"inference.ai/service": "b", "inference.ai/role": "leader"}, id="with pods called as ours"),
    ],
)
def test_an_editors_object_under_our_name_is_removed_and_copied_nowhere(
    world: World, victim: str, labels: dict[str, str]
) -> None:
    before = everything(world, victim)
    world.apply(service("b", vllm={"engineArgs": {"host": "x"}}))
    blocked = world.wait_condition("Ready", "False", "cannot be set here", name="b")
    evil = evil_deployment(world, blocked["metadata"]["uid"], labels)
    elsewhere = {"namespace": victim, "labels": evil["metadata"]["labels"]}
    claim = forged(evil, metadata=elsewhere, spec=evil["spec"])["metadata"]["annotations"]
    with editor(world.cluster, world.namespace) as eve:
        eve.create(
            eve.resource("apps/v1", kind="Deployment"), evil | {"metadata": evil["metadata"] | {"annotations": claim}}
        )
    wait_until(lambda: world.get("apps/v1", "Deployment", "b-leader") is None, "the stranger is removed")
    world.resyncs(1)
    assert everything(world, victim) == before
    world.patch("b", {"spec": {"vllm": {"engineArgs": None}}})
    world.wait_ready("b")
    pod = world.deployment("b")["spec"]["template"]["spec"]
    assert not pod.keys() & {"hostNetwork"}
    assert [it["image"] for it in pod["containers"]] != ["evil"]


LIES: tuple[dict[str, Any], ...] = (
    {"spec": {"template": {"spec": {"containers": [{"name": {}}]}}}},
    {"spec": {"template": {"spec": {"hostNetwork": True}}}},
    {"spec": {"replicas": 50}},
    {"metadata": {"namespace": "kube-system"}},
    {"metadata": {"finalizers": ["keep/me"]}},
    {},
)


def test_forged_annotations_restart_nothing_and_the_service_stays_ready(world: World) -> None:
    """Names that are none, the node's network, other groups, another namespace, a finalizer, and nothing at all."""
    world.apply(service())
    world.wait_ready()
    world.settled()
    before = world.deployment()
    with editor(world.cluster, world.namespace) as eve:
        for lie in LIES:
            patch = forged(before, **lie)
            change(eve, before, patch)
            wait_until(partial(is_mended, world, patch), f"what was applied stands there again after {lie}")
    world.settled()
    after = world.deployment()
    kept = ("uid", "finalizers")
    assert {key: after["metadata"].get(key) for key in kept} == {key: before["metadata"].get(key) for key in kept}
    assert after["spec"] == before["spec"]
    assert not world.resyncs(1), "and then nothing is written any more"
    assert condition(world.get(API, "InferenceService", "demo"), "Ready")["status"] == "True"
    assert not [it for it in world.events("demo") if it["reason"] == "SyncError"]


def is_mended(world: World, lie: Object) -> bool:
    said = world.deployment()["metadata"]["annotations"][LAST_APPLIED]
    return bool(said != lie["metadata"]["annotations"][LAST_APPLIED])


def test_a_tenant_cannot_write_what_the_operator_writes(world: World) -> None:
    with tenant(world.cluster, world.namespace) as mallory, pytest.raises(ApiError, match="orbidden"):
        mallory.list(mallory.resource(API, kind="GPURequest"), world.namespace)
