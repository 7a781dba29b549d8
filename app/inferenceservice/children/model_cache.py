"""spec.model.source -> the ModelCache that fetches it.

hf://org/model[@revision] or huggingface://...    s3://bucket/key    gs://bucket[/prefix]    http(s)://host/path
https://huggingface.co/org/model[/tree/revision]  is the page of a repository, hence the repository
"""

from __future__ import annotations

from app.api.schema import API_VERSION
from app.contracts.sources import parse_source
from app.fit.catalog import GIB, find_model
from app.fit.memory.weights import stored_bytes
from app.inferenceservice.facts import Facts
from app.inferenceservice.names import cache_child_name
from app.kube.lenient import text_at
from app.kube.manifest import Manifest
from app.kube.names import MODEL_ANNOTATION, SERVICE_LABEL, standard_labels
from app.kube.quantity import format_bytes


def build_cache(facts: Facts) -> Manifest:
    """The ModelCache `<service>-model`; its size and class are those of when it was made."""
    model, there = facts.spec.model, facts.observed.cache
    labels = standard_labels("model-cache", facts.identity.name, model.name)
    storage_class = there.storage_class if there else facts.settings.storage_class
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelCache",
        "metadata": {
            "name": cache_child_name(facts.identity.name),
            "namespace": facts.identity.namespace,
            "labels": labels | {SERVICE_LABEL: facts.identity.name},
            "annotations": {MODEL_ANNOTATION: model.name},
        },
        "spec": {
            "modelName": model.name,
            "source": parse_source(str(model.source)),
            "size": (there.size if there else "") or _size(facts),
        }
        | ({"storageClass": storage_class} if storage_class else {}),
    }


MARGIN = 1.1
"""Of the weights: tokenizer and other files, and what the file system takes."""


def _size(facts: Facts) -> str:
    """Of a model that the catalogue knows, its weights and a margin; else what the settings say."""
    source = parse_source(str(facts.spec.model.source))
    repository = text_at(source, "huggingface", "repository")
    known = next((found for name in (repository, facts.spec.model.name) if (found := find_model(name))), None)
    if known is None:
        return facts.settings.cache_size
    stored = known.weight_bytes or stored_bytes(known)
    return format_bytes(int(stored * MARGIN) + GIB)
