"""The hook on every Node."""

from __future__ import annotations

from app.gpunode.children import build_attachment, build_spec
from app.gpunode.facts import Facts, gather_facts
from app.gpunode.inventory import take_inventory
from app.gpunode.labels import own_labels
from app.metacontroller.protocol import DecorateRequest, DecorateResponse
from app.settings import Settings


def sync(request: DecorateRequest, settings: Settings) -> DecorateResponse:
    """One GPUNode and the operator's labels for an AMD node; neither for any other node."""
    facts = gather_facts(request.object, settings)
    return _decorated(facts, settings) if facts else DecorateResponse(labels=own_labels(None, None), attachments=[])


def _decorated(facts: Facts, settings: Settings) -> DecorateResponse:
    inventory = take_inventory(facts)
    own = own_labels(facts.product.key if facts.product else None, inventory.partition)
    spec = build_spec(facts, inventory, own, settings)
    return DecorateResponse(labels=own, attachments=[build_attachment(facts.node.name, spec)])
