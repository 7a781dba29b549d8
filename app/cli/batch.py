"""Many questions, one a line, and one answer a line in the same order. Nothing is read from a cluster.

{"service": InferenceService, "nodes": [Node, ...], "modelConfig": config.json or null, "weightsBytes": int or null}
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from app.cli.decide import decide
from app.cli.documents import parse_json
from app.cli.inputs import InputError, read_model
from app.cli.report import Json, build_answer
from app.cli.scenario import named, offline_scenario
from app.settings import Settings

log = logging.getLogger("app.cli")


def answer_lines(lines: Iterable[bytes], settings: Settings, now: datetime) -> Iterator[Json]:
    """One answer a line, {"error": sentence} where the line cannot be used; empty lines are passed over."""
    for line in lines:
        if line.strip():
            yield _answer(line, settings, now)


def _answer(line: bytes, settings: Settings, now: datetime) -> Json:
    try:
        return answer_question(_parsed(line), settings, now)
    except InputError as error:
        return {"error": str(error)}
    except Exception as error:  # a bug; the other lines are not to suffer from it
        log.exception("a line of the batch met a bug")
        return {"error": f"the program has a bug that this line shows: {error!r}"}


def answer_question(question: Mapping[str, object], settings: Settings, now: datetime) -> Json:
    """The answer to one question, as JSON."""
    service, nodes = question.get("service"), question.get("nodes")
    if not isinstance(service, Mapping):
        raise InputError("service is missing: give an InferenceService")
    if nodes is not None and not isinstance(nodes, list):
        raise InputError("nodes is no list of Nodes")
    asked = named(service)
    override = read_model(question.get("modelConfig"), question.get("weightsBytes"))
    nodes = nodes if isinstance(nodes, list) else []
    return build_answer(decide(offline_scenario(asked, nodes, override, settings), settings, now))


def _parsed(line: bytes) -> Mapping[str, object]:
    try:
        question = parse_json(line)
    except ValueError as error:
        raise InputError(f"the line is not JSON: {error}") from None
    if not isinstance(question, dict):
        raise InputError("the line is no JSON object")
    return question
