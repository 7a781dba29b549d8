"""Which group of its service a pod is.

LWS and the agent label pods with their group. A Deployment's pods that nobody numbered (services without placement)
keep the number that the GPURequest's status has given them; the others get the lowest free ones, oldest pod first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import count, filterfalse

from app.agent.facts import Json, Pod
from app.kube.lenient import count_at, mappings_at, text_at


def parse_earlier(status: Json) -> dict[str, int]:
    """Group by pod name, as a GPURequest's status has it."""
    return {text_at(pod, "name"): count_at(pod, "group") for pod in mappings_at(status, "pods")}


def assign_groups(pods: Sequence[Pod], earlier: Mapping[str, int]) -> dict[str, int]:
    """Group by name of the pods that have a node; `pods` are those of one service, oldest first."""
    bound = [pod for pod in pods if pod.node and not pod.ended]
    groups = {pod.name: pod.member.group for pod in bound if pod.member and pod.member.group is not None}
    taken = set(groups.values())
    unnumbered = [pod for pod in bound if pod.name not in groups]
    for pod in unnumbered:
        before = earlier.get(pod.name)
        if before is not None and before not in taken:
            groups[pod.name] = before
            taken.add(before)
    free = _free(taken)
    return groups | {pod.name: next(free) for pod in unnumbered if pod.name not in groups}


def _free(taken: Set[int]) -> Iterator[int]:
    return filterfalse(taken.__contains__, count())
