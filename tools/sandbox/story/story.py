"""What the steps of the story act on, and what they hand on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tools.sandbox.api import Object
from tools.sandbox.node import config
from tools.sandbox.node.world import World
from tools.sandbox.process import accepts
from tools.sandbox.story import objects, openai
from tools.sandbox.story.kubectl import everything
from tools.sandbox.story.watch import API_VERSION, Tell, expect, wait_for, wait_ready

NAMESPACE = objects.NAMESPACE
START_SECONDS = 400.0
"""For pods that load vLLM: a minute on an idle machine of two processors, three on a busy one."""


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
        """A Service as seen from this machine, once the node's kube-proxy leads to it."""
        found = self.world.cluster.get("v1", "Service", service, NAMESPACE)
        assert found, f"Service {service} does not exist"
        address = found["spec"]["clusterIP"]
        self.wait(f"Service {service} accepts connections", lambda: accepts(address, port))
        return f"http://{address}:{port}"

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


Step = Callable[[Story], None]
"""Its docstring says what it shows."""


def used_gpus(story: Story) -> int:
    """What the agent counted on the node; -1 before its first look."""
    node = story.world.cluster.get(API_VERSION, "GPUNode", config.NODE_NAME) or {}
    return int(node.get("status", {}).get("used", -1))


def wait_only(story: Story, names: set[str]) -> None:
    """Until the namespace holds only objects whose names begin with these."""

    def look() -> tuple[bool, str]:
        there = everything(story.world, NAMESPACE)
        left = sorted(it for it in there if not any(it.partition("/")[2].startswith(name) for name in names))
        return not left, f"left: {', '.join(left)}" if left else "nothing is left"

    story.wait("everything that it made is gone", look)
