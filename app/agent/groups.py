"""Which group of its service a pod is.

LWS and the agent label pods with their group. A Deployment's pods that nobody numbered (services without placement)
keep the number that the GPURequest's status has given them; the others get the lowest free ones, oldest pod first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import count, filterfalse, islice

from app.agent.snapshot import Json, Pod
from app.kube.lenient import count_at, mappings_at, text_at


def parse_earlier(status: Json) -> dict[str, int]:
    """Group by pod name, as a GPURequest's status has it."""
    return {text_at(pod, "name"): count_at(pod, "group") for pod in mappings_at(status, "pods")}


def assign_groups(pods: Sequence[Pod], earlier: Mapping[str, int]) -> dict[str, int]:
    """Group by name of the pods that have a node; `pods` are those of one service, oldest first.

    A pod that leaves shares its number with the one that comes instead, so the numbers of those that stay have no gap:
    GPUs beyond it would be nobody's.
    """
    bound = [pod for pod in pods if pod.node and not pod.ended]
    groups = {pod.name: pod.member.group for pod in bound if pod.member and pod.member.group is not None}
    unnumbered = [pod for pod in bound if pod.name not in groups]
    staying = [pod for pod in unnumbered if not pod.leaving]
    taken = set(groups.values())
    numbers = set(islice(_free(taken), len(staying)))
    for pod in staying:
        before = earlier.get(pod.name)
        if before in numbers:
            groups[pod.name] = before
            numbers.discard(before)
    left = iter(sorted(numbers))
    groups |= {pod.name: next(left) for pod in staying if pod.name not in groups}
    return groups | {pod.name: earlier.get(pod.name, 0) for pod in unnumbered if pod.leaving}


def _free(taken: Set[int]) -> Iterator[int]:
    return filterfalse(taken.__contains__, count())
