"""`python -m tests.bench.exact`: the allocator against an exact solver (OR-tools CP-SAT) on small random clusters.

Both admit services in the same order. The solver may move everything that it admitted before to make room for the next
one, which a pool never does with what runs; so its number of admitted GPUs is an upper bound.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Sequence

from app.scheduling.nodes import Node, NodeRequirements
from app.scheduling.request import PlacementRequest
from app.scheduling.scheduler import allocate

WISH = NodeRequirements("amd.com/gpu", ())


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.exact", description=__doc__)
    parser.add_argument("--clusters", type=int, default=200, help="random clusters (default: 200)")
    arguments = parser.parse_args(argv)
    try:
        import ortools  # noqa: F401
    except ModuleNotFoundError:
        print("exact solver: skipped, ortools is not installed (pip install --group bench)")
        return 0
    ours = exact = broken = 0
    for seed in range(arguments.clusters):
        nodes, needs = build(random.Random(seed))
        admitted = admit(nodes, needs)
        broken += not is_feasible(nodes, needs)
        ours += sum(need.nodes * need.gpus_per_node for need in admitted)
        exact += sum(need.nodes * need.gpus_per_node for need in admit_exactly(nodes, needs))
    print(
        f"exact solver: {ours} of {exact} GPUs admitted ({100 * ours / exact:.1f} %) on {arguments.clusters} clusters, "
        f"{broken} infeasible"
    )
    return 0


def build(chance: random.Random) -> tuple[list[Node], list[PlacementRequest]]:
    nodes = [Node(f"n{it}", "amd.com/gpu", "MI300X", chance.choice((4, 8))) for it in range(chance.randint(2, 6))]
    needs = [
        PlacementRequest(
            f"ns/s{it:02}",
            "d",
            WISH,
            nodes=chance.choice((1, 1, 1, 2)),
            gpus_per_node=chance.choice((1, 2, 2, 4, 8)),
            creation_timestamp=f"{it:02}",
            exclusive=chance.random() < 0.15,
        )
        for it in range(chance.randint(4, 16))
    ]
    return nodes, needs


def admit(nodes: list[Node], needs: list[PlacementRequest]) -> list[PlacementRequest]:
    """Those that the allocator gives GPUs."""
    decisions = allocate(nodes, needs, {}, 1e9)
    return [need for need in needs if decisions[need.service].hosts]


def is_feasible(nodes: list[Node], needs: list[PlacementRequest]) -> bool:
    """No node over its GPUs, nobody beside an exclusive service."""
    decisions, guests = allocate(nodes, needs, {}, 1e9), dict[str, Counter[str]]()
    for need in needs:
        for host in decisions[need.service].hosts.values():
            guests.setdefault(host, Counter())[need.service] += need.gpus_per_node
    exclusive = {need.service for need in needs if need.exclusive}
    gpus = {node.host: node.gpus for node in nodes}
    return all(
        held.total() <= gpus[host] and (len(held) == 1 or not exclusive & held.keys()) for host, held in guests.items()
    )


def admit_exactly(nodes: list[Node], needs: list[PlacementRequest]) -> list[PlacementRequest]:
    """In the same order: whoever can be placed together with all that were admitted before."""
    admitted: list[PlacementRequest] = []
    for need in needs:
        if can_be_placed(nodes, [*admitted, need]):
            admitted.append(need)
    return admitted


def can_be_placed(nodes: list[Node], needs: list[PlacementRequest]) -> bool:
    """Whether pods of all needs have a place at once."""
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    pods = [[model.new_int_var(0, need.nodes, "") for _ in nodes] for need in needs]
    there = [[model.new_bool_var("") for _ in nodes] for _ in needs]
    for row, need in enumerate(needs):
        model.add(sum(pods[row]) == need.nodes)
        for column in range(len(nodes)):
            model.add(pods[row][column] <= need.nodes * there[row][column])
            for other in range(len(needs)) if need.exclusive else ():
                if other != row:
                    model.add(there[row][column] + there[other][column] <= 1)
    for column, node in enumerate(nodes):
        model.add(sum(need.gpus_per_node * pods[row][column] for row, need in enumerate(needs)) <= node.gpus)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    return solver.solve(model) in (cp_model.OPTIMAL, cp_model.FEASIBLE)


if __name__ == "__main__":
    sys.exit(main())
