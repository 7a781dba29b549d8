"""A service and its pool: what it asks, what it waits for, what it builds, and what it never builds anew."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from app.inferenceservice.grant import UNANSWERED_SECONDS
from app.inferenceservice.sync import customize
from app.kube.manifest import Manifest
from app.metacontroller.protocol import Parent
from app.settings import Settings
from tests.calls import EARLIER, NOW, Answer, manifest, stored
from tests.inferenceservice.service import API, DISTRIBUTED, call, container, observed, pod, spec, workload

REQUEST = f"GPURequest.{API}"
KNOWN = {"model": {"name": "meta-llama/Llama-3.1-70B-Instruct"}}
TWO = {"resources": {"totalGpus": 2, "autoOptimize": True}}
EXCLUSIVE = {"resources": {"totalGpus": 1, "sharing": "exclusive"}}


def asked(given: dict[str, Any] | None = None, **options: Any) -> Answer:
    """A service whose controller manages GPURequests."""
    return call(given, also_managed=[REQUEST], **options)


def request_of(answer: Answer, created: str = EARLIER, **status: Any) -> Manifest:
    """The GPURequest as the API server holds it, with what the agent says."""
    found = stored(answer.child("GPURequest"), status)
    found["metadata"]["creationTimestamp"] = created
    return found


def allocation(answer: Answer, phase: str = "Bound", **fields: Any) -> Manifest:
    """The pool's answer to the request in another answer, on its first shape."""
    asked_for = answer.child("GPURequest")["spec"]
    base = {"pool": "default", "digest": asked_for["digest"], "phase": phase}
    shape = {"shape": asked_for["shapes"][0]} if phase == "Bound" else {}
    return manifest(API, "GPUAllocation", "demo", spec=base | shape | fields)


def granted(given: dict[str, Any] | None = None, **fields: Any) -> Answer:
    """After the pool has said yes."""
    first = asked(given)
    return asked(given, children=[request_of(first)], related=[allocation(first, **fields)])


def running(answer: Answer, request: Manifest | None = None) -> list[Manifest]:
    return [it for it in observed(answer) if it["kind"] != "GPURequest"] + [request or request_of(answer)]


def kinds(children: Iterable[Manifest]) -> set[str]:
    return {it["kind"] for it in children}


# what is asked


def test_a_service_asks_its_pool_before_it_makes_pods() -> None:
    answer = asked(spec(resources={"totalGpus": 4, "pool": "big", "priority": 5}))
    assert "Deployment" not in answer.kinds()
    wanted = answer.child("GPURequest")["spec"]
    assert (wanted["pool"], wanted["priority"]) == ("big", 5)
    assert (wanted["nodes"], wanted["gpusPerNode"], wanted["replicas"]) == (1, 4, {"min": 1, "max": 1})
    assert answer.conditions()["GPUAllocated"] == ("False", "Pending")


def test_a_known_model_asks_for_shapes_by_product_the_smallest_gpu_first() -> None:
    shapes = asked(spec(**KNOWN, **TWO)).child("GPURequest")["spec"]["shapes"]
    products = [it["product"] for it in shapes]
    assert products.index("MI300X") < products.index("MI325X") < products.index("MI355X")
    assert "MI210" not in products
    assert all(it["tensor"] * it["pipeline"] * it["data"] == 2 for it in shapes)


def test_a_product_that_cannot_hold_the_model_is_named_with_numbers() -> None:
    excluded = asked(spec(**KNOWN, **TWO)).child("GPURequest")["spec"]["excluded"]
    [reason] = [it["reason"] for it in excluded if it["product"] == "MI210"]
    assert "GiB a GPU, MI210 has" in reason


def test_an_architecture_that_the_image_lacks_is_excluded() -> None:
    only = Settings(gpu_architectures=("gfx942",))
    wanted = asked(spec(**KNOWN, **TWO), settings=only).child("GPURequest")["spec"]
    assert "MI355X" not in [it["product"] for it in wanted["shapes"]]
    assert any("gfx950" in it["reason"] for it in wanted["excluded"] if it["product"] == "MI355X")


def test_a_model_that_nobody_knows_asks_for_one_shape_on_any_product() -> None:
    [shape] = asked().child("GPURequest")["spec"]["shapes"]
    assert "product" not in shape


def test_a_partition_is_asked_for_by_its_resource_name() -> None:
    resources = {"gpu": {"count": 8, "resource": "amd.com/cpx_nps4"}, "autoOptimize": True}
    model = {"model": {"name": "Qwen/Qwen3-8B"}}
    wanted = asked(spec(**model, resources=resources)).child("GPURequest")["spec"]
    assert wanted["resource"] == "amd.com/cpx_nps4"
    assert {it["product"] for it in wanted["shapes"]} >= {"MI300X-CPX-NPS4"}


def test_groups_beyond_the_guarantee_are_those_of_the_autoscaler() -> None:
    scaling = {"enabled": True, "minReplicas": 2, "maxReplicas": 5}
    given = spec(resources={"totalGpus": 1, "cpuRequest": "1"}, autoscaling=scaling)
    assert asked(given).child("GPURequest")["spec"]["replicas"] == {"min": 2, "max": 5}


def test_a_model_that_fits_nowhere_asks_nobody_and_says_what_would_do() -> None:
    given = spec(model={"name": "meta-llama/Llama-3.1-405B-Instruct"})
    answer = asked(given)
    assert "GPURequest" not in answer.kinds()
    assert answer.conditions()["Ready"] == ("False", "InsufficientGPU")
    assert "it would fit on" in answer.condition("Ready")["message"]
    assert answer.status["phase"] == "Failed"


def test_replicas_priority_and_pool_make_no_other_need() -> None:
    base = asked(spec(resources={"totalGpus": 1}))
    other = asked(spec(resources={"totalGpus": 1, "pool": "b", "priority": 9}, replicas=7))
    assert base.child("GPURequest")["spec"]["digest"] == other.child("GPURequest")["spec"]["digest"]


# what it waits for


@pytest.mark.parametrize(
    ("phase", "fields", "words", "outcome"),
    [
        pytest.param("Proposed", {}, "is assigning GPUs", "Pending", id="one more look"),
        pytest.param(
            "Pending", {"placeInLine": 2, "message": "3 of 8 nodes ..."}, "(place 2 in line): 3 of 8 nodes",
            "Pending", id="in line",
        ),
        pytest.param("Impossible", {"message": "no node"}, "can never grant this: no node", "Failed", id="never"),
    ],
)  # fmt: skip
def test_what_the_pool_says_reaches_the_service(phase: str, fields: dict[str, Any], words: str, outcome: str) -> None:
    answer = granted(phase=phase, **fields)
    assert "Deployment" not in answer.kinds()
    assert words in answer.condition("Ready")["message"]
    assert answer.status["phase"] == outcome


def test_an_answer_to_an_earlier_request_is_no_answer() -> None:
    answer = granted(digest="another")
    assert "Deployment" not in answer.kinds()


NO_POOLS = Settings(pools="none")


@pytest.mark.parametrize("any_pool", [True, False])
def test_a_pool_that_nobody_made_blocks_the_service(any_pool: bool) -> None:
    """Else a wrong name would be the way around every limit of the pools."""
    answer = asked(children=[request_of(asked(), poolExists=False, anyPool=any_pool)], now=NOW + timedelta(days=1))
    assert "Deployment" not in answer.kinds()
    assert "GPURequest" in answer.kinds(), "the agent tells there when the pool comes"
    assert answer.status["phase"] == "Failed"
    assert answer.conditions()["Ready"] == ("False", "ConfigurationError")
    message = answer.condition("Ready")["message"]
    assert "there is no GPUPool default: name one that exists in resources.pool" in message
    assert ("INFERENCE_POOLS=none" in message) is not any_pool


def test_silence_permits_nothing() -> None:
    request = request_of(asked(), created="2026-01-01T12:00:00Z")
    soon = asked(children=[request], now=NOW + timedelta(seconds=UNANSWERED_SECONDS - 1))
    late = asked(children=[request], now=NOW + timedelta(days=1))
    assert "Deployment" not in [*soon.kinds(), *late.kinds()]
    assert "check that GPUPool default exists and that the agent runs" in late.condition("Ready")["message"]


def test_a_pool_without_nodes_permits_nothing() -> None:
    answer = granted(phase="Unknown")
    assert "Deployment" not in answer.kinds()
    assert "pool default has no nodes" in answer.condition("Ready")["message"]


def test_what_was_said_of_another_pool_is_not_said_of_this_one() -> None:
    elsewhere = spec(resources={"totalGpus": 1, "pool": "elsewhere"})
    answer = asked(children=[request_of(asked(elsewhere), poolExists=False)])
    assert answer.conditions()["Ready"] == ("False", "Pending")
    assert answer.child("GPURequest")["spec"]["pool"] == "default"


@pytest.mark.parametrize("status", [{"poolExists": False, "anyPool": True}, {}])
def test_what_runs_stays_when_its_pool_goes(status: dict[str, Any]) -> None:
    first = granted()
    answer = asked(children=running(first, request_of(first, **status)), now=NOW + timedelta(days=1))
    assert workload(answer) == workload(first)


def test_without_pools_a_service_goes_by_its_spec() -> None:
    request = request_of(asked(), poolExists=False, anyPool=False)
    answer = asked(children=[request], settings=NO_POOLS)
    assert "Deployment" in answer.kinds()
    assert "there is no GPUPool default" in answer.condition("Ready")["message"]


def test_without_pools_a_service_waits_for_no_agent() -> None:
    request = request_of(asked(), created="2026-01-01T12:00:00Z")
    late = NOW + timedelta(seconds=UNANSWERED_SECONDS)
    soon = asked(children=[request], settings=NO_POOLS, now=late - timedelta(seconds=1))
    assert "Deployment" not in soon.kinds()
    answer = asked(children=[request], settings=NO_POOLS, now=late)
    assert "nobody answered for pool default" in answer.condition("Ready")["message"]


def test_as_soon_as_there_is_a_pool_the_name_counts_whatever_the_setting() -> None:
    request = request_of(asked(), poolExists=False, anyPool=True)
    assert "Deployment" not in asked(children=[request], settings=NO_POOLS).kinds()


def test_a_pool_that_is_known_to_exist_is_waited_for() -> None:
    answer = asked(children=[request_of(asked(), poolExists=True)], now=NOW + timedelta(days=1))
    assert "Deployment" not in answer.kinds()


def test_a_pool_that_answers_only_the_first_of_a_long_line_is_explained_after_a_while() -> None:
    request = request_of(asked(), poolExists=True)
    fresh = request_of(asked(), created="2026-01-01T11:59:59Z", poolExists=True)
    assert asked(children=[fresh]).conditions()["Ready"] == ("False", "Pending")
    answer = asked(children=[request])
    assert answer.conditions()["Ready"] == ("False", "InsufficientGPU")
    message = answer.condition("Ready")["message"]
    for words in ("has not answered for over 30 s", "status.unanswered", "delete services of namespace ns"):
        assert words in message


def full_line(namespace: str = "ns") -> Manifest:
    """What a pool says of a namespace whose line is full."""
    found = manifest(API, "GPUAllocation", "of-no-service", spec={"pool": "another", "digest": "none"})
    labels = {"inference.ai/line": "full"}
    return found | {"metadata": {"name": "of-no-service", "namespace": namespace, "labels": labels}}


def test_where_too_many_services_wait_a_new_one_asks_later_and_says_what_to_do() -> None:
    answer = asked(related=[full_line()])
    assert "GPURequest" not in answer.kinds()
    assert answer.conditions()["Ready"] == ("False", "InsufficientGPU")
    assert answer.status["phase"] == "Pending"
    message = answer.condition("Ready")["message"]
    assert "too many services of namespace ns wait for GPUs already" in message
    assert "Delete services of namespace ns that are not needed" in message
    assert "GPURequest" in asked(related=[full_line("elsewhere")]).kinds()


def test_who_has_asked_or_runs_is_told_to_the_pool_however_many_wait() -> None:
    request = request_of(asked(), poolExists=True)
    kept = asked(children=[request], related=[full_line()]).child("GPURequest")
    assert kept["spec"] == request["spec"]
    first = granted()
    without_request = [it for it in running(first) if it["kind"] != "GPURequest"]
    answer = asked(children=without_request, related=[full_line()])
    assert "GPURequest" in answer.kinds()
    assert workload(answer) == workload(first)


def test_a_service_finds_what_pools_say_of_its_namespace() -> None:
    parent = Parent.model_validate({"metadata": {"name": "demo", "namespace": "ns"}, "spec": spec()})
    rules = [it for it in customize(parent).related_resources if it.resource == "gpuallocations"]
    assert [it.names for it in rules] == [["demo"], None]
    assert rules[1].label_selector == {"matchLabels": {"inference.ai/line": "full"}}
    assert {it.namespace for it in rules} == {"ns"}


def test_where_pools_are_not_required_an_empty_one_stands_in_nobodys_way() -> None:
    first = asked()
    answer = asked(children=[request_of(first)], related=[allocation(first, "Unknown")], settings=NO_POOLS)
    assert "Deployment" in answer.kinds()
    assert "pool default has no nodes" in answer.condition("Ready")["message"]


# what is built


def test_pods_go_to_the_product_that_was_granted_with_the_length_that_was_chosen() -> None:
    answer = granted(spec(**KNOWN, **TWO))
    product = answer.status["allocation"]["product"]
    affinity = pod(answer)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    first = affinity["nodeSelectorTerms"][0]["matchExpressions"]
    assert {"key": "inference.ai/gpu-product", "operator": "In", "values": [product]} in first
    chosen = answer.status["allocation"]["maxModelLen"]
    assert f"--max-model-len={chosen}" in container(answer)["args"]
    assert "for the KV cache" in answer.status["allocation"]["memory"]


def test_a_length_of_the_users_own_is_not_replaced() -> None:
    answer = granted(spec(model=KNOWN["model"] | {"maxTokens": 4096}, **TWO))
    assert "--max-model-len=4096" in container(answer)["args"]


@pytest.mark.parametrize(
    ("parts", "gated"),
    [
        pytest.param({}, False, id="shared and dynamic"),
        pytest.param(EXCLUSIVE, True, id="exclusive"),
        pytest.param({"resources": {"totalGpus": 1, "strategy": "topology-aware"}}, True, id="topology-aware"),
    ],
)
def test_only_pods_whose_place_must_be_exact_are_gated(parts: dict[str, Any], gated: bool) -> None:
    gates = pod(granted(spec(**parts))).get("schedulingGates", [])
    assert gates == ([{"name": "inference.ai/placement"}] if gated else [])


POOL_NODES = [{"key": "team", "operator": "In", "values": ["a"]}, {"key": "old", "operator": "DoesNotExist"}]


def node_terms(answer: Answer) -> list[list[dict[str, Any]]]:
    affinity = pod(answer).get("affinity", {}).get("nodeAffinity", {})
    terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {}).get("nodeSelectorTerms", [])
    return [term["matchExpressions"] for term in terms]


def test_pods_that_the_scheduler_places_keep_to_the_nodes_of_their_pool() -> None:
    assert node_terms(granted(poolNodes=POOL_NODES)) == [POOL_NODES]
    assert all(term[-2:] == POOL_NODES for term in node_terms(granted(product="MI300X", poolNodes=POOL_NODES)))


def test_pods_that_the_agent_places_are_not_held_to_todays_selector() -> None:
    assert node_terms(granted(spec(**EXCLUSIVE), poolNodes=POOL_NODES)) == []


def test_a_pool_of_all_nodes_asks_for_nothing() -> None:
    assert node_terms(granted()) == []


def test_nobody_gates_pods_where_no_pool_would_lift_the_gate() -> None:
    request = request_of(asked(spec(**EXCLUSIVE)), poolExists=False)
    assert "schedulingGates" not in pod(asked(spec(**EXCLUSIVE), children=[request], settings=NO_POOLS))


def test_exclusive_pods_keep_every_other_service_off_and_not_their_own() -> None:
    [term] = pod(granted(spec(**EXCLUSIVE)))["affinity"]["podAntiAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    anybody, not_us = term["labelSelector"]["matchExpressions"]
    assert (anybody["key"], anybody["operator"]) == ("inference.ai/service", "Exists")
    assert (not_us["operator"], not_us["values"]) == ("NotIn", ["ns.demo"])
    named = {"key": "kubernetes.io/metadata.name", "operator": "Exists"}
    assert term["namespaceSelector"] == {"matchExpressions": [named]}, "without one it would be of this namespace only"


def test_static_groups_have_one_pod_on_each_node() -> None:
    resources = {"totalGpus": 2, "strategy": "static"}
    answer = granted(spec(**DISTRIBUTED | {"resources": resources}))
    for template in ("leaderTemplate", "workerTemplate"):
        [term] = pod(answer, template)["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert term["matchLabelKeys"] == ["leaderworkerset.sigs.k8s.io/group-key"]


# decided once


@pytest.mark.parametrize(
    "related",
    [
        pytest.param([], id="the pool is gone"),
        pytest.param("Pending", id="the pool changed its mind"),
        pytest.param("Impossible", id="the nodes are gone"),
    ],
)
def test_what_runs_goes_on_whatever_becomes_of_the_pool(related: Any) -> None:
    first = granted(spec(**EXCLUSIVE))
    answers = [allocation(first, phase=related)] if isinstance(related, str) else related
    later = asked(spec(**EXCLUSIVE), children=running(first), related=answers)
    assert workload(later) == workload(first)
    assert later.conditions()["Ready"] == ("True", "InferenceReady")


def test_late_facts_change_neither_the_workload_nor_what_is_asked() -> None:
    """The cache reads the model's facts from its weights after the service was built without them."""
    first = granted(spec(**TWO))
    other = Settings(gpu_architectures=("gfx950",), node_selector={"pool": "other"})
    later = asked(spec(**TWO), children=running(first), related=[allocation(first)], settings=other)
    assert workload(later) == workload(first)
    assert later.child("GPURequest") == first.child("GPURequest")
    assert later.conditions()["UpdateAvailable"] == ("True", "NewerDecision")


def test_scaling_changes_the_groups_that_are_asked_for_and_nothing_else() -> None:
    first = granted()
    later = asked(spec(replicas=3), children=running(first), related=[allocation(first)])
    before, after = first.child("GPURequest")["spec"], later.child("GPURequest")["spec"]
    assert after == before | {"replicas": {"min": 3, "max": 3}}


def test_an_edit_asks_anew_and_what_runs_stays_until_it_is_granted() -> None:
    first = granted()
    edited = spec(resources={"totalGpus": 4})
    waiting = asked(edited, children=running(first), related=[allocation(first)])
    assert workload(waiting) == workload(first)
    assert waiting.child("GPURequest")["spec"]["gpusPerNode"] == 4
    assert waiting.status["phase"] == "Degraded"
    later = asked(edited, children=running(first, request_of(waiting)), related=[allocation(waiting)])
    assert container(later)["resources"]["limits"] == {"amd.com/gpu": "4"}


def test_while_an_edit_waits_the_pool_says_so_beside_what_stands() -> None:
    first = granted()
    edited = spec(resources={"totalGpus": 8})
    waiting = asked(edited, children=running(first), related=[allocation(first)])
    digest = waiting.child("GPURequest")["spec"]["digest"]
    following = {"digest": digest, "phase": "Pending", "message": "0 nodes have 8", "placeInLine": 1}
    standing = allocation(first, next=following)
    later = asked(edited, children=running(first, request_of(waiting)), related=[standing])
    assert "(place 1 in line): 0 nodes have 8" in later.condition("Ready")["message"]
    assert workload(later) == workload(first)


# what the agent tells


def test_why_pods_are_not_ready_and_how_long_they_loaded_reach_the_service() -> None:
    first = granted()
    failure = {"pod": "demo-leader-1", "reason": "OutOfMemory", "message": "The kernel ended it", "error": "Resource"}
    broken = asked(
        children=[it for it in observed(first, ready=0) if it["kind"] != "GPURequest"]
        + [request_of(first, failures=[failure])],
        related=[allocation(first)],
    )
    assert "The kernel ended it" in broken.condition("Ready")["message"]
    assert broken.status["phase"] == "Failed"
    loaded = asked(children=running(first, request_of(first, loadSeconds=45)), related=[allocation(first)])
    assert loaded.status["modelStatus"]["loadTime"] == "45s"


def told(given: dict[str, Any], failure: dict[str, str], conditions: Iterable[dict[str, str]] = ()) -> Answer:
    """A granted service of which no group is ready, for a reason that the agent tells."""
    first = granted(given)
    children = [it for it in observed(first, ready=0, conditions=conditions) if it["kind"] != "GPURequest"]
    return asked(given, children=[*children, request_of(first, failures=[failure])], related=[allocation(first)])


QUOTA = "StatefulSet demo cannot make pod demo-0: exceeded quota: team, requested: requests.amd.com/gpu=2, used: "
QUOTA += "requests.amd.com/gpu=0, limited: requests.amd.com/gpu=1; raise that ResourceQuota, or ask for less."
NOT_CREATED = {"pod": "demo-0", "reason": "NotCreated", "message": QUOTA, "error": "Resource"}
MISSING_SECRET = {
    "pod": "demo-0",
    "reason": "Volume",
    "message": 'A volume is missing: FailedMount: secret "k" not found; create it.',
    "error": "Configuration",
}
ELSEWHERE = MISSING_SECRET | {"message": "A volume is missing: Multi-Attach error; stop the pods.", "error": "Resource"}
OVERDUE = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}


@pytest.mark.parametrize(
    ("given", "failure", "reason", "phase"),
    [
        pytest.param(DISTRIBUTED, NOT_CREATED, "InsufficientGPU", "Failed", id="a quota of GPUs"),
        pytest.param(
            DISTRIBUTED,
            NOT_CREATED | {"message": "exceeded quota: team, requested: pods=1"},
            "Failed",
            "Failed",
            id="a quota",
        ),
        pytest.param({}, MISSING_SECRET, "Failed", "Failed", id="a Secret that is not there"),
        pytest.param({}, ELSEWHERE, "Failed", "Starting", id="a volume that another node has"),
        pytest.param(DISTRIBUTED, ELSEWHERE, "Failed", "Starting", id="and of a group"),
    ],
)
def test_what_events_say_reaches_the_service(
    given: dict[str, Any], failure: dict[str, str], reason: str, phase: str
) -> None:
    answer = told(spec(**given), failure)
    assert answer.conditions()["Ready"] == ("False", reason)
    message = answer.condition("Ready")["message"]
    assert failure["message"].rstrip(".") in message
    assert f"[{failure['error']}]" in message
    assert answer.status["phase"] == phase


def test_a_deployment_says_itself_that_it_may_not_make_pods() -> None:
    assert "StatefulSet" not in told(spec(), NOT_CREATED).condition("Ready")["message"]


def test_why_a_pod_waits_says_more_than_that_it_waits_too_long() -> None:
    message = told(spec(), MISSING_SECRET, [OVERDUE]).condition("Ready")["message"]
    assert 'secret "k" not found' in message
    assert "ProgressDeadlineExceeded" not in message


def test_arguments_that_vllm_gave_up_stay_explained_after_they_ended_it() -> None:
    """Before the start as a warning, and beside vLLM's own words when the pods crash with them."""
    given = spec(vllm={"engineArgs": {"enable_metrics": True, "task": "embed", "swap_space": 4, "max_num_seq": 3}})
    first = granted(given)
    before = first.condition("Ready")["message"]
    said = "Container leader ended with exit code 2: vllm serve: error: unrecognized arguments: --enable-metrics."
    failure = {"pod": "demo-leader-1", "reason": "CrashLoop", "message": said, "error": "Configuration"}
    children = [it for it in observed(first, ready=0) if it["kind"] != "GPURequest"]
    children.append(request_of(first, failures=[failure]))
    after = asked(given, children=children, related=[allocation(first)]).condition("Ready")["message"]
    assert said.rstrip(".") in after
    for words in (
        "enable_metrics: vLLM 0.33.0 does not take it: vLLM has no such switch and always serves /metrics",
        "vllm.engineArgs.task: vLLM 0.33.0 does not take it: it was removed; use runner and convert",
        "vllm.engineArgs.swap_space: vLLM 0.33.0 does not take it",
        "did you mean max_num_seqs?",
    ):
        assert words in before
        assert words in after
    unanswered = asked(given, children=children, related=[]).condition("Ready")["message"]
    assert "vllm.engineArgs.task" in unanswered
