"""ModelCache. There are no nodes, so that a download's pods are as the scenario says."""

from __future__ import annotations

from typing import Any

from app.contracts.download import DownloadReport, ReportedError
from app.fit.catalog import find_model
from tests.cluster.world import API, service
from tests.golden.scene import Scene, always, leaving, phase, says, scenario, told
from tools.sandbox.api import Object
from tools.sandbox.cluster import has_condition

GIB = 2**30
DEMO = "modelcache/demo"
here = scenario(nodes=())


def cache(name: str = "demo", **spec: Any) -> Object:
    given = {"modelName": "org/tiny", "size": "10Gi"} | spec
    kept = {key: value for key, value in given.items() if value is not None}
    return {"apiVersion": API, "kind": "ModelCache", "metadata": {"name": name}, "spec": kept}


def source(kind: str, **fields: Any) -> Object:
    return {"type": kind, kind: fields}


def claim(name: str, *, held: bool = False, mode: str = "ReadWriteMany", size: str = "20Gi") -> Object:
    """A user's claim; held: no volume comes."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "annotations": {"sandbox.inference.ai/hold": "true"} if held else {}},
        "spec": {
            "accessModes": [mode],
            "storageClassName": "shared",
            "resources": {"requests": {"storage": size}},
        },
    }


def half_way(**more: Any) -> DownloadReport:
    return DownloadReport(
        bytes_done=4 * GIB, bytes_total=8 * GIB, bytes_per_second=100 * 2**20, files_done=2, files_total=5, **more
    )


def whole(path: str, **more: Any) -> DownloadReport:
    said: dict[str, Any] = {
        "bytes_done": 8 * GIB, "bytes_total": 8 * GIB, "files_done": 5, "files_total": 5, "revision": "a" * 40,
        "path": path, "size_on_disk": 8 * GIB, "verified_files": 5,
    }  # fmt: skip
    return DownloadReport(**said | more)


def path_of(scene: Scene, name: str = "demo") -> str:
    """Where the hook wants the model: it is in the status from the first sync on."""
    found = scene.wait(f"modelcache/{name}", lambda it: bool((it.get("status") or {}).get("path")))
    return str(found["status"]["path"])


def done(scene: Scene, name: str = "demo", **more: Any) -> str:
    """The download completes, with a report."""
    job = scene.job(name)
    scene.run(job)
    scene.report(job, whole(path_of(scene, name), **more))
    scene.end(job)
    return job


def failed(scene: Scene, name: str, error: str, reason: str, message: str, code: int = 42) -> str:
    job = scene.job(name)
    scene.run(job)
    scene.report(job, half_way(error=ReportedError(error, reason, message)))
    scene.end(job, code)
    scene.wait(f"job/{job}", lambda it: has_condition(it, "Failed"))
    return job


@here
def cache_download(scene: Scene) -> None:
    """From nothing to Ready, with all that the downloader says on the way; then its Job is removed."""
    scene.apply(cache(source=source("huggingface", repository="org/tiny", tokenSecret="hub", exclude=["*.bin"])))
    scene.keep(DEMO, "created", always)
    scene.keep(DEMO, "pod-unschedulable", says("waits for its pod to start"))
    job = scene.job()
    scene.run(job)
    scene.keep(DEMO, "running", told("Ready", "False", "0 % is done"))
    scene.report(job, half_way())
    scene.keep(DEMO, "half-way", says("50 % is done"))
    error = ReportedError("Transient", "ConnectionLost", "The connection to huggingface.co was lost")
    scene.report(job, half_way(error=error))
    scene.keep(DEMO, "a-try-failed", says("The last try failed", "It is tried again"))
    scene.end(job, 1)
    scene.keep(DEMO, "between-tries", says("waits for its next try"))
    scene.run(job)
    scene.report(job, whole(path_of(scene), model=find_model("Qwen/Qwen3-8B"), parameters=8_190_735_360))
    scene.end(job)
    scene.keep(DEMO, "ready", phase("Ready"), told("Verified", "True"))
    scene.delete(f"job/{job}")
    scene.keep(DEMO, "job-removed", phase("Ready"), lambda it, _: not it["children"]["Job.batch/v1"])


@here
def cache_said_little(scene: Scene) -> None:
    """Downloads that complete without a report, without hashes, with some hashes, with a warning, of unknown kind."""
    scene.apply(cache("silent"))
    job = scene.job()
    scene.run(job)
    scene.end(job)
    scene.keep("modelcache/silent", "no-report", told("Verified", "Unknown", "did not report"))
    scene.apply(cache("unhashed"))
    done(scene, "unhashed", verified_files=0, model_unknown="config.json names no architecture that is known")
    scene.keep("modelcache/unhashed", "no-hashes", told("Verified", "Unknown", "The source gives no hashes"))
    scene.apply(cache("partly"))
    done(scene, "partly", verified_files=3, warning="The volume is 97 % full.")
    scene.keep("modelcache/partly", "some-hashes-and-a-warning", told("Downloaded", "True", "97 % full"))


@here
def cache_sources(scene: Scene) -> None:
    """Every source, with and without credentials."""
    stories: dict[str, Object] = {
        "hub-by-name": {"modelName": "hf://org/tiny@v1.0"},
        "hub-patterns": {"source": source("huggingface", repository="org/tiny", revision="v2", include=["*.json"])},
        "s3-identity": {"source": source("s3", bucket="models", key="tiny/", region="eu-central-1")},
        "s3-secret": {
            "source": source(
                "s3", bucket="models", key="tiny/", endpoint="https://s3.example", credentialsSecret="keys"
            )
        },
        "gcs-identity": {"source": source("gcs", bucket="models", prefix="tiny")},
        "gcs-secret": {"source": source("gcs", bucket="models", credentialsSecret="key")},
        "http-one-file": {
            "source": source("http", url="https://models.example/tiny.tar.gz", sha256="0" * 64, extract=True)
        },
        "http-files": {"source": source("http", urls=["https://models.example/a", "https://models.example/b"])},
    }
    for name, spec in stories.items():
        scene.apply(cache(name, **spec))
    for name in stories:
        scene.keep(f"modelcache/{name}", name, lambda it, _: bool(it["children"]["Job.batch/v1"]))


@here
def cache_failures(scene: Scene) -> None:
    """One failure of each class, as the downloader reports it."""
    said = (
        ("transient", "Transient", "ConnectionLost", "The connection was lost 7 times", 42),
        ("external", "External", "ServerError", "huggingface.co answers 503", 42),
        ("resource", "Resource", "VolumeFull", "The volume has 1 GiB free, and 4 GiB are missing", 42),
        ("configuration", "Configuration", "GatedRepository", "org/tiny is gated: set tokenSecret", 42),
        ("permanent", "Permanent", "ChecksumMismatch", "model.safetensors has another hash than the source says", 42),
        ("unknown-class", "Strange", "Unheard", "A word that nobody knows", 42),
    )
    for name, error, reason, message, code in said:
        scene.apply(cache(name))
        failed(scene, name, error, reason, message, code)
        scene.keep(f"modelcache/{name}", name, phase("Failed"), says(reason))
        scene.delete(f"modelcache/{name}")


@here
def cache_retried(scene: Scene) -> None:
    """A failure that says nothing is made anew after its time, one that says Configuration when somebody asks."""
    scene.apply(cache())
    job = scene.job()
    scene.patch(f"job/{job}", {"spec": {"activeDeadlineSeconds": 1}})
    scene.keep(DEMO, "job-says-why", phase("Failed"), says("DeadlineExceeded", "Its pods' logs say more"))
    scene.apply(cache("asked"))
    failed(scene, "asked", "Configuration", "SecretMissing", "Secret hub does not exist")
    scene.see("modelcache/asked", phase("Failed"))
    scene.annotate("modelcache/asked", inference_ai__refresh="1")
    scene.keep("modelcache/asked", "made-anew", says("is being created"))
    scene.apply(cache("late"))
    failed(scene, "late", "Transient", "ConnectionLost", "The connection was lost 7 times")
    scene.see("modelcache/late", phase("Failed"))
    scene.touch("modelcache/late", seconds=60)
    scene.keep("modelcache/late", "due", lambda _, it: not any(child["kind"] == "Job" for child in it["children"]))


@here
def cache_refreshed(scene: Scene) -> None:
    """Always: what is there stays readable while the source is asked again, also when that fails; then an update."""
    scene.apply(cache(downloadPolicy="Always", refreshInterval="1m"))
    done(scene)
    scene.keep(DEMO, "ready-with-a-schedule", phase("Ready"))
    scene.annotate(DEMO, inference_ai__refresh="one")
    scene.keep(DEMO, "asked-again", says("This is an earlier download"))
    job = failed(scene, "demo", "External", "ServerError", "huggingface.co answers 503")
    scene.keep(DEMO, "the-update-failed", phase("Failed"), told("Ready", "True", "503"))
    scene.annotate(DEMO, inference_ai__refresh="two")
    scene.see(DEMO, lambda _, answer: job not in str(answer["children"]))
    job = scene.job()
    scene.run(job)
    scene.report(job, whole(f"{path_of(scene)}@bbbb", revision="b" * 40))
    scene.end(job)
    scene.keep(DEMO, "updated", phase("Ready"), says("@bbbb"))


@here
def cache_policies(scene: Scene) -> None:
    """Never verifies; a claim for reading only refuses what would be written."""
    scene.apply(claim("mine"), claim("published", mode="ReadOnlyMany"))
    scene.apply(cache("never", downloadPolicy="Never", existingClaim="mine", size=None))
    scene.keep("modelcache/never", "never-looks", says("waits for its pod to start"))
    done(scene, "never")
    scene.keep("modelcache/never", "never-has-looked", phase("Ready"))
    scene.apply(cache("writes", existingClaim="published", size=None))
    scene.keep("modelcache/writes", "read-only-claim", says("is ReadOnlyMany, so nothing can be downloaded"))
    scene.edit("modelcache/writes", {"downloadPolicy": "Never"})
    scene.keep("modelcache/writes", "read-only-claim-is-verified", lambda it, _: bool(it["children"]["Job.batch/v1"]))


@here
def cache_existing_claim(scene: Scene) -> None:
    """A claim that is missing, has no volume yet, lost it, is of another mode, with fields that have no effect."""
    scene.apply(cache(existingClaim="mine", size="5Gi", caching={"replicas": 2}))
    scene.keep(DEMO, "asks-for-the-claim", always, hook="customize")
    scene.keep(DEMO, "missing", told("Ready", "False", "does not exist in namespace"))
    scene.apply(claim("mine", held=True))
    scene.keep(DEMO, "not-bound", told("StorageReady", "False", "is not bound"))
    scene.patch("persistentvolumeclaim/mine", {"metadata": {"annotations": {"sandbox.inference.ai/hold": None}}})
    done(scene)
    scene.keep(DEMO, "ready", phase("Ready"), told("SpecApplied", "False", "spec.size and spec.caching.replicas"))
    scene.lose_volume("mine")
    scene.keep(DEMO, "lost", told("Ready", "False", "has lost its volume"))
    scene.apply(claim("once", mode="ReadWriteOnce"), cache("other", existingClaim="once", size=None))
    scene.keep("modelcache/other", "other-mode", told("SpecApplied", "False", "set accessMode to what the claim has"))


@here
def cache_own_claim(scene: Scene) -> None:
    """Its own claim: another size, class and mode than the spec says, growing, lost, and named as existingClaim."""
    scene.apply(cache(storageClass="fast"))
    done(scene)
    scene.see(DEMO, phase("Ready"))
    scene.edit(DEMO, {"size": "20Gi"})
    scene.keep(DEMO, "is-to-grow", told("StorageReady", "True", "It is to grow to 20Gi"))
    scene.edit(DEMO, {"size": "1Gi"})
    scene.keep(DEMO, "shrunk", told("SpecApplied", "False", "the spec asks for 1Gi"))
    scene.edit(DEMO, {"size": None, "storageClass": "slow", "accessMode": "ReadWriteOnce"})
    scene.keep(DEMO, "other-class-and-mode", told("SpecApplied", "False", "the spec asks for slow"))
    scene.edit(DEMO, {"storageClass": None, "existingClaim": "demo-cache"})
    scene.keep(DEMO, "names-its-own", told("Ready", "True", "was made by this ModelCache and is deleted with it"))
    scene.edit(DEMO, {"existingClaim": None})
    scene.see(DEMO, phase("Ready"))
    scene.lose_volume("demo-cache")
    scene.keep(DEMO, "lost", told("Ready", "False", "has lost its volume"))
    scene.delete("persistentvolumeclaim/demo-cache")
    scene.keep(DEMO, "claim-deleted", lambda it, _: not it["children"]["PersistentVolumeClaim.v1"])


@here
def cache_copies(scene: Scene) -> None:
    """Two volumes of one node each: the second is filled from the first."""
    scene.apply(cache(accessMode="ReadWriteOnce", caching={"replicas": 2}))
    first = done(scene)
    scene.see(DEMO, says("1 of 2 copies are filled"))
    second = scene.job()
    assert second != first
    scene.run(second)
    scene.report(second, half_way())
    scene.keep(DEMO, "second-is-filled", says("1 of 2 copies are filled", "copies the model"))
    scene.report(second, whole(path_of(scene)))
    scene.end(second)
    scene.keep(DEMO, "both-are-filled", phase("Ready"))
    scene.apply(cache("many", caching={"replicas": 3}))
    scene.keep(
        "modelcache/many", "copies-without-effect", told("SpecApplied", "False", "asks for 3 copies and is unused")
    )


@scenario(nodes=(), settings={"host_path_prefixes": "/mnt/models"})
def cache_host_path(scene: Scene) -> None:
    """Folders of the nodes, allowed and not."""
    scene.apply(cache(hostPath="/srv/models", size=None))
    scene.keep(DEMO, "forbidden", told("Ready", "False", "is not allowed"))
    scene.edit(DEMO, {"hostPath": "/mnt/models/cache-host-path/tiny", "size": "1Gi"})
    scene.keep(DEMO, "allowed", told("StorageReady", "True", "of the nodes is used"), told("SpecApplied", "False"))


@here
def cache_host_path_forbidden(scene: Scene) -> None:
    """Where the administrator allows none."""
    scene.apply(cache(hostPath="/srv/models", size=None))
    scene.keep(DEMO, "no-folder-is-allowed", told("Ready", "False", "INFERENCE_HOST_PATH_PREFIXES is empty"))


@here
def cache_switched_off(scene: Scene) -> None:
    """Nothing is kept: every pod fetches for itself."""
    scene.apply(cache(caching={"enabled": False, "replicas": 2}, accessMode="ReadWriteOnce", downloadPolicy="Always"))
    scene.keep(DEMO, "nothing-is-kept", phase("Ready"), told("SpecApplied", "False", "are unused"))
    scene.edit(DEMO, {"caching": {"enabled": True, "replicas": 1}})
    scene.keep(DEMO, "switched-on", lambda it, _: bool(it["children"]["Job.batch/v1"]))
    scene.edit(DEMO, {"caching": {"enabled": False}})
    scene.keep(DEMO, "switched-off", phase("Ready"), lambda it, _: bool(it["children"]["PersistentVolumeClaim.v1"]))


@here
def cache_name_taken(scene: Scene) -> None:
    """A claim and a Job of another owner."""
    scene.apply(claim("demo-cache", held=True))
    scene.apply(cache())
    scene.keep(DEMO, "waits-for-its-claim", told("ChildConflict", "Unknown"))
    scene.keep(DEMO, "claim-is-anothers", told("ChildConflict", "True", "under another owner"))


@here
def cache_unreadable(scene: Scene) -> None:
    """Specs that today's CRD refuses, and a name that is no repository."""
    scene.apply(cache("local", modelName="tiny model"))
    scene.keep("modelcache/local", "no-repository", told("Ready", "False", "is no repository of the Hugging Face Hub"))
    scene.apply(cache())
    done(scene)
    scene.see(DEMO, phase("Ready"))
    scene.stored("modelcaches", "ModelCache", lambda: scene.edit(DEMO, {"size": "much"}))
    scene.keep(DEMO, "refused", told("Ready", "False", "size"))


@here
def cache_suspended(scene: Scene) -> None:
    """A queue for Jobs, or a person, holds the download back."""
    scene.apply(cache())
    job = scene.job()
    scene.patch(f"job/{job}", {"spec": {"suspend": True}})
    scene.keep(DEMO, "suspended", says("is suspended"))


@here
def cache_quota(scene: Scene) -> None:
    """No pod may be made: only an event says so, and the agent reads it."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    scene.apply(quota)
    scene.apply(cache())
    scene.keep(DEMO, "no-pod-may-be-made", says("exceeded quota"))


@here
def cache_pod_waits(scene: Scene) -> None:
    """Why a pod does not start: no node, a volume that is attached elsewhere, a claim without a volume."""
    scene.apply(cache())
    job = scene.job()
    pod = scene.pod_of(job)
    scene.keep(DEMO, "no-node", says("The scheduler finds no node"))
    message = 'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) other'
    scene.event(f"pod/{pod}", "FailedAttachVolume", message)
    scene.keep(DEMO, "attached-elsewhere", says("Multi-Attach"))
    scene.apply(claim("held", held=True), cache("unbound", existingClaim="held", size=None))
    scene.job("unbound")
    scene.event("persistentvolumeclaim/held", "ProvisioningFailed", "the storage server does not answer")
    scene.keep("modelcache/unbound", "no-volume-can-be-made", says("the storage server does not answer"))


@here
def cache_edited(scene: Scene) -> None:
    """Another revision is another download; what was there stays until it is."""
    scene.apply(cache(source=source("huggingface", repository="org/tiny", revision="v1")))
    done(scene)
    scene.see(DEMO, phase("Ready"))
    scene.edit(DEMO, {"source": {"huggingface": {"revision": "v2"}}})
    scene.keep(DEMO, "another-revision", lambda it, _: "v2" in str(it["parent"]["spec"]))
    done(scene)
    scene.keep(DEMO, "another-revision-is-there", phase("Ready"), lambda it, _: "v2" in str(it["parent"]["spec"]))


@here
def cache_deleted(scene: Scene) -> None:
    """It goes in the foreground while its download runs and a service waits for it."""
    scene.apply(service("reader", storage={"modelCache": "demo"}))
    scene.apply(cache())
    job = scene.job()
    scene.run(job)
    scene.patch(f"job/{job}", {"metadata": {"finalizers": ["example.com/held"]}})
    scene.see(DEMO, says("0 % is done"))
    scene.delete(DEMO, "Foreground")
    scene.keep(DEMO, "goes-while-it-downloads", leaving)
    scene.keep("inferenceservice/reader", "its-cache-goes", told("Ready", "False", "is being deleted"))
    scene.patch(f"job/{job}", {"metadata": {"finalizers": None}})


@here
def cache_finalized(scene: Scene) -> None:
    """An installation whose controller has the finalize hook."""
    with scene.finalizing("modelcache"):
        scene.apply(cache())
        job = scene.job()
        scene.run(job)
        scene.see(DEMO, says("0 % is done"))
        scene.delete(DEMO)
        scene.keep(DEMO, "finalized", always, hook="finalize")
