"""Heartbeats and whatever else changes on Nodes all day change nothing in the answer."""

from __future__ import annotations

import copy
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gpunode.asked import ask
from tools.sandbox.api import Object
from tools.sandbox.nodes import build_node

TIMES = st.datetimes().map(lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%SZ"))
TEXTS = st.text(max_size=8)
NODES = st.sampled_from(
    [
        build_node(0, rack="rack-1", block="block-1"),
        build_node(1, product="MI355X", partition="cpx_nps2", naming="mixed"),
        build_node(2, labelled=False),
        build_node(3, product=None),
    ]
)


def with_noise(node: Object, data: st.DataObject) -> Object:
    """The node some minutes later."""
    noisy = copy.deepcopy(node)
    noisy["metadata"] |= {
        "resourceVersion": data.draw(TEXTS),
        "managedFields": [{"manager": data.draw(TEXTS), "time": data.draw(TIMES)}],
        "annotations": data.draw(st.dictionaries(TEXTS, TEXTS, max_size=3)),
    }
    noisy["spec"] = {"podCIDR": data.draw(TEXTS), "providerID": data.draw(TEXTS)}
    noisy["status"] |= {
        "conditions": [
            {
                "type": kind,
                "status": status,
                "message": data.draw(TEXTS),
                "lastHeartbeatTime": data.draw(TIMES),
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
            for kind, status in data.draw(st.permutations([("Ready", "True"), ("MemoryPressure", "False")]))
        ],
        "images": [{"names": [data.draw(TEXTS)], "sizeBytes": data.draw(st.integers())}],
        "nodeInfo": {"kubeletVersion": data.draw(TEXTS), "bootID": data.draw(TEXTS)},
        "addresses": [{"type": "InternalIP", "address": data.draw(TEXTS)}],
        "volumesInUse": data.draw(st.lists(TEXTS, max_size=2)),
    }
    noisy["status"]["allocatable"] = node["status"]["allocatable"] | {
        "memory": data.draw(TEXTS),
        "pods": data.draw(TEXTS),
        "cpu": data.draw(TEXTS),
    }
    labels = list(node["metadata"]["labels"].items())
    random.Random(data.draw(st.integers())).shuffle(labels)
    noisy["metadata"]["labels"] = dict(labels)
    return noisy


@settings(deadline=None)
@given(NODES, st.data())
def test_noise_changes_no_answer(node: Object, data: st.DataObject) -> None:
    first, later = with_noise(node, data), with_noise(node, data)
    assert ask(first) == ask(later)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.data())
def test_a_misshapen_node_is_read_as_far_as_it_goes(data: st.DataObject) -> None:
    """Never an exception: one strange Node must not stop its own label from being removed."""
    node: Any = build_node(0)
    where = data.draw(st.sampled_from(["taints", "unschedulable", "conditions", "capacity", "allocatable"]))
    place = node.setdefault("spec", {}) if where in ("taints", "unschedulable") else node["status"]
    place[where] = data.draw(ANYTHING | st.lists(st.dictionaries(st.sampled_from(["key", "effect", "type"]), ANYTHING)))
    assert ask(node).labels["inference.ai/gpu-product"] == "MI300X"
