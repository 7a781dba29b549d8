"""Many questions, one a line, each answered on its own: the JSON Lines of `plan --batch`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from app.cli.errors import CliError
from app.cli.judge import judge
from app.cli.service import parse_service
from app.cli.verdict import Verdict, to_line
from app.cli.world import World, gpu_nodes_of, offline_pool
from app.settings import Settings
from app.topology.codec import LARGEST
from app.topology.config import Unreadable, parse_config

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""Time without a cluster: only differences count, so every run gives the same answer."""


def answer_lines(lines: Iterable[str], settings: Settings) -> Iterator[tuple[str, bool]]:
    """An answer for each line that is not blank, in their order, and whether it is one: a bad line gives an error."""
    for line in lines:
        if line.strip():
            try:
                yield orjson.dumps(to_line(answer(_parsed(line), settings))).decode(), True
            except CliError as error:
                yield json.dumps({"error": str(error)}), False


def answer(question: Mapping[str, Any], settings: Settings) -> Verdict:
    """The verdict on one line's content."""
    service, nodes = question.get("service"), question.get("nodes", [])
    if not isinstance(service, Mapping):
        raise CliError("service is missing: it must be an InferenceService")
    if not isinstance(nodes, list):
        raise CliError("nodes must be a list of Nodes")
    config, weight_bytes = question.get("modelConfig"), parse_weight_bytes(question.get("weightsBytes"))
    return judge(build_world(service, nodes, config, weight_bytes, settings), weight_bytes)


def build_world(
    service: Mapping[str, Any],
    nodes: Iterable[Any],
    config: Any,
    weight_bytes: int | None,
    settings: Settings,
    namespace: str = "",
) -> World:
    """A world of nothing but one service and these nodes, over which a pool lies."""
    parent, spec = parse_service(service, namespace)
    gpu_nodes, others = gpu_nodes_of(nodes, settings)
    facts = None if config is None else read_config(config, weight_bytes)
    return World(
        parent=parent,
        spec=spec,
        settings=settings,
        now=EPOCH,
        model=None if isinstance(facts, Unreadable) else facts,
        unreadable=facts.reason if isinstance(facts, Unreadable) else "",
        gpu_nodes=gpu_nodes,
        others=others,
        pool=offline_pool(spec),
    )


def read_config(config: Any, weight_bytes: int | None) -> Any:
    """Facts of a config.json's content, or why there are none."""
    if not isinstance(config, Mapping):
        raise CliError("modelConfig must be the content of a config.json, a JSON object")
    return parse_config(config, weight_bytes)


def parse_weight_bytes(value: Any) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= LARGEST:
        raise CliError("weightsBytes must be a whole number of bytes, 1 or more, or null")
    return value


def _parsed(line: str) -> Mapping[str, Any]:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CliError(f"the line is not JSON: {error}") from None
    if not isinstance(content, Mapping):
        raise CliError("the line is no JSON object")
    return content
