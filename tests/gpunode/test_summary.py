"""The GPUs of a node in a few words, as `kubectl get gpunodes` shows them."""

from __future__ import annotations

import pytest

from tests.gpunode.asked import GPU, labeller, node, spec_of
from tools.sandbox.api import Object
from tools.sandbox.nodes import build_node


@pytest.mark.parametrize(
    ("asked", "summary"),
    [
        pytest.param(build_node(0), "8 spx_nps1", id="one mode"),
        pytest.param(node(offered={GPU: 8}), "8", id="no mode"),
        pytest.param(node(labeller(device_id="74a1"), {GPU: 64}), "64 unknown", id="a mode in doubt"),
        pytest.param(node(offered={GPU: 7}, capacity={GPU: 8}), "7 of 8", id="one unhealthy"),
        pytest.param(
            node(offered={"amd.com/spx_nps1": 4, "amd.com/cpx_nps4": 32}), "32 cpx_nps4 + 4 spx_nps1", id="two modes"
        ),
        pytest.param(node(labeller(device_id="74a1")), "0", id="no device plugin"),
    ],
)
def test_a_summary(asked: Object, summary: str) -> None:
    assert spec_of(asked)["summary"] == summary
