"""Names, labels and annotations that the operator writes, each defined once."""

from __future__ import annotations

import hashlib
import re

import orjson

OPERATOR = "inference-operator"

SERVICE_LABEL = "inference.ai/service"
SERVICE_KEY_LABEL = "inference.ai/service-key"
"""On pods: namespace and name of the service, so that one label tells services of the whole cluster apart."""
ROLE_LABEL = "inference.ai/role"
MODEL_LABEL = "inference.ai/model"
CACHE_LABEL = "inference.ai/cache"
LINE_LABEL = "inference.ai/line"
"""On a GPUAllocation that is of no service: what it says of the line of its namespace."""
LINE_IS_FULL = "full"
CLAIM_LABEL = "inference.ai/claim"
"""On pods: the ReadWriteOnce claim that they read, by which they stay on one node."""
ENDPOINT_LABEL = "inference.ai/endpoint"

MODEL_ANNOTATION = "inference.ai/model"
DIGEST_ANNOTATION = "inference.ai/spec-digest"
REPLAN_ANNOTATION = "inference.ai/replan"
DECISION_ANNOTATION = "inference.ai/decision"
REQUEST_ANNOTATION = "inference.ai/gpu-request"
"""On a workload: digest of the GPURequest that it was built for."""
SIZE_ANNOTATION = "inference.ai/size-from"
"""On a workload: `spec` once its number of groups has followed spec.replicas, so that it is nobody else's."""
SIZE_FROM_SPEC = "spec"
VERSION_ANNOTATION = "inference.ai/model-version"
"""On a workload: version of the weights in the folder that it was built for."""
PROBLEM_ANNOTATION = "inference.ai/pod-problem"
"""On the Job of a download, by the agent: why its pods do not run."""
REFRESH_ANNOTATION = "inference.ai/refresh"

PLACEMENT_GATE = "inference.ai/placement"
"""Scheduling gate of pods that wait for the agent to give them their node."""
GROUP_LABEL = "inference.ai/group"
"""Label on pods of a Deployment that the agent gave a node: index of the group they are. LWS has its own labels."""
HEARTBEAT_ANNOTATION = "inference.ai/agent-heartbeat"
"""Annotation on GPUPools: RFC 3339 time at which the agent last saw that its facts are true."""
HOSTNAME_LABEL = "kubernetes.io/hostname"
"""Label on Nodes, by kubelet; usually, but not always, the Node's name."""

NAMESPACE_NAME_LABEL = "kubernetes.io/metadata.name"
"""Label that the API server puts on every Namespace: its name."""

LEADER = "leader"
WORKER = "worker"

_NOT_LABEL = re.compile(r"[^A-Za-z0-9._-]+")


def workload_name(service: str) -> str:
    """The Deployment of a service; its LeaderWorkerSet has the service's own name."""
    return f"{service}-leader"


def label_value(text: str) -> str:
    """Any text as a label value: at most 63 characters of [A-Za-z0-9._-], starting and ending alphanumeric.

    A slash becomes "--", as Hugging Face's cache folders do; what is cut off is told apart by a hash.
    """
    value = _NOT_LABEL.sub("-", text.replace("/", "--")).strip("-._")
    if len(value) > 63:
        value = f"{value[:54].rstrip('-._')}-{short_hash(text)}"
    return value


def short_hash(text: str) -> str:
    """Eight hexadecimal digits of a text, for names: stable across versions and processes."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def digest(value: object) -> str:
    """Sixteen hexadecimal digits of a JSON value, whatever the order of its keys: tells whether it has changed."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def standard_labels(component: str, instance: str, model: str) -> dict[str, str]:
    """The labels of every child: what it is, whose it is, which model it is about."""
    return {
        "app.kubernetes.io/name": OPERATOR,
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/instance": label_value(instance),
        "app.kubernetes.io/managed-by": OPERATOR,
        MODEL_LABEL: label_value(model),
    }
