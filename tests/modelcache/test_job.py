"""The download Job: when it is sent, what it runs, and what its name depends on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.kube.manifest import Manifest
from app.settings import Settings
from tests.calls import Answer, manifest
from tests.modelcache.cache import call, claim, complete, failed, filled, job, running, spec
from tests.security import violations

HUB = {"type": "huggingface", "huggingface": {"repository": "org/tiny"}}
S3 = {"type": "s3", "s3": {"bucket": "my-models", "key": "a/"}}
GCS = {"type": "gcs", "gcs": {"bucket": "my-models"}}
HTTP = {"type": "http", "http": {"url": "https://a.example/m.tar"}}
REFRESH = "inference.ai/refresh"


def with_member(source: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A spec whose source says more."""
    member = source["type"]
    return spec(source={"type": member, member: source[member] | fields})


def started(given: dict[str, Any], **options: Any) -> Any:
    return job(given, **options)


def env(given: dict[str, Any]) -> dict[str, Any]:
    [container] = started(given)["spec"]["template"]["spec"]["containers"]
    return {it["name"]: it.get("value", it.get("valueFrom")) for it in container["env"]}


def name(given: dict[str, Any] | None = None, **options: Any) -> str:
    return str(started(given if given is not None else spec(), **options)["metadata"]["name"])


def test_no_job_is_sent_before_the_claim_is_seen_to_be_ours() -> None:
    """The name may be somebody else's: a Job would write into their volume."""
    assert call().kinds() == ["PersistentVolumeClaim", "ServiceAccount"]


@pytest.mark.parametrize("phase", ["Pending", "Bound", ""])
def test_a_claim_of_ours_gets_its_job_even_before_it_is_bound(phase: str) -> None:
    """Classes that wait for a consumer bind only when the Job's pod is there."""
    assert set(call(children=[claim(phase=phase)]).kinds()) >= {"Job", "PersistentVolumeClaim"}


def test_the_job_tries_seven_times_and_fills_the_claim() -> None:
    found = started(spec())["spec"]
    assert found["backoffLimit"] == 6
    pod = found["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["volumes"][0] == {"name": "cache", "persistentVolumeClaim": {"claimName": "demo-cache"}}
    assert {"name": "cache", "mountPath": "/cache"} in pod["containers"][0]["volumeMounts"]
    assert pod["containers"][0]["command"] == ["download"]
    assert pod["containers"][0]["terminationMessagePolicy"] == "FallbackToLogsOnError"


@pytest.mark.parametrize("source", [HUB, S3, GCS, with_member(GCS, credentialsSecret="key")["source"], HTTP])
def test_its_pod_meets_the_restricted_standard_and_runs_as_its_own_account(source: dict[str, Any]) -> None:
    pod = started(spec(source=source))["spec"]["template"]["spec"]
    assert violations(pod) == []
    assert pod["serviceAccountName"] == "demo-downloader"
    assert pod["enableServiceLinks"] is False


def test_image_and_pull_policy_are_those_of_the_settings() -> None:
    settings = Settings(downloader_image="r/d:v9", image_pull_policy="Never")
    [container] = started(spec(), settings=settings)["spec"]["template"]["spec"]["containers"]
    assert (container["image"], container["imagePullPolicy"]) == ("r/d:v9", "Never")


@pytest.mark.parametrize(
    ("given", "kind", "source"),
    [
        pytest.param(spec(), "huggingface", {"repository": "org/tiny", "revision": "main"}, id="the name alone"),
        pytest.param(
            spec(source={"type": "huggingface"}),
            "huggingface",
            {"repository": "org/tiny", "revision": "main"},
            id="the Hub without its member",
        ),
        pytest.param(
            with_member(HUB, revision="v1", include=["*.json"], tokenSecret="t"),
            "huggingface",
            {"repository": "org/tiny", "revision": "v1", "include": ["*.json"]},
            id="the Hub",
        ),
        pytest.param(
            with_member(S3, region="us-west-2", credentialsSecret="s"),
            "s3",
            {"bucket": "my-models", "key": "a/", "region": "us-west-2"},
            id="S3",
        ),
        pytest.param(with_member(GCS, prefix="p"), "gcs", {"bucket": "my-models", "prefix": "p"}, id="GCS"),
        pytest.param(spec(source=HTTP), "http", {"extract": False, "url": "https://a.example/m.tar"}, id="HTTP"),
    ],
)
def test_the_source_reaches_the_downloader_without_names_of_secrets(
    given: dict[str, Any], kind: str, source: dict[str, Any]
) -> None:
    found = env(given)
    assert found["INFERENCE_SOURCE_TYPE"] == kind
    assert json.loads(found["INFERENCE_SOURCE"]) == source
    assert found["INFERENCE_MODEL_NAME"] == "org/tiny"
    assert found["INFERENCE_PATH"].startswith("org--tiny-")


def test_a_url_cannot_read_the_token() -> None:
    """The kubelet replaces $(NAME) by the variable's value."""
    url = "https://a.example/$(HF_TOKEN)"
    assert "$$(HF_TOKEN)" in env(spec(source={"type": "http", "http": {"url": url}}))["INFERENCE_SOURCE"]


def test_a_token_is_a_reference() -> None:
    reference = {"secretKeyRef": {"name": "hf", "key": "token", "optional": True}}
    assert env(with_member(HUB, tokenSecret="hf"))["HF_TOKEN"] == reference
    assert "HF_TOKEN" not in env(spec(source=HUB))


def test_keys_of_s3_are_references() -> None:
    found = env(with_member(S3, credentialsSecret="s3-credentials"))
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        assert found[key] == {"secretKeyRef": {"name": "s3-credentials", "key": key, "optional": True}}
    assert "AWS_ACCESS_KEY_ID" not in env(spec(source=S3))


def test_a_key_of_gcs_is_a_file_of_one_secret() -> None:
    given = with_member(GCS, credentialsSecret="gcs-key")
    pod = started(given)["spec"]["template"]["spec"]
    [volume] = [it for it in pod["volumes"] if "secret" in it]
    [mount] = [it for it in pod["containers"][0]["volumeMounts"] if it["name"] == volume["name"]]
    assert volume["secret"]["secretName"] == "gcs-key"
    assert mount["readOnly"] is True
    assert env(given)["GOOGLE_APPLICATION_CREDENTIALS"] == f"{mount['mountPath']}/key.json"


@pytest.mark.parametrize("policy", ["Always", "IfNotPresent", "Never"])
def test_the_policy_reaches_the_downloader(policy: str) -> None:
    assert env(spec(downloadPolicy=policy))["INFERENCE_DOWNLOAD_POLICY"] == policy


@pytest.mark.parametrize(
    ("given", "options"),
    [
        pytest.param(spec(), {"settings": Settings(downloader_image="other:v9")}, id="the image"),
        pytest.param(spec(), {"settings": Settings(storage_class="x", cache_size="1Ti")}, id="settings"),
        pytest.param(spec(size="1Ti", storageClass="fast"), {}, id="the volume"),
        pytest.param(spec(caching={"replicas": 3}), {}, id="copies"),
        pytest.param(spec(source={"type": "huggingface"}), {}, id="a source that is the default"),
        pytest.param(spec(source=HUB | {"huggingface": {"repository": "org/tiny", "revision": "main"}}), {}, id="main"),
        pytest.param(spec(downloadPolicy="IfNotPresent"), {}, id="the default policy"),
        pytest.param(spec(), {"annotations": {"other": "x"}}, id="another annotation"),
    ],
)
def test_the_name_does_not_depend_on(given: dict[str, Any], options: dict[str, Any]) -> None:
    assert name(given, **options) == name(spec())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(spec(), spec(modelName="org/other"), id="the model"),
        pytest.param(spec(), with_member(HUB, revision="v2"), id="the revision"),
        pytest.param(spec(), with_member(HUB, include=["*.json"]), id="the patterns"),
        pytest.param(spec(source=S3), with_member(S3, key="b/"), id="the folder"),
        pytest.param(spec(), spec(downloadPolicy="Always"), id="the policy"),
        pytest.param(spec(), with_member(HUB, tokenSecret="t"), id="credentials"),
    ],
)
def test_the_name_depends_on(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert name(one) != name(other)


def test_a_refresh_is_another_job_at_the_same_place() -> None:
    before = call(children=filled()).status
    after = call(children=filled(), status=before, annotations={REFRESH: "now"}).status
    assert after["jobName"] != before["jobName"]
    assert after["path"] == before["path"]


@pytest.mark.parametrize(
    "there",
    [
        pytest.param(job(), id="not started"),
        pytest.param(running(job(), 40), id="running"),
        pytest.param(complete(job()), id="complete"),
        pytest.param(failed(job()), id="failed"),
    ],
)
def test_a_job_that_is_there_is_answered_as_applied_whatever_todays_settings_are(there: Any) -> None:
    answer = call(children=[claim(), there], settings=Settings(downloader_image="other:v9"))
    assert answer.child("Job") == call(children=[claim()]).child("Job")


def remembered() -> dict[str, Any]:
    return call(children=filled()).status


def test_a_job_that_completed_and_was_removed_is_not_sent_again() -> None:
    answer = call(children=[claim()], status=remembered())
    assert answer.kinds() == ["PersistentVolumeClaim", "ServiceAccount"]
    assert answer.conditions()["Ready"] == ("True", "Successful")
    assert answer.status == remembered()


def test_another_volume_is_filled_again() -> None:
    empty = claim(created="2026-01-02T00:00:00Z")
    answer = call(children=[empty], status=remembered())
    assert "Job" in answer.kinds()
    assert answer.conditions()["Ready"] == ("False", "Pending")


def test_a_job_that_ended_on_another_volume_is_removed_before_the_next_one_is_sent() -> None:
    empty = claim(created="2026-01-02T00:00:00Z")
    first = call(children=[empty, complete(job())], status=remembered())
    assert first.kinds() == ["PersistentVolumeClaim", "ServiceAccount"]
    assert "Job" in call(children=[empty], status=first.status).kinds()


def test_the_job_of_an_earlier_download_is_let_go() -> None:
    answer: Answer = call(children=[claim(), complete(job())], annotations={REFRESH: "now"})
    [found] = [child for child in answer.children if child["kind"] == "Job"]
    assert found["metadata"]["name"] != job()["metadata"]["name"]


def test_a_job_under_a_foreign_name_is_not_ours() -> None:
    foreign = manifest("batch/v1", "Job", "demo-download-00000000", spec={}, status={})
    assert call(children=[claim(), foreign]).status["downloadProgress"] == 0


def test_the_longest_name_of_a_cache_gives_a_valid_name_of_a_job() -> None:
    cache = "c" * 45
    children = call(name=cache).children
    assert len(call(name=cache, children=children).status["jobName"]) == 63


@pytest.mark.parametrize(
    ("given", "source"),
    [
        ({"modelName": "hf://Qwen/Qwen3-8B"}, {"repository": "Qwen/Qwen3-8B", "revision": "main"}),
        ({"modelName": "huggingface://Qwen/Qwen3-8B@v1"}, {"repository": "Qwen/Qwen3-8B", "revision": "v1"}),
        (
            {"modelName": "q", "source": {"type": "huggingface", "huggingface": {"repository": "hf://Qwen/Qwen3-8B"}}},
            {"repository": "Qwen/Qwen3-8B", "revision": "main"},
        ),
    ],
)
def test_the_hub_may_be_named_by_its_scheme(given: dict[str, Any], source: dict[str, str]) -> None:
    asked = spec(**given)
    variables = {it["name"]: it.get("value") for it in containers(job(asked))[0]["env"]}
    assert json.loads(variables["INFERENCE_SOURCE"]) == source


def test_another_spelling_of_the_same_repository_downloads_nothing_again() -> None:
    plain = spec(source={"type": "huggingface", "huggingface": {"repository": "org/tiny"}})
    named = spec(source={"type": "huggingface", "huggingface": {"repository": "hf://org/tiny"}})
    assert name_of(job(plain)) == name_of(job(named))


def containers(found: Manifest) -> list[dict[str, Any]]:
    return found["spec"]["template"]["spec"]["containers"]  # type: ignore[no-any-return]


def name_of(found: Manifest) -> str:
    return str(found["metadata"]["name"])
