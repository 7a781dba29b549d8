"""Answers stay at home: what stands in the cluster may be anybody's, and no answer acts anywhere else."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from app.hooks import kinds
from app.hooks.home import Home, StrayAnswerError, sync_at_home
from app.hooks.kinds import HOOKS
from app.inferenceendpoint import own as endpoint_own
from app.inferenceservice import own as service_own
from app.kube.fields import spec_fields, within
from app.kube.manifest import LAST_APPLIED, Manifest, annotated, kind_key, last_applied
from app.metacontroller.keep import GRANTS
from app.metacontroller.protocol import SyncRequest, SyncResponse
from app.modelcache import own as cache_own
from app.serving.http import build_app
from app.settings import Settings
from tests.calls import NAMESPACE, NOW, Answer, ask, manifest, stored
from tests.golden.replay import ANSWERS, case_name, children_of, load
from tests.inferenceendpoint import endpoint
from tests.inferenceservice import service
from tests.modelcache import cache

BLOCKED = service.spec(vllm={"engineArgs": {"host": "x"}})
UNREADABLE = {"model": 3}
CONTAINER = {"securityContext": {"allowPrivilegeEscalation": True, "privileged": True}}
OWNER = {"apiVersion": "inference.ai/v1alpha1", "kind": "GPUPool", "name": "default", "uid": "1", "controller": False}


def forged(child: Manifest, **claims: Any) -> Manifest:
    """A child whose annotation says that something else was applied."""
    after = copy.deepcopy(child)
    said = json.loads(after["metadata"]["annotations"][LAST_APPLIED])
    after["metadata"]["annotations"][LAST_APPLIED] = json.dumps(merged(said, claims))
    return after


def merged(value: Any, changes: Any) -> Any:
    if isinstance(value, dict) and isinstance(changes, dict):
        return value | {key: merged(value.get(key), item) for key, item in changes.items()}
    return changes


ELSEWHERE = {"metadata": {"namespace": "victim", "ownerReferences": [OWNER], "finalizers": ["keep/me"]}}
CLAIMS = [
    pytest.param(ELSEWHERE, id="another namespace and owner"),
    pytest.param({"kind": "Pod", "apiVersion": "v1"}, id="another kind"),
    pytest.param({"metadata": {"name": "other"}}, id="another name"),
    pytest.param({"metadata": {"generateName": "x-"}}, id="a name to come"),
    pytest.param({"spec": {"template": {"spec": {"hostNetwork": True, "serviceAccountName": "root"}}}}, id="rights"),
    pytest.param({"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]}, id="rules"),
    pytest.param({"roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}}, id="a role"),
    pytest.param({"subjects": [{"kind": "User", "name": "mallory"}]}, id="a subject"),
    pytest.param({"spec": {"ingress": [{}], "podSelector": {}}}, id="an open policy"),
    pytest.param({"spec": {"accessModes": [{"name": {}}]}}, id="names that are none"),
    pytest.param({"spec": {"resources": {"requests": {"storage": "1Pi"}}}}, id="a large claim"),
    pytest.param({"spec": 3}, id="no spec"),
    pytest.param({"metadata": {"labels": {"controller-uid": "another"}}}, id="another parent"),
    pytest.param({"metadata": {"labels": {"inference.ai/x y": "a b"}}}, id="a label that is none"),
    pytest.param({"metadata": {"labels": {"app.kubernetes.io/name": "x"}}}, id="another value of a label"),
    pytest.param({"metadata": {"labels": None, "annotations": None}}, id="no labels"),
    pytest.param({"spec": {"template": {"spec": {"securityContext": None}}}}, id="no security context"),
    pytest.param({"spec": {"template": {"spec": {"containers": []}}}}, id="no containers"),
    pytest.param({"spec": {"template": {}, "selector": {}, "ports": []}}, id="nothing in it"),
]
SOURCE = {"model": {"name": "org/m", "source": "huggingface://org/m"}}
KEYS = {"distributed": {"enabled": True, "size": 2, "mpi": {"enabled": True}}, "resources": {"totalGpus": 2}}


def keys_at_work() -> list[Manifest]:
    return [stored(child) for child in ask("inferenceservice", service.spec(**KEYS)).children]


def waiting() -> list[Manifest]:
    return [stored(child) for child in ask("inferenceservice", service.spec(**SOURCE)).children]


def downloading() -> list[Manifest]:
    first = ask("modelcache", cache.spec())
    claims = [stored(it, {"phase": "Bound"}) for it in first.children if it["kind"] == "PersistentVolumeClaim"]
    return [stored(child) for child in ask("modelcache", cache.spec(), children=claims).children]


def with_everything() -> dict[str, Any]:
    return service.spec(
        autoscaling={"enabled": True, "maxReplicas": 3},
        networking={"ingress": {"enabled": True, "host": "a.example"}},
    )


Case = tuple[str, Mapping[str, Any], Callable[[], list[Manifest]]]
RUNNING: list[Any] = [
    pytest.param(("inferenceservice", service.spec(), service.running), id="a service that serves"),
    pytest.param(
        ("inferenceservice", with_everything(), lambda: service.running(with_everything())), id="with everything"
    ),
    pytest.param(("inferenceservice", service.spec(**SOURCE), waiting), id="a service that waits for its cache"),
    pytest.param(("inferenceservice", BLOCKED, service.running), id="a blocked service"),
    pytest.param(("inferenceservice", UNREADABLE, service.running), id="a service that cannot be read"),
    pytest.param(("inferenceservice", service.spec(**KEYS), keys_at_work), id="a service whose keys are made"),
    pytest.param(("inferenceservice", UNREADABLE, keys_at_work), id="the same, that cannot be read"),
    pytest.param(("modelcache", cache.spec(), downloading), id="a cache that downloads"),
    pytest.param(("modelcache", cache.spec(), cache.filled), id="a cache that is filled"),
    pytest.param(("modelcache", {"modelName": 3}, downloading), id="a cache that cannot be read"),
    pytest.param(("inferenceendpoint", endpoint.spec(), lambda: endpoint.observed(endpoint.spec())), id="an endpoint"),
    pytest.param(
        ("inferenceendpoint", {}, lambda: endpoint.observed(endpoint.spec())), id="an endpoint that cannot be read"
    ),
]
every_state = pytest.mark.parametrize("case", RUNNING)


def answer_to(case: Case, children: list[Manifest]) -> Answer:
    kind, spec, _ = case
    return ask(kind, spec, children=children)


@every_state
@pytest.mark.parametrize("claims", CLAIMS)
def test_a_forged_annotation_changes_no_child(case: Case, claims: dict[str, Any]) -> None:
    children = case[2]()
    assert children
    honest = answer_to(case, children)
    assert by_key(answer_to(case, [forged(it, **claims) for it in children])) == by_key(honest)


@every_state
def test_an_annotation_that_leaves_out_security_contexts_changes_no_child(case: Case) -> None:
    """The answer would have pods with privileges, which is a 500."""

    def without(value: Any) -> Any:
        if isinstance(value, list):
            return [without(item) for item in value]
        return {k: without(v) for k, v in value.items() if k != "securityContext"} if isinstance(value, dict) else value

    children = case[2]()
    silent = copy.deepcopy(children)
    for child in silent:
        said = json.loads(child["metadata"]["annotations"][LAST_APPLIED])
        child["metadata"]["annotations"][LAST_APPLIED] = json.dumps(without(said))
    assert by_key(answer_to(case, silent)) == by_key(answer_to(case, children))


@every_state
def test_an_annotation_of_very_many_values_counts_as_missing(case: Case) -> None:
    """To parse 250 KB of empty lists for each child would cost more than the rest of the sync."""
    children = case[2]()
    full = [forged(it, more=[[]] * 80_000) for it in children]
    assert [annotated(it) for it in full] == [{}] * len(children)
    assert {} not in [annotated(it) for it in children]
    assert by_key(answer_to(case, full)) == by_key(answer_to(case, children))


@every_state
def test_server_side_apply_keeps_no_annotation_and_changes_nothing(case: Case) -> None:
    """The same after a backup was restored without it."""
    children = case[2]()
    bare = copy.deepcopy(children)
    for child in bare:
        del child["metadata"]["annotations"][LAST_APPLIED]
    assert by_key(answer_to(case, bare)) == by_key(answer_to(case, children))


def by_key(answer: Answer) -> dict[str, Any]:
    """Without the number of replicas: unless it is known never to have been applied, it is answered as it stands."""
    return {
        f"{kind_key(it)} {it['metadata']['name']}": it
        | {"spec": {key: value for key, value in it.get("spec", {}).items() if key != "replicas"}}
        for it in answer.children
    }


def test_rights_are_built_again_while_a_spec_cannot_be_read() -> None:
    bad = [
        child | {"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]} if child["kind"] == "Role" else
        child | {"spec": {"podSelector": child["spec"]["podSelector"], "ingress": [{}]}}
        if child["kind"] == "NetworkPolicy" else child
        for child in keys_at_work()
    ]  # fmt: skip
    answer = ask("inferenceservice", UNREADABLE, children=bad)
    assert answer.child("Role")["rules"] == [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]}]
    assert answer.child("NetworkPolicy")["spec"]["policyTypes"] == ["Ingress"]
    assert len(answer.child("NetworkPolicy")["spec"]["ingress"]) == 2


POD: dict[str, Any] = {
    "metadata": {"labels": {"inference.ai/service": "demo", "inference.ai/role": "leader"}},
    "spec": {"containers": [{"name": "leader", "image": "evil"}]},
}


def changed(kind: str, changes: dict[str, Any], children: list[Manifest]) -> list[Manifest]:
    """Children of which the one of this kind stands otherwise, and is annotated so."""
    found = [it for it in children if it["kind"] == kind]
    assert found
    return [it for it in children if it["kind"] != kind] + [
        stored(merged({k: v for k, v in it.items() if k != "status"}, changes)) for it in found
    ]


def pod(**fields: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": fields}}}


def containers(*found: dict[str, Any]) -> dict[str, Any]:
    return pod(containers=list(found))


OTHER = {"inference.ai/service": "other"}
UNCONFINED = {"type": "Unconfined"}
EXPRESSION = {"matchExpressions": [{"key": "a", "operator": "Exists"}]}
LEADER: dict[str, Any] = {"name": "leader", "securityContext": {"allowPrivilegeEscalation": False}}
SECCOMP = {"securityContext": {"seccompProfile": UNCONFINED}}
STRANGERS = [
    pytest.param("Deployment", {"spec": {"selector": {"matchLabels": {"a": "b"}}}}, id="other pods"),
    pytest.param("Deployment", containers({"name": "evil", **CONTAINER}), id="another container"),
    pytest.param("Deployment", containers({"name": "leader", **CONTAINER}), id="a privileged container"),
    pytest.param("Deployment", containers({"name": "leader"}), id="privilege escalation by default"),
    pytest.param("Deployment", pod(hostNetwork=True), id="the node's network"),
    pytest.param("Deployment", pod(hostPID=True), id="the node's processes"),
    pytest.param("Deployment", pod(hostIPC=True), id="the node's memory"),
    pytest.param("Deployment", pod(serviceAccountName="metacontroller"), id="another account"),
    pytest.param("Deployment", pod(serviceAccount="metacontroller"), id="another account, as it was called"),
    pytest.param("Deployment", pod(securityContext={"runAsUser": 0}), id="root"),
    pytest.param("Deployment", pod(initContainers=[{"name": "evil"}]), id="an init container"),
    pytest.param("Deployment", pod(volumes=[{"name": "x", "hostPath": {"path": "/"}}]), id="the node's files"),
    pytest.param("Deployment", pod(nodeName="n"), id="a node of its choice"),
    pytest.param("Deployment", pod(automountServiceAccountToken=True), id="a token"),
    pytest.param("Deployment", pod(securityContext={"sysctls": [{"name": "a", "value": "1"}]}), id="a kernel setting"),
    pytest.param("Deployment", pod(securityContext={"seLinuxOptions": {"type": "spc_t"}}), id="an SELinux type"),
    pytest.param("Deployment", pod(securityContext={"windowsOptions": {"hostProcess": True}}), id="a host process"),
    pytest.param("Deployment", pod(securityContext={"seccompProfile": UNCONFINED}), id="all system calls"),
    pytest.param("Deployment", pod(securityContext={"appArmorProfile": UNCONFINED}), id="no AppArmor"),
    pytest.param("Deployment", pod(volumes=[{"name": "x", "gitRepo": {"repository": "x"}}]), id="git on the node"),
    pytest.param("Deployment", pod(volumes=[{"name": "x", "flexVolume": {"driver": "x"}}]), id="a driver of the node"),
    pytest.param(
        "Deployment", containers(LEADER | {"ports": [{"containerPort": 1, "hostPort": 80}]}), id="a host port"
    ),
    pytest.param("Deployment", containers(merged(LEADER, SECCOMP)), id="all system calls of a container"),
    pytest.param("Deployment", {"spec": {"selector": EXPRESSION}}, id="pods by an expression"),
    pytest.param("Service", {"spec": {"selector": {"app": "other"}}}, id="a Service of other pods"),
    pytest.param("Service", {"spec": {"type": "ExternalName", "externalName": "x"}}, id="a Service of another host"),
    pytest.param("NetworkPolicy", {"spec": {"podSelector": EXPRESSION}}, id="a policy of pods by an expression"),
    pytest.param("PodDisruptionBudget", {"spec": {"selector": EXPRESSION}}, id="a budget of pods by an expression"),
    pytest.param(
        "PodDisruptionBudget", {"spec": {"selector": {"matchLabels": {"a": "b"}}}}, id="a budget of one more label"
    ),
    pytest.param("Service", {"metadata": {"name": "other"}}, id="a Service of another name"),
    pytest.param("PodDisruptionBudget", {"spec": {"selector": {"matchLabels": OTHER}}}, id="a budget of other pods"),
    pytest.param("NetworkPolicy", {"spec": {"podSelector": {"matchLabels": OTHER}}}, id="a policy of other pods"),
]


@pytest.mark.parametrize(("kind", "changes"), STRANGERS)
@pytest.mark.parametrize("spec", [service.spec(), BLOCKED, UNREADABLE], ids=["served", "blocked", "unreadable"])
def test_an_object_that_we_would_not_have_made_is_left_out(
    kind: str, changes: dict[str, Any], spec: dict[str, Any]
) -> None:
    strange = changed(kind, changes, service.running())
    assert kind not in ask("inferenceservice", spec, children=strange).kinds() or "name" in changes.get("metadata", {})


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"selector": {"inference.ai/role": "worker"}}, id="workers"),
        pytest.param({"selector": {"app": "other"}}, id="one more label"),
        pytest.param({"type": "ExternalName", "externalName": "x"}, id="another host"),
    ],
)
@pytest.mark.parametrize("spec", [endpoint.spec(), {}], ids=["served", "unreadable"])
def test_an_endpoint_keeps_no_service_of_other_pods(spec: dict[str, Any], changes: dict[str, Any]) -> None:
    ours = endpoint.observed(endpoint.spec())
    assert "Service" in ask("inferenceendpoint", spec, children=ours).kinds()
    strange = changed("Service", {"spec": changes}, ours)
    assert "Service" not in ask("inferenceendpoint", spec, children=strange).kinds()


@pytest.mark.parametrize("spec", [with_everything(), UNREADABLE], ids=["served", "unreadable"])
def test_an_autoscaler_of_another_kind_is_left_out(spec: dict[str, Any]) -> None:
    ours = service.running(with_everything())
    assert "HorizontalPodAutoscaler" in ask("inferenceservice", spec, children=ours).kinds()
    strange = changed("HorizontalPodAutoscaler", {"spec": {"scaleTargetRef": {"kind": "StatefulSet"}}}, ours)
    assert "HorizontalPodAutoscaler" not in ask("inferenceservice", spec, children=strange).kinds()


def test_in_its_place_ours_is_made_once_it_is_gone() -> None:
    strange = changed("Deployment", pod(hostNetwork=True), service.running())
    answer = ask("inferenceservice", service.spec(), children=strange)
    assert "Deployment" not in answer.kinds()
    left = [it for it in strange if it["kind"] != "Deployment"]
    assert ask("inferenceservice", service.spec(), children=left).child("Deployment") == service.call().child(
        "Deployment"
    )


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        pytest.param("RoleBinding", {"roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}}, id="another role"),
        pytest.param("Role", {"metadata": {"name": "other"}}, id="a role of another name"),
        pytest.param("Job", {"metadata": {"name": "other"}}, id="a Job of another name"),
        pytest.param("Job", pod(serviceAccountName="default-token-reader"), id="a Job of another account"),
        pytest.param("Job", containers({"name": "evil"}), id="a Job of another container"),
    ],
)
def test_a_cache_keeps_no_stranger(kind: str, changes: dict[str, Any]) -> None:
    found = changed(kind, changes, downloading())
    for spec in (cache.spec(), {"modelName": 3}):
        answer = ask("modelcache", spec, children=found)
        assert not [it for it in answer.children if it["kind"] == kind and it["metadata"]["name"] == "other"]
        assert kind not in answer.kinds() or "name" in changes.get("metadata", {})


def test_a_claim_is_never_a_stranger() -> None:
    """Removing it would remove the model."""
    found = changed("PersistentVolumeClaim", {"metadata": {"labels": {"app.kubernetes.io/name": "x"}}}, cache.filled())
    assert "PersistentVolumeClaim" in ask("modelcache", cache.spec(), children=found).kinds()


def test_without_a_folder_in_the_settings_what_mounts_it_is_a_stranger() -> None:
    spec, allowed = cache.spec(hostPath="/mnt/models/ns/tiny"), Settings(host_path_prefixes=("/mnt/models",))
    jobs = [stored(it) for it in ask("modelcache", spec, settings=allowed).children if it["kind"] == "Job"]
    assert "Job" in ask("modelcache", spec, children=jobs, settings=allowed).kinds()
    assert "Job" not in ask("modelcache", spec, children=jobs).kinds()


STRAY = [
    pytest.param(manifest("v1", "Service", "a") | {"metadata": {"name": "a", "namespace": "victim"}}, "namespace"),
    pytest.param(manifest("v1", "Service", "a") | {"metadata": {"name": "a"}}, "namespace"),
    pytest.param(manifest("v1", "Secret", "a"), "kind"),
    pytest.param(manifest("apps/v1", "Deployment", "a", **pod(hostNetwork=True)), "privilege"),
    pytest.param(manifest("apps/v1", "Deployment", "a", **containers({"name": "leader", **CONTAINER})), "privilege"),
    pytest.param(
        manifest("apps/v1", "Deployment", "a", **pod(volumes=[{"name": "x", "hostPath": {"path": "/"}}])), "privilege"
    ),
    pytest.param(manifest("apps/v1", "Deployment", "a", **pod(serviceAccountName="root")), "privilege"),
]


def broken(child: Manifest) -> kinds.Sync:
    def sync(request: SyncRequest, settings: Settings, now: datetime) -> SyncResponse:
        return SyncResponse(status={}, children=[child])

    return sync


def body() -> dict[str, Any]:
    children: dict[str, Any] = {"Service.v1": {}, "Deployment.apps/v1": {}}
    return {"parent": {"metadata": {"name": "demo", "namespace": NAMESPACE}, "spec": {}}, "children": children}


@pytest.mark.parametrize(("child", "reason"), STRAY)
def test_an_answer_that_would_act_elsewhere_is_not_given(child: Manifest, reason: str) -> None:
    request = SyncRequest.model_validate(body())
    with pytest.raises(StrayAnswerError) as caught:
        sync_at_home(Home(lambda *_: True), broken(child), request, Settings(), NOW)
    assert caught.value.reason == reason


def test_it_is_a_500_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    stray = manifest("v1", "Service", "a") | {"metadata": {"name": "a", "namespace": "victim"}}
    hooks = kinds._at_home(Home(lambda *_: True), HOOKS["modelcache"]._replace(sync=broken(stray)))
    monkeypatch.setitem(HOOKS, "modelcache", hooks)
    before = counted()
    response = TestClient(build_app(Settings())).post("/sync/modelcache", json=body())
    assert response.status_code == 500
    assert "Service a is not in the namespace ns" in response.json()["error"]
    assert counted() == before + 1


def counted() -> float:
    labels = {"kind": "modelcache", "reason": "namespace"}
    return REGISTRY.get_sample_value("inference_operator_stray_answers_total", labels) or 0.0


HOMES: Mapping[str, Callable[[str, Manifest], bool]] = {
    "inferenceservice": service_own.is_ours,
    "modelcache": cache_own.is_ours,
    "inferenceendpoint": endpoint_own.is_ours,
}
KEPT = [(path, child) for path in ANSWERS for child in load(path)[children_of(load(path))]]


@pytest.mark.parametrize(("path", "child"), KEPT, ids=[f"{case_name(it)}-{child['kind']}" for it, child in KEPT])
def test_what_we_make_is_known_as_ours_and_kept_as_it_was_applied(path: Path, child: Manifest) -> None:
    """A field that is missing in app/kube/fields.py would be dropped at the second look, which restarts pods."""
    kind = path.parent.parent.name
    parent = load(path.with_name(path.name.replace(".response.", ".request."))).get("parent", {})
    assert kind not in HOMES or HOMES[kind](parent["metadata"]["name"], child)
    fields = spec_fields(kind_key(child))
    if fields is None:
        assert child["kind"] in GRANTS
    else:
        assert within(child["spec"], fields) == child["spec"], "add the field to app/kube/fields.py"
        assert last_applied(stored(child)) == child


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(annotation=json_values | st.text(max_size=20), spec=json_values)
def test_whatever_stands_in_an_annotation_is_survived(annotation: Any, spec: Any) -> None:
    for case in (service.spec(), BLOCKED, UNREADABLE):
        children = service.running()
        for child in children:
            child["metadata"]["annotations"][LAST_APPLIED] = json.dumps(
                {**child, "spec": spec} if isinstance(annotation, dict) else annotation
            )
        answer = ask("inferenceservice", case, children=children)
        assert {it["metadata"]["namespace"] for it in answer.children} == {NAMESPACE}
