"""`make demo REAL=1`: the story on a real node for whoever watches, and at its end a service that answers."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from rich.console import Console

from tools.sandbox.node.world import World
from tools.sandbox.story import objects
from tools.sandbox.story.collect import collect
from tools.sandbox.story.steps import STEPS
from tools.sandbox.story.story import Story
from tools.sandbox.story.watch import StepFailedError

FAILURES = Path("build") / "e2e"


def run_story(console: Console, *, stay: bool) -> bool:
    """False when a step failed. With `stay` the service at the end runs until Ctrl-C."""

    def tell(text: str) -> None:
        console.print(text, soft_wrap=True, markup=False)

    with World.start(tell) as world:
        story = Story(world, tell)
        try:
            for step in STEPS:
                story.run(step)
            command = serve_again(story)
        except StepFailedError as error:
            folder = collect(world, FAILURES / f"{time.strftime('%Y%m%d-%H%M%S')}-{story.failed or 'curl'}")
            console.print(f"[red]{error}[/]", soft_wrap=True)
            tell(f"logs, events and conditions: {folder}")
            return False
        tell(f"\n$ {command}")
        subprocess.run(command, shell=True, check=True)
        if stay:
            tell("\nTry it from another terminal; Ctrl-C here ends everything:")
            tell(f"  export KUBECONFIG={world.cluster.kubeconfig}\n  {world.kubectl} get amd-inference,pods -A")
            while True:
                world.check()
                time.sleep(1)
    return True


def serve_again(story: Story) -> str:
    """One service on one node; the command that asks it."""
    story.world.cluster.apply([objects.namespace(), objects.basic()])
    story.ready("InferenceService", objects.BASIC)
    body = '{"model": "tiny", "prompt": "Once upon a time", "max_tokens": 16}'
    url = f"{story.url(objects.BASIC)}/v1/completions"
    return f"curl --no-progress-meter {url} -H 'Content-Type: application/json' -d '{body}'"
