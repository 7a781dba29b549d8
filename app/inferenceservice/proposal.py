"""What would be served today, as far as it can be said. Each stage hands on what it found; the checks look at that."""

from __future__ import annotations

from dataclasses import dataclass

from app.fit.parallelism import Impossible
from app.inferenceservice.engine import command_line
from app.inferenceservice.facts import Facts
from app.inferenceservice.grant import Grant, find_grant, grant_by_spec
from app.inferenceservice.model_volume import Store, find_store
from app.kube.conditions import ErrorClass, Finding, Reason
from app.vllm.command import CommandLine

NO_COMMAND = CommandLine((), (), ())


@dataclass(frozen=True)
class Proposal:
    """GPUs, volume and command line of one group."""

    facts: Facts
    grant: Grant | Finding
    """The GPUs, or why there are none yet."""
    store: Store | None
    """Where pods find the model; None when vLLM fetches it itself, or the volume may not be used."""
    command: CommandLine
    """With the GPUs that were granted, else with those that the spec alone asks for; empty where its sizes make no
    shape."""


def propose(facts: Facts, current_digest: str) -> Proposal:
    """`current_digest` as in find_grant."""
    store = find_store(facts.identity.key, facts.observed.cache, facts.settings)
    need = facts.asked
    if isinstance(need, Impossible):
        problem = Finding(ErrorClass.CONFIGURATION, Reason.CONFIGURATION_ERROR, need.message)
        return Proposal(facts, problem, store, NO_COMMAND)
    grant = find_grant(facts, need, current_digest)
    known = grant if isinstance(grant, Grant) else grant_by_spec(need)
    return Proposal(facts, grant, store, command_line(facts, known, store))
