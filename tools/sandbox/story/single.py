"""Steps of a model on one node: its download, its service, its endpoint, load, and its end."""

from __future__ import annotations

import asyncio
import hashlib

from perf.client import Load
from perf.load import run_scenario
from perf.scenarios import Scenario
from tools.sandbox.cluster import has_condition
from tools.sandbox.node import config
from tools.sandbox.story import objects, openai
from tools.sandbox.story.kubectl import kubectl
from tools.sandbox.story.story import NAMESPACE, Story, used_gpus, wait_only
from tools.sandbox.story.watch import API_VERSION, expect

LOAD = Scenario("short", 2, 8)
LEAST_SHARE = 0.33
"""Of the pod's own throughput that must come through the endpoint."""
ROUNDS = 3
"""Both are measured in turn, and the best of each is compared: a machine that is busy for a while slows one of them."""


def download(story: Story) -> None:
    """A ModelCache downloads the model into a volume; its progress moves and facts appear"""
    story.world.cluster.apply([objects.namespace(), objects.cache()])
    seen: set[int] = set()

    def look() -> tuple[bool, str]:
        item = story.world.cluster.get(API_VERSION, "ModelCache", objects.CACHE, NAMESPACE) or {}
        status = item.get("status", {})
        seen.add(int(status.get("downloadProgress") or 0))
        return has_condition(item, "Ready"), f"{status.get('phase')} {status.get('downloadProgress', 0)}%"

    story.wait("ModelCache tiny is Ready", look)
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

    story.wait("GPUNode real-0 counts one GPU in use", look)


def endpoint(story: Story) -> None:
    """An InferenceEndpoint leads to it"""
    story.world.cluster.apply(objects.endpoint())
    story.ready("InferenceEndpoint", objects.ENDPOINT)
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
    rates = dict.fromkeys(urls, 0.0)
    for name, url in [*urls.items()] * ROUNDS:
        result = asyncio.run(run_scenario(url, Load("tiny", max_tokens=16), LOAD, [f"{url}/metrics"]))
        expect(not result.errors and result.requests > 0, f"load on the {name} failed: {result.errors}")
        expect(bool(result.usage), f"{url}/metrics tells of no resource")
        rates[name] = max(rates[name], result.requests_per_second)
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
    wait_only(story, {objects.CACHE})
