"""The real API server says of every row of the table what `app/api/admission.py` says without one."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from app.api.admission import find_violations
from app.api.schema import Kind
from app.hooks.kinds import KINDS
from tests.api.rule_table import ROWS, Row
from tests.cluster.world import API, World
from tools.sandbox.api import ApiError, Object

BY_NAME = {kind.name: kind for kind in KINDS}


def refusals(world: World, row: Row) -> list[tuple[str, str]]:
    """Field and message of each cause; nothing is stored."""
    api = world.cluster.api
    namespace = None if BY_NAME[row.kind].scope == "Cluster" else world.namespace
    resource = api.resource(API, kind=row.kind)
    try:
        api.request("POST", resource.path(namespace), body=row.manifest(namespace), params={"dryRun": "All"})
    except ApiError as error:
        if error.code != 422:
            raise
        return sorted(map(_cause, error.causes))
    return []


def _cause(cause: Object) -> tuple[str, str]:
    """The API server writes <nil> where the object itself is meant; earlier versions repeat the value's type."""
    return cause["field"].replace("<nil>", ""), re.sub(r'^Invalid value: ("[^"]*": )?', "", cause["message"])


def violations(kind: Kind, row: Row) -> Iterator[tuple[str, str]]:
    return ((it.path, it.message) for it in find_violations(kind, row.manifest()))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_api_server_refuses_what_is_told_without_it_and_nothing_else(world: World, kind: Kind) -> None:
    rows = [row for row in ROWS if row.kind == kind.name]
    refused = {row.what: refusals(world, row) for row in rows}
    assert refused == {row.what: sorted(violations(kind, row)) for row in rows}
