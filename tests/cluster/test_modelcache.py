"""ModelCaches whose downloads run: the downloader's process is the pod, the Hub is a server of this test."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.contracts.download import REPORT_ANNOTATION, DownloadReport, to_annotation
from app.fit.catalog import find_model
from app.fit.model import parse_facts
from tests.cluster.runner import RUNS_HERE, Runner, install, wait_installed
from tests.cluster.world import API, World, condition, service
from tests.downloader.conftest import REPOSITORY, files_of
from tests.downloader.hub import Hub, Repository
from tests.downloader.models import model
from tests.downloader.server import Server, Trouble
from tools.sandbox.api import MERGE_PATCH, Object
from tools.sandbox.cluster import has_condition, wait_until
from tools.sandbox.metacontroller import USER as METACONTROLLER

FILES = model(4_000_000)
SIZE = len(FILES["model.safetensors"])
CLAIM = "demo-cache"


def cache(name: str = "demo", **spec: Any) -> Object:
    base = {"modelName": REPOSITORY, "size": "1Gi"}
    return {"apiVersion": API, "kind": "ModelCache", "metadata": {"name": name}, "spec": base | spec}


@dataclass
class Downloads:
    """A namespace in which downloads run, and the Hub that they ask."""

    world: World
    hub: Hub
    server: Server
    runner: Runner

    @contextmanager
    def held(self, at: int = SIZE // 2) -> Iterator[None]:
        """The weights come up to this byte, and nothing more until the block is left."""
        gate = threading.Event()
        self.server.troubles = [Trouble("model.safetensors", cut_at=at, gate=gate)]
        try:
            yield
        finally:
            gate.set()

    def cache(self, name: str = "demo") -> Object:
        found = self.world.get(API, "ModelCache", name)
        assert found is not None
        return found

    def status(self, name: str = "demo") -> Object:
        return dict(self.cache(name).get("status") or {})

    def ready(self) -> Object:
        return dict(self.world.wait_ready("demo", "ModelCache")["status"])

    def refresh(self, value: str) -> None:
        self.world.patch("demo", {"metadata": {"annotations": {"inference.ai/refresh": value}}}, "ModelCache")

    def jobs(self) -> set[str]:
        return self.world.names("batch/v1", "Job")

    def arrived(self) -> int:
        """Bytes of the largest file on the volume, finished or not: sockets hold some of what was sent."""
        with suppress(FileNotFoundError):  # a file gets its name meanwhile
            return max((it.stat().st_size for it in self.runner.volume(CLAIM).rglob("*") if it.is_file()), default=0)
        return 0

    def folder(self) -> Path:
        return self.runner.volume(CLAIM) / str(self.status()["path"])


@pytest.fixture
def downloads(world: World, tmp_path: Path) -> Iterator[Downloads]:
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("cannot make a mount namespace here")
    install(world.cluster)
    labels = {"metadata": {"labels": {RUNS_HERE: "true"}}}
    world.cluster.patch("v1", "Namespace", world.namespace, None, labels)
    wait_installed(world.cluster, world.namespace)
    world.cluster.wait_for("v1", "ConfigMap", "kube-root-ca.crt", world.namespace, lambda _: True)
    hub = Hub({REPOSITORY: Repository(dict(FILES))})
    with Server(hub).running() as server:
        # The library takes 10 s of silence for a broken connection, and a test may hold one for longer.
        patience = {"HF_HUB_DOWNLOAD_TIMEOUT": "600"}
        environment = {"HF_ENDPOINT": server.url, "NO_PROXY": "127.0.0.1", **patience}
        with Runner(world.cluster, world.namespace, tmp_path, environment).at_work() as runner:
            yield Downloads(world, hub, server, runner)


def test_a_download_moves_phase_and_progress_and_brings_the_models_facts(downloads: Downloads) -> None:
    world = downloads.world
    with downloads.held():
        world.apply(cache())
        wait_until(lambda: downloads.status().get("downloadProgress", 0) >= 40, "progress is reported")
        half_way = downloads.status()
        assert half_way["phase"] == "Downloading"
        assert half_way["downloadProgress"] <= 50, "no more than has come"
        assert half_way["download"]["bytes"] < half_way["download"]["total"]
        assert f"{half_way['downloadProgress']} % is done" in condition({"status": half_way}, "Ready")["message"]
        assert "model" not in half_way
    status = downloads.ready()
    assert (status["phase"], status["downloadProgress"]) == ("Ready", 100)
    assert status["version"] == "a" * 40
    assert status["download"]["files"] == status["download"]["filesTotal"] == len(FILES)
    facts = parse_facts(status["model"])
    assert facts is not None
    assert (facts.architecture, facts.layers, facts.heads) == ("LlamaForCausalLM", 2, 4)
    assert status["parameters"] == 4_000_000
    assert condition(downloads.cache(), "Verified")["status"] == "True"
    assert files_of(downloads.folder()) == FILES
    assert downloads.runner.ended == [0]


def test_the_downloader_may_patch_its_own_job_and_nothing_else(downloads: Downloads) -> None:
    world, namespace = downloads.world, downloads.world.namespace
    with downloads.held():
        world.apply(cache())
        token = downloads.runner.the_one().token
        [own] = downloads.jobs()
        other = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "other"},
            "spec": {"suspend": True, "template": _idle()},
        }
        world.apply(other)
        jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        wait_until(lambda: _as(downloads, token, "GET", f"{jobs}/{own}") == 200, "its rights are known")
        assert _as(downloads, token, "PATCH", f"{jobs}/{own}") == 200
        assert _as(downloads, token, "PATCH", f"{jobs}/{own}", annotation="tried") == 403, "a policy says so"
        refused = [
            ("PATCH", f"{jobs}/other"),
            ("GET", f"{jobs}/other"),
            ("GET", jobs),
            ("DELETE", f"{jobs}/{own}"),
            ("PATCH", f"{jobs}/{own}/status"),
            ("GET", f"/api/v1/namespaces/{namespace}/secrets"),
            ("GET", f"/api/v1/namespaces/{namespace}/pods"),
            ("PATCH", f"/apis/{API}/namespaces/{namespace}/modelcaches/demo"),
        ]
        assert {_as(downloads, token, *it) for it in refused} == {403}
    downloads.ready()
    wait_until(lambda: _as(downloads, token, "PATCH", f"{jobs}/{own}") in (401, 403), "the rights are gone")
    kept = {"ServiceAccount": {"demo-downloader"}, "Role": set(), "RoleBinding": set()}
    wait_until(
        lambda: {kind: world.names(group, kind) - {"default"} for kind, group in _RIGHTS.items()} == kept,
        "nothing but the account is left",
    )


_RBAC = "rbac.authorization.k8s.io/v1"
_RIGHTS = {"ServiceAccount": "v1", "Role": _RBAC, "RoleBinding": _RBAC}


def _as(downloads: Downloads, token: str, method: str, path: str, annotation: str = REPORT_ANNOTATION) -> int:
    """Status of a request as the pod's account."""
    cluster = downloads.world.cluster
    trusted = ssl.create_default_context(cafile=str(cluster.directory / "certs" / "tls.crt"))
    headers = {"Authorization": f"Bearer {token}", "Content-Type": MERGE_PATCH}
    body = json.dumps({"metadata": {"annotations": {annotation: "yes"}}}) if method == "PATCH" else None
    with httpx2.Client(base_url=cluster.server, verify=trusted, trust_env=False, timeout=60) as client:
        params = {"dryRun": "All"} if body else None
        return client.request(method, path, headers=headers, content=body, params=params).status_code


def _idle() -> Object:
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "idle", "image": "none", "securityContext": security}],
        }
    }


# faults


def test_a_secret_that_is_missing_is_named_and_nothing_is_tried_in_vain(downloads: Downloads) -> None:
    world = downloads.world
    source = {"type": "huggingface", "huggingface": {"repository": REPOSITORY, "tokenSecret": "hub"}}
    world.apply(cache(source=source))
    words = "Secret hub does not exist, or lacks its key token"
    world.wait_condition("Ready", "False", words, of="ModelCache")
    wait_until(lambda: downloads.status()["phase"] == "Failed", "the Job has failed, which is told after the report")
    found = world.wait_condition("Ready", "False", words, of="ModelCache")
    assert condition(found, "Ready")["reason"] == "ConfigurationError"
    world.settled()
    assert downloads.runner.ended == [42], "one pod was enough"
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hub"}, "stringData": {"token": "hf_valid"}}
    world.apply(secret)
    downloads.refresh("now")
    downloads.ready()
    asked = downloads.server.requests_of("/api/models")
    assert {it.headers.get("authorization", it.headers.get("Authorization")) for it in asked} == {"Bearer hf_valid"}
    everything = str([world.cluster.list(*it, world.namespace) for it in _READABLE]) + downloads.runner.log()
    assert "hf_valid" not in everything


_READABLE = (("batch/v1", "Job"), ("v1", "Pod"), (API, "ModelCache"), ("v1", "Event"))


def test_a_killed_pod_is_followed_by_one_that_goes_on(downloads: Downloads) -> None:
    with downloads.held():
        downloads.world.apply(cache())
        process = downloads.runner.the_one().process
        wait_until(lambda: downloads.arrived() > SIZE // 4, "what was sent is there")
        process.send_signal(signal.SIGKILL)
        wait_until(lambda: process.poll() is not None, "it is dead")
    downloads.ready()
    assert downloads.runner.ended == [-signal.SIGKILL, 0]
    assert downloads.server.sent_of("model.safetensors") < SIZE * 3 // 2, "what came is not fetched again"
    assert files_of(downloads.folder()) == FILES


def test_a_pod_that_is_evicted_is_followed_by_one_that_goes_on_and_counts_as_no_try(downloads: Downloads) -> None:
    world = downloads.world
    with downloads.held():
        world.apply(cache())
        running = downloads.runner.the_one()
        wait_until(lambda: downloads.arrived() > SIZE // 4, "what was sent is there")
        name = running.pod["metadata"]["name"]
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        path = f"/api/v1/namespaces/{world.namespace}/pods/{name}/eviction"
        world.cluster.api.request("POST", path, body=eviction)
        wait_until(lambda: running.process.poll() is not None, "it has stopped")
    downloads.ready()
    [job] = world.all_of("batch/v1", "Job")
    assert not job["status"].get("failed")
    assert downloads.runner.ended == [128 + signal.SIGTERM, 0]
    assert files_of(downloads.folder()) == FILES


# afterwards


def test_a_finished_download_writes_nothing_and_is_done_once_whatever_the_settings(downloads: Downloads) -> None:
    world = downloads.world
    world.apply(cache())
    before = downloads.ready()
    world.settled()
    assert world.resyncs(2) == []
    settings = world.operator.hooks.settings
    changed = {"INFERENCE_DOWNLOADER_IMAGE": "elsewhere/downloader:v9", "INFERENCE_CACHE_SIZE": "7Gi"}
    try:
        world.operator.hooks.restart(settings | changed)
        world.operator.metacontroller.restart()
        world.settled()
        assert world.resyncs(2) == []
        for job in downloads.jobs():
            world.cluster.delete("batch/v1", "Job", job, world.namespace)
        wait_until(lambda: not downloads.jobs(), "the Job is removed")
        assert world.resyncs(2) == [], "the status carries completion and facts on"
    finally:
        world.operator.hooks.restart(settings)
        world.operator.metacontroller.restart()
    assert downloads.status() == before
    assert downloads.runner.ended == [0]


def test_an_update_comes_beside_what_is_read(downloads: Downloads) -> None:
    downloads.world.apply(cache(downloadPolicy="Always"))
    before, folder = downloads.ready(), downloads.folder()
    changed = model(4_000_000, seed=1)
    downloads.hub.repositories[REPOSITORY] = Repository(dict(changed), commit="b" * 40)
    downloads.refresh("now")
    wait_until(lambda: downloads.status().get("version") == "b" * 40, "the update is there")
    after = downloads.ready()
    assert after["path"].startswith(f"{before['path']}@")
    assert (files_of(folder), files_of(downloads.folder())) == (FILES, changed)


# the end of things


@pytest.mark.parametrize("at_work", [True, False], ids=["while it downloads", "when it is done"])
def test_a_namespace_goes_with_its_cache(downloads: Downloads, at_work: bool) -> None:
    world = downloads.world
    with downloads.held():
        world.apply(cache())
        downloads.runner.the_one()
        if at_work:
            world.cluster.delete("v1", "Namespace", world.namespace)
            world.cluster.wait_gone("v1", "Namespace", world.namespace, None)
    if not at_work:
        downloads.ready()
        world.cluster.delete("v1", "Namespace", world.namespace)
        world.cluster.wait_gone("v1", "Namespace", world.namespace, None)


@pytest.mark.parametrize("propagation", ["Foreground", "Background"])
def test_a_service_goes_with_the_cache_that_it_made_while_that_downloads(
    downloads: Downloads, propagation: str
) -> None:
    world = downloads.world
    with downloads.held():
        world.apply(service(model={"name": "tiny", "source": f"huggingface://{REPOSITORY}"}))
        downloads.runner.the_one()
        world.cluster.delete(API, "InferenceService", "demo", world.namespace, propagation=propagation)
        kinds = {"InferenceService": API, "ModelCache": API, **_RIGHTS}
        wait_until(lambda: not any(world.names(api, kind) - {"default"} for kind, api in kinds.items()), "all is gone")
        wait_until(lambda: not world.names("v1", "Pod") and not downloads.jobs(), "no pod is left")
        wait_until(lambda: not world.names("v1", "PersistentVolumeClaim"), "no claim is left")
    wait_until(lambda: not downloads.runner.running, "no process is left")


# services


def test_copies_are_filled_from_the_first_and_the_source_is_asked_once(downloads: Downloads) -> None:
    downloads.world.apply(cache(accessMode="ReadWriteOnce", caching={"replicas": 2}))
    wait_until(lambda: downloads.status().get("phase") == "Ready", "all copies are filled")
    copies = downloads.status()["copies"]
    assert [(it["claimName"], it["ready"]) for it in copies] == [(CLAIM, True), (f"{CLAIM}-1", True)]
    for it in copies:
        assert files_of(downloads.runner.volume(it["claimName"]) / it["path"]) == FILES
    assert downloads.server.sent_of("model.safetensors") == SIZE


def test_a_service_waits_for_the_download_and_plans_by_what_was_read(downloads: Downloads) -> None:
    world = downloads.world
    world.apply(service(storage={"modelCache": "demo"}))
    with downloads.held():
        world.apply(cache())
        downloads.runner.the_one()
        world.wait_condition("Ready", "False", "waits for ModelCache demo")
        assert world.names("apps/v1", "Deployment") == set()
    world.wait_ready()
    [volume] = [it for it in _pod_spec(world)["volumes"] if it["name"] == "model-store"]
    assert volume["persistentVolumeClaim"]["claimName"] == CLAIM
    path = downloads.status()["path"]
    arguments = [*_pod_spec(world)["containers"][0]["args"], *_values(world)]
    assert any(path in it for it in arguments)


def test_facts_that_come_late_write_nothing_of_a_service_that_runs(world: World) -> None:
    """Here the pods are played, so the Job completes without a report; that comes later."""
    world.apply(cache())
    world.apply(service(storage={"modelCache": "demo"}))
    world.wait_ready()
    world.settled()
    before = world.deployment()["metadata"]
    since = world.cluster.now()
    facts = find_model("Qwen/Qwen3-8B")
    path = (world.get(API, "ModelCache", "demo") or {})["status"]["path"]
    said = DownloadReport(files_done=4, files_total=4, revision="c" * 40, path=path, model=facts, parameters=7)
    report = to_annotation(said)
    [job] = world.names("batch/v1", "Job")
    annotated = {"metadata": {"annotations": {REPORT_ANNOTATION: report}}}
    world.cluster.patch("batch/v1", "Job", job, world.namespace, annotated)
    wait_until(lambda: "model" in ((world.get(API, "ModelCache", "demo") or {}).get("status") or {}), "facts are there")
    world.settled()
    written = [it for it in world.cluster.audit_writes(since) if it.user == METACONTROLLER]
    ours = {(it.resource, it.subresource) for it in written if it.namespace == world.namespace}
    assert ours <= {("modelcaches.inference.ai", "status"), ("inferenceservices.inference.ai", "status")}
    after = world.deployment()["metadata"]
    assert (after["uid"], after["generation"]) == (before["uid"], before["generation"])
    assert has_condition(world.wait_ready(), "Ready")


@pytest.mark.parametrize("propagation", ["Foreground", "Background"])
def test_a_cache_that_goes_while_a_service_reads_it_stops_nothing_and_is_told(world: World, propagation: str) -> None:
    world.apply(cache())
    world.apply(service(storage={"modelCache": "demo"}))
    world.wait_ready()
    world.settled()
    before = world.deployment()["metadata"]
    pods = world.names("v1", "Pod")
    world.cluster.delete(API, "ModelCache", "demo", world.namespace, propagation=propagation)
    world.wait_condition("UpdateAvailable", "Unknown", "ModelCache demo")
    world.settled()
    after = world.deployment()["metadata"]
    assert (after["uid"], after["generation"]) == (before["uid"], before["generation"])
    assert {name for name in pods if name.startswith("demo-leader")} <= world.names("v1", "Pod")
    assert has_condition(world.wait_ready(), "Ready")
    claim = world.get("v1", "PersistentVolumeClaim", CLAIM)
    assert claim is not None, "pods that use it keep it"
    assert "deletionTimestamp" in claim["metadata"]
    world.cluster.delete(API, "InferenceService", "demo", world.namespace)
    for api, kind, name in ((API, "ModelCache", "demo"), ("v1", "PersistentVolumeClaim", CLAIM)):
        world.cluster.wait_gone(api, kind, name, world.namespace)


def _pod_spec(world: World) -> Object:
    return dict(world.deployment()["spec"]["template"]["spec"])


def _values(world: World) -> list[str]:
    return [str(it.get("value")) for it in _pod_spec(world)["containers"][0]["env"]]


def test_a_quota_that_lets_no_pod_of_a_download_be_made_is_quoted(world: World) -> None:
    """Only an event says it; the agent reads that, and the hook quotes the agent."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    world.apply(quota)
    wait_until(lambda: (world.get("v1", "ResourceQuota", "none") or {}).get("status", {}).get("hard"), "it counts")
    world.apply(cache())
    found = world.wait_condition("Ready", "False", "exceeded quota", of="ModelCache")
    assert found["status"]["phase"] == "Pending"
    assert "FailedCreate" in condition(found, "Ready")["message"]
