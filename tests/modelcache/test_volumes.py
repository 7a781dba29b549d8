"""Where a cache keeps its model: claims of its own, what is there already, several copies, or nowhere."""

from __future__ import annotations

from typing import Any

import pytest

from app.contracts.download import DownloadReport
from app.modelcache.volume import is_allowed
from app.settings import Settings
from tests.calls import EARLIER, Answer, manifest, stored
from tests.modelcache.cache import call, claim, complete, job, running, spec

EXISTING = spec(existingClaim="weights", size=None)
FOLDER = {"modelName": "org/tiny", "hostPath": "/mnt/models/ns/tiny"}
ALLOWED = Settings(host_path_prefixes=("/mnt/models",))
ONCE = spec(accessMode="ReadWriteOnce", caching={"replicas": 3})


def existing(phase: str = "Bound", modes: tuple[str, ...] = ("ReadWriteMany",)) -> Any:
    fields = {"accessModes": list(modes), "resources": {"requests": {"storage": "1Ti"}}}
    found = manifest("v1", "PersistentVolumeClaim", "weights", spec=fields, status={"phase": phase})
    found["metadata"]["creationTimestamp"] = EARLIER
    return found


def kinds(answer: Answer) -> list[str]:
    """Without what the downloader may do."""
    return [kind for kind in answer.kinds() if kind not in ("ServiceAccount", "Role", "RoleBinding")]


def volumes(answer: Answer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer.child("Job")["spec"]["template"]["spec"]["volumes"]
    return found


def mounts(answer: Answer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer.child("Job")["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    return found


# a claim that is there


def test_a_claim_of_somebody_else_is_filled_and_never_a_child() -> None:
    answer = call(EXISTING, related=[existing()])
    assert kinds(answer) == ["Job"]
    assert volumes(answer)[0] == {"name": "cache", "persistentVolumeClaim": {"claimName": "weights"}}
    assert answer.status["claimName"] == "weights"


def test_a_claim_that_is_missing_is_named() -> None:
    answer = call(EXISTING)
    assert kinds(answer) == []
    assert answer.conditions()["Ready"] == ("False", "ConfigurationError")
    assert "PersistentVolumeClaim weights does not exist in namespace" in answer.condition("Ready")["message"]


@pytest.mark.parametrize("related", [True, False], ids=["seen twice", "seen as a child only"])
def test_a_claim_of_our_own_cannot_be_taken_over_and_is_not_deleted(related: bool) -> None:
    """Left out of the answer, it would be deleted with the model on it, while a new Job is sent to fill it."""
    filled_once = call(children=[claim(), complete(job())])
    given = spec(existingClaim="demo-cache", size=None)
    seen = [claim()] if related else []
    answer = call(given, children=[claim(), complete(job())], related=seen, status=filled_once.status)
    assert answer.child("PersistentVolumeClaim") == filled_once.child("PersistentVolumeClaim")
    assert answer.child("Job") == filled_once.child("Job")
    assert answer.conditions()["Ready"] == ("True", "Successful"), "the model is there"
    assert answer.status["phase"] == "Failed"
    for words in ("demo-cache was made by this ModelCache and is deleted with it", "leave existingClaim out"):
        assert words in answer.condition("Ready")["message"]
    assert call(children=[claim(), complete(job())], status=answer.status).status["phase"] == "Ready"


def test_further_copies_stay_too_when_one_is_named() -> None:
    claims = claims_of(call(ONCE))
    answer = call(ONCE | {"existingClaim": "demo-cache-1"}, children=claims)
    assert kinds(answer) == ["PersistentVolumeClaim"] * 3


def test_an_access_mode_that_the_claim_has_not_is_said() -> None:
    answer = call(EXISTING, related=[existing(modes=("ReadWriteOnce",))])
    assert "weights has access mode ReadWriteOnce, the spec says ReadWriteMany" in applied(answer)


@pytest.mark.parametrize(
    ("modes", "mode"),
    [
        (("ReadWriteOnce",), "ReadWriteOnce"),
        (("ReadWriteOncePod",), "ReadWriteOnce"),
        (("ReadWriteOnce", "ReadWriteMany"), "ReadWriteMany"),
        (("ReadOnlyMany",), "ReadWriteMany"),
    ],
)
def test_services_are_told_what_the_claim_can_do(modes: tuple[str, ...], mode: str) -> None:
    """The spec's default is ReadWriteMany, and says nothing of a claim that somebody else made."""
    assert call(EXISTING, related=[existing(modes=modes)]).status["accessMode"] == mode
    assert "accessMode" not in call(EXISTING).status


def applied(answer: Answer) -> str:
    return next((it["message"] for it in answer.status["conditions"] if it["type"] == "SpecApplied"), "")


# a folder of the nodes


def test_an_allowed_folder_is_used() -> None:
    answer = call(FOLDER, settings=ALLOWED)
    assert kinds(answer) == ["Job"]
    assert volumes(answer)[0] == {"name": "cache", "hostPath": {"path": "/mnt/models/ns", "type": "Directory"}}
    assert mounts(answer)[0] == {"name": "cache", "mountPath": "/cache", "subPath": "tiny"}
    assert answer.status["hostPath"] == "/mnt/models/ns/tiny"
    assert "claimName" not in answer.status


def test_a_filled_folder_is_ready_and_stays_so_without_its_job() -> None:
    first = call(FOLDER, settings=ALLOWED)
    done = call(FOLDER, settings=ALLOWED, children=[complete(stored(first.child("Job")))], status=first.status)
    assert done.conditions()["Ready"] == ("True", "Successful")
    assert "folder /mnt/models/ns/tiny of the nodes" in done.condition("Ready")["message"]
    later = call(FOLDER, settings=ALLOWED, status=done.status)
    assert (kinds(later), later.conditions()["Ready"]) == ([], ("True", "Successful"))


@pytest.mark.parametrize("prefixes", [(), ("/mnt/other", "/mnt/models/ns", "/mnt/mod")])
def test_any_other_folder_is_refused(prefixes: tuple[str, ...]) -> None:
    answer = call(FOLDER, settings=Settings(host_path_prefixes=prefixes))
    assert kinds(answer) == []
    assert answer.conditions()["Ready"] == ("False", "ConfigurationError")
    assert "hostPath /mnt/models/ns/tiny is not allowed" in answer.condition("Ready")["message"]
    assert answer.conditions()["StorageReady"] == ("False", "ConfigurationError")


@pytest.mark.parametrize("there", [True, False], ids=["with its Job", "without its Job"])
def test_a_folder_that_is_no_longer_allowed_is_not_read_and_comes_back_as_it_was(there: bool) -> None:
    first = call(FOLDER, settings=ALLOWED)
    done = complete(stored(first.child("Job")), report=DownloadReport(path=first.status["path"], revision="abc"))
    ready = call(FOLDER, settings=ALLOWED, children=[done], status=first.status)
    left = [done] if there else []
    withdrawn = call(FOLDER, children=left, status=ready.status)
    assert withdrawn.conditions()["Ready"] == ("False", "ConfigurationError")
    assert "INFERENCE_HOST_PATH_PREFIXES is empty" in withdrawn.condition("Ready")["message"]
    assert (withdrawn.status["phase"], withdrawn.status["copies"][0]["ready"]) == ("Failed", False)
    assert kinds(withdrawn) == [], "what mounts the folder goes, too"
    again = call(FOLDER, settings=ALLOWED, status=withdrawn.status)
    kept = ("phase", "copies", "path", "version", "lastUpdated")
    assert {key: again.status[key] for key in kept} == {key: ready.status[key] for key in kept}
    assert kinds(again) == kinds(withdrawn), "nothing is fetched again"


@pytest.mark.parametrize(
    ("path", "prefixes", "allowed"),
    [
        ("/mnt/models", ("/mnt/models",), True),
        ("/mnt/models/a", ("/mnt/models/",), True),
        ("/mnt/models-of-others", ("/mnt/models",), False),
        ("/mnt/models/../../etc", ("/mnt/models",), False),
        ("/etc", ("/", ""), False),
        ("/mnt/models", (), False),
    ],
)
def test_whole_names_are_compared(path: str, prefixes: tuple[str, ...], allowed: bool) -> None:
    assert is_allowed(path, prefixes) is allowed


# another volume than before


def test_a_claim_that_is_named_later_is_not_taken_for_filled() -> None:
    """The Job of the first volume has the same name, and the claim may be older than its end."""
    before = call(children=[claim(), complete(job())])
    answer = call(EXISTING, related=[existing()], children=[claim(), complete(job())], status=before.status)
    assert kinds(answer) == [], "the Job goes first"
    assert answer.conditions()["Ready"] == ("False", "Pending")
    after = call(EXISTING, related=[existing()], status=answer.status)
    assert volumes(after)[0] == {"name": "cache", "persistentVolumeClaim": {"claimName": "weights"}}


@pytest.mark.parametrize("there", [True, False], ids=["with its Job", "without its Job"])
def test_another_folder_is_not_taken_for_filled(there: bool) -> None:
    first = call(FOLDER, settings=ALLOWED)
    done = complete(stored(first.child("Job")))
    ready = call(FOLDER, settings=ALLOWED, children=[done], status=first.status)
    moved = FOLDER | {"hostPath": "/mnt/models/ns/elsewhere"}
    answer = call(moved, settings=ALLOWED, children=[done] if there else [], status=ready.status)
    assert answer.conditions()["Ready"] == ("False", "Pending")
    again = call(moved, settings=ALLOWED, status=answer.status)
    assert mounts(again)[0]["subPath"] == "elsewhere"


def test_a_job_that_still_writes_to_the_former_volume_is_ended() -> None:
    answer = call(EXISTING, related=[existing()], children=[claim(), running(job(), 40)])
    assert kinds(answer) == []
    assert (answer.status["phase"], answer.status["downloadProgress"]) == ("Pending", 0)


# several copies


def named(answer: Answer, kind: str) -> list[dict[str, Any]]:
    return sorted((it for it in answer.children if it["kind"] == kind), key=lambda it: str(it["metadata"]["name"]))


def claims_of(answer: Answer) -> list[Any]:
    found = [stored(it, {"phase": "Bound"}) for it in named(answer, "PersistentVolumeClaim")]
    for it in found:
        it["metadata"]["creationTimestamp"] = EARLIER
    return found


def test_each_copy_has_its_claim_and_the_first_is_filled_from_the_source() -> None:
    first = call(ONCE)
    claims = claims_of(first)
    assert [it["metadata"]["name"] for it in claims] == ["demo-cache", "demo-cache-1", "demo-cache-2"]
    assert len(named(call(ONCE, children=claims), "Job")) == 1


def test_further_copies_are_filled_from_the_first_once_it_is_complete() -> None:
    claims = claims_of(call(ONCE))
    source = call(ONCE, children=claims)
    done = complete(stored(named(source, "Job")[0]))
    copying = call(ONCE, children=[*claims, done], status=source.status)
    jobs = [it for it in named(copying, "Job") if it["metadata"]["name"] != done["metadata"]["name"]]
    assert len(jobs) == 2
    for found in jobs:
        pod = found["spec"]["template"]["spec"]
        variables = {it["name"]: it.get("value") for it in pod["containers"][0]["env"]}
        assert variables["INFERENCE_COPY_FROM"] == "/from"
        assert {"name": "from", "mountPath": "/from", "readOnly": True} in pod["containers"][0]["volumeMounts"]
        assert {"name": "from", "persistentVolumeClaim": {"claimName": "demo-cache"}} in pod["volumes"]
    assert copying.conditions()["Ready"] == ("True", "Successful"), "the first can be read already"
    assert [it["ready"] for it in copying.status["copies"]] == [True, False, False]
    assert copying.status["phase"] == "Pending"
    filled = [*claims, done, *(complete(stored(it)) for it in jobs)]
    ready = call(ONCE, children=filled, status=copying.status)
    assert (ready.status["phase"], [it["ready"] for it in ready.status["copies"]]) == ("Ready", [True, True, True])
    assert call(ONCE, children=claims, status=ready.status).status == ready.status, "also without its Jobs"


def test_downloaders_may_touch_their_own_jobs_and_nothing_when_they_are_done() -> None:
    under_way = call(children=[claim()])
    [rule] = under_way.child("Role")["rules"]
    assert rule == {
        "apiGroups": ["batch"],
        "resources": ["jobs"],
        "resourceNames": [under_way.child("Job")["metadata"]["name"]],
        "verbs": ["get", "patch"],
    }
    assert "Role" not in call(children=[claim(), complete(job())]).kinds()


@pytest.mark.parametrize(
    "there",
    [[], [claim(phase="Pending")], [claim()], [claim(), running(job(), 40)], [claim(), complete(job())]],
    ids=["nothing", "claim", "bound", "downloading", "done"],
)
def test_the_account_of_downloads_is_there_from_the_start_and_stays(there: list[Any]) -> None:
    """People annotate it for their cloud: before the first download, and for the next refresh."""
    assert call(children=there).child("ServiceAccount") == call().child("ServiceAccount")


# nowhere


def test_a_cache_that_keeps_nothing_has_no_children_and_says_what_pods_do() -> None:
    answer = call(spec(caching={"enabled": False}))
    assert answer.kinds() == []
    assert (answer.status["phase"], answer.conditions()["Ready"]) == ("Ready", ("True", "Successful"))
    assert "Every pod fetches model org/tiny for itself" in answer.condition("Ready")["message"]
    assert answer.status["path"].startswith("org--tiny-")
    assert "claimName" not in answer.status
