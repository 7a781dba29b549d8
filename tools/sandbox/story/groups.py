"""Steps of a model over two pods: native and by MPI, killed, rolled out, scaled, and their end."""

from __future__ import annotations

import httpx2

from tools.sandbox.api import Object
from tools.sandbox.cluster import has_condition
from tools.sandbox.story import objects, openai
from tools.sandbox.story.kubectl import kubectl
from tools.sandbox.story.story import NAMESPACE, Story, used_gpus, wait_only
from tools.sandbox.story.watch import API_VERSION, expect

LONG_ANSWER = 900
"""Tokens, and one part of a streamed answer for each."""
PARTS_BEFORE_KILL = 5


def distribute(story: Story) -> None:
    """A service of two pods with tensor parallelism says the same as one pod"""
    story.world.cluster.apply(objects.groups())
    status = story.ready("InferenceService", objects.GROUPS)["status"]
    told = status.get("distributed") or {}
    counts = (told.get("leaderReady"), told.get("workersReady"))
    expect(counts == (1, 1), f"status.distributed counts {counts} ready leaders and workers, not (1, 1)")
    expect(len(story.pods(objects.GROUPS)) == 2, f"{len(story.pods(objects.GROUPS))} pods instead of 2")
    policies = story.world.cluster.list("networking.k8s.io/v1", "NetworkPolicy", NAMESPACE)
    names = [policy["metadata"]["name"] for policy in policies]
    expect(objects.GROUPS in names, f"no NetworkPolicy protects the group, only {names}")
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
        with httpx2.stream("POST", url, json=body, timeout=openai.TIMEOUT, trust_env=False) as answer:
            for line in answer.iter_lines():
                parts += line.startswith("data: {")
                if parts == PARTS_BEFORE_KILL and line:
                    story.world.kill_container(worker)
                    story.tell(f"killed {worker['metadata']['name']} in the middle of an answer")
                if '"error"' in line:
                    broken = line[:200]
    except httpx2.HTTPError as error:
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
    wait_only(story, {objects.CACHE})

    def look() -> tuple[bool, str]:
        used = used_gpus(story)
        return used == 0, f"{used} GPUs in use"

    story.wait("no GPU is in use", look)


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
    wait_only(story, {objects.CACHE})
    kubectl(story.world, "delete", "-n", NAMESPACE, f"modelcache/{objects.CACHE}")
    wait_only(story, set())

    def look() -> tuple[bool, str]:
        left = [it["metadata"]["name"] for it in story.world.cluster.list("v1", "PersistentVolume")]
        files = sorted(path.name for path in story.world.volumes.folder.iterdir())
        return not left and not files, f"volumes: {left}, folders: {files}"

    story.wait("volumes and their folders are gone", look)
