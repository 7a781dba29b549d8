"""The story: each step acts, waits, and asserts. Steps build on each other, in the order of STEPS."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from perf.client import Load
from perf.load import run_scenario
from perf.scenarios import Scenario
from sandbox.api import Object
from sandbox.cluster import has_condition
from sandbox.node import config
from sandbox.node.world import World
from sandbox.story import objects, openai
from sandbox.story.kubectl import everything, kubectl
from sandbox.story.watch import API_VERSION, Tell, expect, wait_for, wait_ready

NAMESPACE = objects.NAMESPACE
START_SECONDS = 400.0
"""For pods that load vLLM: a minute on an idle machine of two processors."""
LOAD = Scenario("short", 2, 8)
LONG_ANSWER = 900
"""Tokens, and one part of a streamed answer for each."""
PARTS_BEFORE_KILL = 5
LEAST_SHARE = 0.33
"""Of the pod's own throughput that must come through the endpoint, on however busy a machine."""


@dataclass
class Story:
    """What the steps act on, and what they hand on to later ones."""

    world: World
    tell: Tell
    text: str = ""
    """What the model says: the same for every way of serving it."""
    failed: str = ""
    """The step that failed, if one did."""

    def run(self, step: Step) -> None:
        """One step, announced; its failure is remembered, for later ones build on it."""
        self.tell(f"* {step.__doc__}")
        begun, self.failed = time.monotonic(), step.__name__
        step(self)
        self.failed = ""
        self.tell(f"done in {time.monotonic() - begun:.0f} s")

    def url(self, service: str, port: int = 8000) -> str:
        """A Service as seen from this machine, through the node's kube-proxy."""
        found = self.world.cluster.get("v1", "Service", service, NAMESPACE)
        assert found, f"Service {service} does not exist"
        return f"http://{found['spec']['clusterIP']}:{port}"

    def pods(self, service: str) -> list[Object]:
        """A service's pods by name, those on their way out included."""
        selector = f"inference.ai/service={service}"
        pods = self.world.cluster.list("v1", "Pod", NAMESPACE, selector)
        return sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))

    def ready(self, kind: str, name: str, timeout: float = START_SECONDS) -> Object:
        return wait_ready(self.world, kind, name, NAMESPACE, timeout, self.tell)

    def wait(self, what: str, look: Callable[[], tuple[bool, str]], timeout: float = START_SECONDS) -> None:
        wait_for(self.world, what, look, timeout, self.tell)

    def says_the_same(self, url: str) -> None:
        text = openai.complete(url, "tiny")
        expect(text == self.text, f"{url} says {text!r}, the model on one node said {self.text!r}")
        self.tell(f"{url} says the same")


# Steps


def download(story: Story) -> None:
    """A ModelCache downloads the model into a volume; its progress moves and facts appear"""
    story.world.cluster.apply([objects.namespace(), objects.cache()])
    seen: set[int] = set()

    def look() -> tuple[bool, str]:
        item = story.world.cluster.get(API_VERSION, "ModelCache", objects.CACHE, NAMESPACE) or {}
        status = item.get("status", {})
        seen.add(int(status.get("downloadProgress") or 0))
        return has_condition(item, "Ready"), f"{status.get('phase')} {status.get('downloadProgress', 0)}%"

    story.wait("ModelCache tiny is Ready", look, 180)
    between = sorted(percent for percent in seen if 0 < percent < 100)
    expect(bool(between), f"progress went from 0 to 100 without a step between: {sorted(seen)}")
    status = story.ready("ModelCache", objects.CACHE)["status"]
    expect(status.get("sizeOnDisk") not in (None, "", "0"), f"no size on disk: {status}")
    expect("LlamaForCausalLM" in str(status), f"the model's facts do not name its architecture: {status}")
    _compare_files(story, status["path"])


def _compare_files(story: Story, path: str) -> None:
    """Every file of the repository is on the volume, byte for byte."""
    claim = story.world.cluster.get("v1", "PersistentVolumeClaim", f"{objects.CACHE}-cache", NAMESPACE)
    assert claim
    folder = story.world.volumes.path(claim) / path
    repository = next(iter(story.world.hub.repositories.values()))
    for name in repository.files():
        content = (folder / name).read_bytes()
        expect(hashlib.sha256(content).hexdigest() == repository.sha256(name), f"{folder / name} differs")
    story.tell(f"{len(repository.files())} files on the volume are those of the repository")


def basic(story: Story) -> None:
    """An InferenceService on one node becomes Ready, and answers through its Service"""
    story.world.hub.bytes_per_second = None  # this time nobody watches the download
    story.world.cluster.apply(objects.basic())
    status = story.ready("InferenceService", objects.BASIC)["status"]
    expect(status["phase"] == "Ready", f"phase is {status['phase']}")
    leader = story.world.cluster.get("apps/v1", "Deployment", f"{objects.BASIC}-leader", NAMESPACE)
    expect((leader or {}).get("spec", {}).get("replicas") == 1, "Deployment basic-test-leader has not one replica")
    url = story.url(objects.BASIC)
    story.text = openai.complete(url, "tiny")
    story.tell(f"{url} completes {openai.PROMPT!r} with {story.text!r}")
    expect(len(story.text) > 0, "the completion is empty")
    story.says_the_same(url)
    _chat(story, url)


def _chat(story: Story, url: str) -> None:
    parts = openai.stream_chat(url, "tiny")
    expect(len(parts) > 1, f"the chat answer came in {len(parts)} part: it was not streamed")
    story.tell(f"{url} streamed {len(parts)} parts of a chat answer in {parts[-1][0]:.1f} s")


def allocation(story: Story) -> None:
    """The pool granted what the pods hold, and the node counts it"""
    cluster = story.world.cluster
    grant = cluster.get(API_VERSION, "GPUAllocation", objects.BASIC, NAMESPACE) or {}
    expect(grant.get("spec", {}).get("phase") == "Bound", f"GPUAllocation basic-test is not Bound: {grant}")

    def look() -> tuple[bool, str]:
        used = used_gpus(story)
        return used == 1, f"{used} GPUs in use on {config.NODE_NAME}"

    story.wait("GPUNode real-0 counts one GPU in use", look, 60)


def used_gpus(story: Story) -> int:
    pods = story.world.cluster.list("v1", "Pod")
    held = sum(_gpus(pod) for pod in pods if pod["spec"].get("nodeName") and not _has_ended(pod))
    node = story.world.cluster.get(API_VERSION, "GPUNode", config.NODE_NAME) or {}
    told = node.get("status", {}).get("used")
    return held if told is None else int(told)


def _has_ended(pod: Object) -> bool:
    return pod["status"].get("phase") in ("Succeeded", "Failed")


def _gpus(pod: Object) -> int:
    limits = [container.get("resources", {}).get("limits", {}) for container in pod["spec"]["containers"]]
    return sum(int(limit.get("amd.com/gpu", 0)) for limit in limits)


def endpoint(story: Story) -> None:
    """An InferenceEndpoint leads to it"""
    story.world.cluster.apply(objects.endpoint())
    story.ready("InferenceEndpoint", objects.ENDPOINT, 60)
    url = story.url(f"{objects.ENDPOINT}-endpoint", 8080)
    story.says_the_same(url)
    _chat(story, url)


def load(story: Story) -> None:
    """Load through the endpoint, compared with load on the pod itself"""
    pod = story.pods(objects.BASIC)[0]
    urls = {
        "pod": f"http://{pod['status']['podIP']}:8000",
        "endpoint": story.url(f"{objects.ENDPOINT}-endpoint", 8080),
    }
    rates = {}
    for name, url in urls.items():
        result = asyncio.run(run_scenario(url, Load("tiny", max_tokens=16), LOAD, [f"{url}/metrics"]))
        expect(not result.errors and result.requests > 0, f"load on the {name} failed: {result.errors}")
        expect(bool(result.usage), f"{url}/metrics tells of no resource")
        rates[name] = result.requests_per_second
        assert result.latency
        assert result.first_token
        story.tell(
            f"{name}: {result.requests_per_second:.2f} requests/s, {result.tokens_per_second:.0f} tokens/s, "
            f"p95 {result.latency.percentiles[95]:.2f} s, first token p50 {result.first_token.percentiles[50]:.2f} s"
        )
    share = rates["endpoint"] / rates["pod"]
    story.tell(f"through the endpoint: {share:.2f} of the pod's own throughput")
    expect(share >= LEAST_SHARE, f"only {share:.2f} of the pod's throughput comes through the endpoint")


def remove_basic(story: Story) -> None:
    """Deleting the service and its endpoint leaves nothing of them"""
    kubectl(story.world, "delete", "-n", NAMESPACE, f"inferenceendpoint/{objects.ENDPOINT}")
    kubectl(story.world, "delete", "-n", NAMESPACE, f"inferenceservice/{objects.BASIC}")
    _wait_only(story, {objects.CACHE})


def _wait_only(story: Story, names: set[str]) -> None:
    """Until the namespace holds only objects whose names begin with these."""

    def look() -> tuple[bool, str]:
        there = everything(story.world, NAMESPACE)
        left = sorted(it for it in there if not any(it.partition("/")[2].startswith(name) for name in names))
        return not left, f"left: {', '.join(left)}" if left else "nothing is left"

    story.wait("everything that it made is gone", look, 120)


def distribute(story: Story) -> None:
    """A service of two pods with tensor parallelism says the same as one pod"""
    story.world.cluster.apply(objects.groups())
    status = story.ready("InferenceService", objects.GROUPS)["status"]
    told = status.get("distributed") or {}
    counts = (told.get("leaderReady"), told.get("workersReady"))
    expect(counts == (1, 1), f"status.distributed counts {counts} ready leaders and workers, not (1, 1)")
    expect(len(story.pods(objects.GROUPS)) == 2, f"{len(story.pods(objects.GROUPS))} pods instead of 2")
    policies = story.world.cluster.list("networking.k8s.io/v1", "NetworkPolicy", NAMESPACE)
    expect(len(policies) == 1, f"{len(policies)} NetworkPolicies protect the group instead of 1")
    story.says_the_same(story.url(objects.GROUPS))


def kill(story: Story) -> None:
    """A worker is killed in the middle of an answer: the group restarts as a whole and recovers"""
    pods = story.pods(objects.GROUPS)
    before = {pod["metadata"]["uid"] for pod in pods}
    worker = pods[-1]
    _kill_while_answering(story, worker)

    def look() -> tuple[bool, str]:
        now = story.pods(objects.GROUPS)
        renewed = len(now) == 2 and not before & {pod["metadata"]["uid"] for pod in now}
        return renewed and all(has_condition(pod, "Ready") for pod in now), describe(now)

    story.wait("two new pods are Ready", look)
    story.ready("InferenceService", objects.GROUPS)
    story.says_the_same(story.url(objects.GROUPS))


def _kill_while_answering(story: Story, worker: Object) -> None:
    """The client is told, or sees its answer break off: nobody pretends that it was whole."""
    body = {"model": "tiny", "prompt": openai.PROMPT, "max_tokens": LONG_ANSWER, "stream": True, "ignore_eos": True}
    url, parts, broken = f"{story.url(objects.GROUPS)}/v1/completions", 0, ""
    try:
        with httpx.stream("POST", url, json=body, timeout=60, trust_env=False) as answer:
            for line in answer.iter_lines():
                parts += line.startswith("data: {")
                if parts == PARTS_BEFORE_KILL and line:
                    story.world.kill_container(worker)
                    story.tell(f"killed {worker['metadata']['name']} in the middle of an answer")
                if '"error"' in line:
                    broken = line[:200]
    except httpx.HTTPError as error:
        broken = type(error).__name__
    expect(bool(broken) or parts < LONG_ANSWER, "the answer was whole although a worker was killed")
    story.tell(f"the answer broke off after {parts} of {LONG_ANSWER} parts: {broken or 'it ended'}")


def describe(pods: list[Object]) -> str:
    """Each pod in a few words."""
    words = []
    for pod in pods:
        state = "going" if pod["metadata"].get("deletionTimestamp") else pod["status"].get("phase", "?")
        ready = "ready" if has_condition(pod, "Ready") else "not ready"
        words.append(f"{pod['metadata']['name']} {state} {ready}")
    return ", ".join(words) or "no pods"


def roll_out(story: Story) -> None:
    """Another engine argument replaces the pods, and leaves none of the old behind"""
    before = {pod["metadata"]["uid"] for pod in story.pods(objects.GROUPS)}
    engine = {"spec": {"vllm": {"engineArgs": {"max_num_seqs": 4}}}}
    story.world.cluster.patch(API_VERSION, "InferenceService", objects.GROUPS, NAMESPACE, engine)

    def look() -> tuple[bool, str]:
        now = story.pods(objects.GROUPS)
        new = len(now) == 2 and not before & {pod["metadata"]["uid"] for pod in now}
        return new and all(has_condition(pod, "Ready") for pod in now), describe(now)

    story.wait("two pods with the new argument are Ready", look)
    for pod in story.pods(objects.GROUPS):
        arguments = pod["spec"]["containers"][0]["args"]
        expect("--max-num-seqs=4" in arguments, f"{pod['metadata']['name']} runs with {arguments}")
    story.ready("InferenceService", objects.GROUPS)
    story.says_the_same(story.url(objects.GROUPS))


def scale(story: Story) -> None:
    """kubectl scale adds a second group, and each of the two answers"""
    first = {pod["metadata"]["uid"] for pod in story.pods(objects.GROUPS)}
    kubectl(story.world, "scale", "-n", NAMESPACE, f"inferenceservice/{objects.GROUPS}", "--replicas=2")

    def look() -> tuple[bool, str]:
        item = story.world.cluster.get(API_VERSION, "InferenceService", objects.GROUPS, NAMESPACE) or {}
        pods = story.pods(objects.GROUPS)
        done = item["status"].get("readyReplicas") == 2 and len(pods) == 4
        return done and all(has_condition(pod, "Ready") for pod in pods), describe(pods)

    story.wait("two groups of two pods are Ready", look)
    pods = story.pods(objects.GROUPS)
    expect(first <= {pod["metadata"]["uid"] for pod in pods}, "the first group was restarted")
    for pod in pods:
        if pod["metadata"]["labels"]["leaderworkerset.sigs.k8s.io/worker-index"] == "0":
            story.says_the_same(f"http://{pod['status']['podIP']}:8000")


def remove_groups(story: Story) -> None:
    """Deleting it leaves nothing, and its GPUs are free"""
    kubectl(story.world, "delete", "-n", NAMESPACE, f"inferenceservice/{objects.GROUPS}")
    _wait_only(story, {objects.CACHE})

    def look() -> tuple[bool, str]:
        used = used_gpus(story)
        return used == 0, f"{used} GPUs in use"

    story.wait("no GPU is in use", look, 60)


def launch_by_mpi(story: Story) -> None:
    """The specification's sample, started by mpirun over ssh, says the same"""
    story.world.cluster.apply(objects.sample())
    story.ready("InferenceService", objects.SAMPLE)
    leader, worker = story.pods(objects.SAMPLE)
    running = {pod["metadata"]["name"]: story.world.processes(pod) for pod in (leader, worker)}
    for pod, program in ((leader, "mpirun"), (worker, "sshd")):
        name = pod["metadata"]["name"]
        expect(program in running[name], f"{program} does not run in {name}, but {sorted(running[name])}")
    story.says_the_same(story.url(objects.SAMPLE))


def remove_all(story: Story) -> None:
    """Deleting service and cache leaves nothing: no object, no volume, no file"""
    kubectl(story.world, "delete", "-n", NAMESPACE, f"inferenceservice/{objects.SAMPLE}")
    _wait_only(story, {objects.CACHE})
    kubectl(story.world, "delete", "-n", NAMESPACE, f"modelcache/{objects.CACHE}")
    _wait_only(story, set())

    def look() -> tuple[bool, str]:
        left = [it["metadata"]["name"] for it in story.world.cluster.list("v1", "PersistentVolume")]
        files = sorted(path.name for path in story.world.volumes.folder.iterdir())
        return not left and not files, f"volumes: {left}, folders: {files}"

    story.wait("volumes and their folders are gone", look, 60)


Step = Callable[[Story], None]
STEPS: tuple[Step, ...] = (
    download,
    basic,
    allocation,
    endpoint,
    load,
    remove_basic,
    distribute,
    kill,
    roll_out,
    scale,
    remove_groups,
    launch_by_mpi,
    remove_all,
)
