"""Where download pods run, what they may write, and what is said while they do not run."""

from __future__ import annotations

from typing import Any

import pytest

from app.kube.names import PROBLEM_ANNOTATION
from app.settings import Settings, Toleration
from tests.calls import EARLIER, Answer, manifest, stored
from tests.modelcache.cache import call, claim, complete, job, running, spec

GPU = Settings(node_selector={"accelerator": "amd-gpu"}, tolerations=(Toleration(key="amd.com/gpu"),))
ONCE = spec(accessMode="ReadWriteOnce", storageClass="local-path")


def existing(*modes: str, phase: str = "Bound") -> Any:
    fields = {"accessModes": list(modes), "resources": {"requests": {"storage": "1Ti"}}}
    found = manifest("v1", "PersistentVolumeClaim", "hyperdisk", spec=fields, status={"phase": phase})
    found["metadata"]["creationTimestamp"] = EARLIER
    return found


def pod(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = answer.child("Job")["spec"]["template"]["spec"]
    return found


# placement


@pytest.mark.parametrize("phase", ["Pending", "Bound"])
def test_a_volume_of_one_node_is_made_where_services_run(phase: str) -> None:
    """A WaitForFirstConsumer volume is made where its first pod lands."""
    found = pod(call(ONCE, children=[claim(ONCE, phase=phase)], settings=GPU))
    assert found["nodeSelector"] == {"accelerator": "amd-gpu"}
    assert found["tolerations"] == [{"key": "amd.com/gpu", "operator": "Exists"}]


def test_every_copy_of_one_node_is() -> None:
    given = ONCE | {"caching": {"replicas": 2}}
    claims = [it for it in call(given).children if it["kind"] == "PersistentVolumeClaim"]
    bound = [stored(it, {"phase": "Bound"}) for it in claims]
    for it in bound:
        it["metadata"] |= {"creationTimestamp": EARLIER}
    first = stored(call(given, children=bound, settings=GPU).child("Job"))
    answer = call(given, children=[*bound, complete(first)], settings=GPU)
    [second] = [
        it for it in answer.children if it["kind"] == "Job" and it["metadata"]["name"] != first["metadata"]["name"]
    ]
    assert second["spec"]["template"]["spec"]["nodeSelector"] == {"accelerator": "amd-gpu"}


def test_a_claim_of_somebody_else_for_one_node_is() -> None:
    for modes in (("ReadWriteOnce",), ("ReadWriteOncePod",)):
        found = pod(call(spec(existingClaim="hyperdisk", size=None), related=[existing(*modes)], settings=GPU))
        assert found["nodeSelector"] == {"accelerator": "amd-gpu"}


def test_a_folder_of_the_nodes_is_filled_on_nodes_where_services_run() -> None:
    allowed = GPU.model_copy(update={"host_path_prefixes": ("/mnt/models",)})
    found = pod(call({"modelName": "org/tiny", "hostPath": "/mnt/models/ns/tiny"}, settings=allowed))
    assert found["nodeSelector"] == {"accelerator": "amd-gpu"}


@pytest.mark.parametrize("modes", [("ReadWriteMany",), ("ReadOnlyMany", "ReadWriteOnce"), ("ReadOnlyMany",)])
def test_a_shared_volume_is_filled_from_anywhere(modes: tuple[str, ...]) -> None:
    given = spec(existingClaim="hyperdisk", size=None, downloadPolicy="Never")
    found = pod(call(given, related=[existing(*modes)], settings=GPU))
    assert not {"nodeSelector", "tolerations"} & set(found)


# claims that can only be read


def test_a_claim_that_can_only_be_read_is_verified_and_never_written() -> None:
    given = spec(existingClaim="hyperdisk", size=None, downloadPolicy="Never")
    answer = call(given, related=[existing("ReadOnlyMany")])
    found = pod(answer)
    assert found["volumes"][0]["persistentVolumeClaim"] == {"claimName": "hyperdisk", "readOnly": True}
    assert found["containers"][0]["volumeMounts"][0] == {"name": "cache", "mountPath": "/cache", "readOnly": True}
    assert "SpecApplied" not in answer.conditions(), "the spec has no word for its access mode"


def test_nothing_is_downloaded_to_a_claim_that_can_only_be_read() -> None:
    answer = call(spec(existingClaim="hyperdisk", size=None), related=[existing("ReadOnlyMany")])
    assert "Job" not in answer.kinds()
    assert answer.conditions()["Ready"] == ("False", "ConfigurationError")
    assert "set downloadPolicy to Never" in answer.condition("Ready")["message"]


@pytest.mark.parametrize(("policy", "expected"), [("Never", True), ("IfNotPresent", None), ("Always", None)])
def test_who_only_verifies_mounts_the_volume_for_reading(policy: str, expected: bool | None) -> None:
    found = pod(call(spec(downloadPolicy=policy), children=[claim()]))
    assert found["containers"][0]["volumeMounts"][0].get("readOnly") is expected
    assert "readOnly" not in found["volumes"][0]["persistentVolumeClaim"]


# what is said of a pod that does not run


def waiting(problem: str = "", **status: Any) -> Any:
    found = job()
    if problem:
        found["metadata"]["annotations"][PROBLEM_ANNOTATION] = problem
    return found | {"status": {"active": 1, "ready": 0} | status}


def test_a_pod_that_waits_downloads_nothing_yet() -> None:
    answer = call(children=[claim(), waiting()])
    assert (answer.status["phase"], answer.conditions()["Ready"]) == ("Pending", ("False", "Pending"))
    message = answer.condition("Ready")["message"]
    assert "waits for its pod to start" in message
    assert "kubectl describe pods --selector job-name=demo-download-" in message
    assert "0 %" not in message


def test_the_agents_word_on_it_is_quoted() -> None:
    said = "Unschedulable: 0/3 nodes are available: 3 Insufficient memory."
    answer = call(children=[claim(), waiting(said)])
    assert answer.status["phase"] == "Pending"
    assert said.rstrip(".") in answer.condition("Ready")["message"]


def test_a_quota_that_lets_no_pod_be_made_is_quoted() -> None:
    found = waiting("FailedCreate: exceeded quota: requests.memory", active=0)
    message = call(children=[claim(), found]).condition("Ready")["message"]
    assert "exceeded quota" in message


def test_a_claim_that_waits_for_its_pod_says_why_the_pod_waits() -> None:
    answer = call(children=[claim(phase="Pending"), waiting("Unschedulable: no node fits")])
    assert answer.status["phase"] == "Pending"
    message = answer.condition("Ready")["message"]
    assert "is not bound" in message
    assert "no node fits" in message


@pytest.mark.parametrize("ready", [1, None], ids=["as Kubernetes says it", "where it does not say it"])
def test_a_pod_that_runs_downloads(ready: int | None) -> None:
    found = running(job(), 40)
    if ready is not None:
        found["status"]["ready"] = ready
    assert call(children=[claim(), found]).status["phase"] == "Downloading"


def test_a_suspended_job_says_so() -> None:
    condition = {"type": "Suspended", "status": "True"}
    answer = call(children=[claim(), job() | {"status": {"conditions": [condition]}}])
    assert answer.status["phase"] == "Pending"
    assert "is suspended" in answer.condition("Ready")["message"]


# fields that do nothing


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"caching": {"enabled": False}, "downloadPolicy": "Never"}, ["spec.downloadPolicy"]),
        (
            {"caching": {"enabled": False}, "downloadPolicy": "Always", "refreshInterval": "24h"},
            ["spec.refreshInterval"],
        ),
        ({"caching": {"enabled": False, "replicas": 3}}, ["spec.caching.replicas"]),
        ({"caching": {"enabled": False}, "accessMode": "ReadWriteOnce"}, ["spec.accessMode"]),
        ({"caching": {"enabled": False}, "storageClass": "fast"}, ["spec.storageClass"]),
        ({"caching": {"enabled": False}, "existingClaim": "c"}, ["spec.existingClaim"]),
        ({"existingClaim": "hyperdisk", "caching": {"replicas": 2}}, ["spec.size", "spec.caching.replicas"]),
        (
            {"existingClaim": "hyperdisk", "caching": {"replicas": 2}, "accessMode": "ReadWriteOnce"},
            ["caching.replicas"],
        ),
        ({"hostPath": "/mnt/models/ns/x", "accessMode": "ReadWriteOnce"}, ["spec.size", "spec.accessMode"]),
    ],
)
def test_a_field_that_does_nothing_is_named(given: dict[str, Any], named: list[str]) -> None:
    settings = Settings(host_path_prefixes=("/mnt/models",))
    answer = call(spec(**given), related=[existing("ReadWriteOnce", "ReadWriteMany")], settings=settings)
    message = answer.condition("SpecApplied")["message"]
    assert answer.conditions()["SpecApplied"][0] == "False"
    for name in named:
        assert name in message


@pytest.mark.parametrize(
    "given",
    [{"caching": {"enabled": False}}, {"existingClaim": "hyperdisk", "size": None}, {}, {"downloadPolicy": "Never"}],
)
def test_a_spec_that_is_applied_has_no_such_condition(given: dict[str, Any]) -> None:
    answer = call(spec(**given), related=[existing("ReadWriteMany")], children=())
    assert "SpecApplied" not in answer.conditions()
