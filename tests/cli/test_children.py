"""What is read of a live service is what its controller would observe."""

from __future__ import annotations

import yaml

from app.cli.children import PLACES
from app.cli.scenario import CHILD_KINDS
from tools.sandbox.operator import controllers


def test_every_kind_of_child_that_the_controller_manages_is_read() -> None:
    [controller] = [it for it in controllers(lws=True) if it["metadata"]["name"] == "inferenceservice"]
    listed = {(it["apiVersion"], it["resource"]) for it in controller["spec"]["childResources"]}
    read = {(kind.partition(".")[2], PLACES[kind.partition(".")[0]].plural) for kind in CHILD_KINDS}
    assert read == listed, yaml.safe_dump(sorted(read ^ listed))
