"""The whole way on a real node: real kubelet, real images, real vLLM on processors."""

from __future__ import annotations

import pytest

from tools.sandbox.story.steps import STEPS
from tools.sandbox.story.story import Step, Story

pytestmark = pytest.mark.e2e


@pytest.mark.usefixtures("collected")
@pytest.mark.parametrize("step", STEPS, ids=[step.__name__ for step in STEPS])
def test_step(story: Story, step: Step) -> None:
    """Steps build on each other, so the first one that fails ends the story."""
    if story.failed:
        pytest.skip(f"the step {story.failed} failed")
    story.run(step)
