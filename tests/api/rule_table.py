"""Objects that break rules across fields, and objects that keep them, for every CEL rule of every kind.

The types of each object are right, for admission evaluates rules on such objects alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.api.schema import API_VERSION
from app.api.v1alpha1.inferenceendpoint import NEEDS_HTTP

Json = dict[str, Any]
LABELS = {"k" * 318: "v"}


@dataclass(frozen=True)
class Row:
    """One object."""

    what: str
    kind: str
    spec: Json
    broken: Sequence[tuple[str, str]] = ()
    """Path and beginning of the message of each rule that it breaks; none: it is accepted."""
    name: str = "demo"

    def manifest(self, namespace: str | None = None) -> Json:
        place = {"namespace": namespace} if namespace else {}
        return {
            "apiVersion": API_VERSION,
            "kind": self.kind,
            "metadata": {"name": self.name, **place},
            "spec": self.spec,
        }


def service(what: str, *broken: tuple[str, str], name: str = "demo", **spec: Any) -> Row:
    base: Json = {"model": {"name": "org/tiny"}, "resources": {"totalGpus": 4}}
    return Row(what, "InferenceService", base | spec, broken, name)


def cache(what: str, *broken: tuple[str, str], name: str = "demo", **spec: Any) -> Row:
    return Row(what, "ModelCache", {"modelName": "org/tiny"} | spec, broken, name)


def source(what: str, *broken: tuple[str, str], kind: str, **members: Any) -> Row:
    return cache(what, *broken, source={"type": kind, **members})


def web(what: str, *broken: tuple[str, str], **http: Any) -> Row:
    return source(what, *broken, kind="http", http=http)


def endpoint(what: str, *broken: tuple[str, str], name: str = "demo", **spec: Any) -> Row:
    return Row(what, "InferenceEndpoint", {"service": "demo"} | spec, broken, name)


def pool(what: str, *broken: tuple[str, str], **spec: Any) -> Row:
    return Row(what, "GPUPool", spec, broken, "demo")


def selecting(what: str, *broken: tuple[str, str], **requirement: Any) -> Row:
    return pool(what, *broken, nodeSelector={"matchExpressions": [{"key": "zone", **requirement}]})


def request(what: str, *broken: tuple[str, str], **spec: Any) -> Row:
    base = {
        "pool": "default",
        "digest": "d",
        "strategy": "dynamic",
        "sharing": "shared",
        "resource": "amd.com/gpu",
        "nodes": 1,
        "gpusPerNode": 1,
        "replicas": {"min": 1, "max": 1},
        "shapes": [],
    }
    return Row(what, "GPURequest", base | spec, broken)


URL = "https://example.com/model.tar"
SHA = "0" * 64
VARIABLES = ("spec.vllm.envVars", "keys and values can have 32768 characters")
LONG_KEY = "a key can have"
UNION = ("spec.source", "source holds exactly the member")
VALUES = ("spec.nodeSelector.matchExpressions[0]", "In and NotIn need values")
GPU_COUNTS = ("spec", "resources.totalGpus and resources.gpu.count")
SHARINGS = ("spec", "resources.sharing and resources.gpu.strategy")
GROUP_SIZES = ("spec", "distributed.size counts the leader")
STATIC = ("spec", "strategy static places one GPU")
UNEVEN = ("spec", "totalGpus cannot be split evenly")
PRODUCT = ("spec", "tensor x pipeline x data parallel size")
CPU_REQUEST = ("spec", "autoscaling aims at a share")
HTTP_PORT = ("spec.expose", NEEDS_HTTP)
SOURCE = ("spec.model.source", "source must begin with")
SLOW = ("spec.refreshInterval", "refreshInterval must be 1m or more")
WITH_CPU = {"totalGpus": 4, "cpuRequest": "1"}


def sizes(tensor: int | None = None, pipeline: int | None = None, data: int | None = None) -> Json:
    given = {"tensor": tensor, "pipeline": pipeline, "data": data}
    return {"engineArgs": {f"{axis}_parallel_size": size for axis, size in given.items() if size is not None}}


def scaled(**more: Any) -> Json:
    return {"resources": WITH_CPU, "autoscaling": {"enabled": True, **more}}


def ingress(**more: Any) -> Json:
    return {"networking": {"ingress": more}}


def monitored(path: str) -> Json:
    return {"monitoring": {"prometheus": {"path": path}}}


NAMES = [
    service("a name of 46 characters", name="n" * 46),
    service("a name of 47", ("", "the name can have 46 characters"), name="n" * 47),
    service("a name with a dot", ("", "the name must start with a letter"), name="a.b"),
    service("a name that begins with a digit", ("", "the name must start with a letter"), name="1a"),
    service("a group's name of 45", name="n" * 45, distributed={"enabled": True, "size": 2}),
    service(
        "a group's name of 46",
        ("", "the name of a distributed service can have 45"),
        name="n" * 46,
        distributed={"enabled": True, "size": 2},
    ),
    service("a name of 39 with a source", name="n" * 39, model={"name": "m", "source": "s3://bucket/key"}),
    service(
        "a name of 40 with a source",
        ("", "the name of a service with model.source can have 39"),
        name="n" * 40,
        model={"name": "m", "source": "s3://bucket/key"},
    ),
    cache("a cache's name of 45", name="n" * 45),
    cache("a cache's name of 46", ("", "metadata.name may have at most 45 characters"), name="n" * 46),
    endpoint("an endpoint's name of 54", name="n" * 54),
    endpoint("an endpoint's name of 55", ("", "the name can have 54 characters"), name="n" * 55),
    endpoint("an endpoint's name with a dot", ("", "the name must start with a letter"), name="a.b"),
]
SERVICES = [
    service("no GPUs", ("spec", "say how many GPUs one group uses"), resources={}),
    service("GPUs in the second spelling", resources={"gpu": {"count": 2}}),
    service("two counts, alike", resources={"totalGpus": 2, "gpu": {"count": 2}}),
    service("two counts", GPU_COUNTS, resources={"totalGpus": 2, "gpu": {"count": 4}}),
    service("sharing in both spellings", resources=WITH_CPU | {"sharing": "shared", "gpu": {"strategy": "shared"}}),
    service(
        "two kinds of sharing", SHARINGS, resources=WITH_CPU | {"sharing": "shared", "gpu": {"strategy": "exclusive"}}
    ),
    service("a size and workers", distributed={"enabled": True, "size": 2, "workerReplicas": 1}),
    service("workers alone", distributed={"enabled": True, "workerReplicas": 1}),
    service("a size and other workers", GROUP_SIZES, distributed={"enabled": True, "size": 2, "workerReplicas": 2}),
    service("other workers, not distributed", GROUP_SIZES, distributed={"size": 2, "workerReplicas": 2}),
    service("no size of a group", ("spec", "say how many nodes one group uses"), distributed={"enabled": True}),
    service("no size, not distributed", distributed={"enabled": False}),
    service(
        "a source and a cache",
        ("spec", "model.source and storage.modelCache both say"),
        model={"name": "m", "source": "hf://org/m"},
        storage={"modelCache": "c"},
    ),
    service("a cache", storage={"modelCache": "c"}),
    service("static", resources={"totalGpus": 1, "strategy": "static"}),
    service(
        "static, one GPU a node",
        resources={"totalGpus": 2, "strategy": "static"},
        distributed={"enabled": True, "size": 2},
    ),
    service(
        "static, several GPUs a node",
        STATIC,
        resources={"totalGpus": 4, "strategy": "static"},
        distributed={"enabled": True, "size": 2},
    ),
    service("static, not distributed", STATIC, resources={"gpu": {"count": 2}, "strategy": "static"}),
    service("GPUs that do not split", UNEVEN, distributed={"enabled": True, "size": 3}),
    service("GPUs that do not split over workers", UNEVEN, distributed={"enabled": True, "workerReplicas": 2}),
    service("sizes that make it", vllm=sizes(2, 2, 1)),
    service("a size that divides it", vllm=sizes(tensor=2)),
    service("a size that does not", PRODUCT, vllm=sizes(tensor=3)),
    service("all sizes, too small", PRODUCT, vllm=sizes(2, 1, 1)),
    service("two rules at once", UNEVEN, PRODUCT, distributed={"enabled": True, "size": 3}, vllm=sizes(data=3)),
    service(
        "arguments of all kinds", vllm={"engineArgs": {"seed": 1, "x": [None, {"y": 0.5}], "tensor_parallel_size": 4}}
    ),
    service("a source of each kind: Hub", model={"name": "m", "source": "huggingface://org/m@main"}),
    service("a source of each kind: S3", model={"name": "m", "source": "s3://bucket/key"}),
    service("a source of each kind: GCS", model={"name": "m", "source": "gs://bucket"}),
    service("a source of each kind: HTTP", model={"name": "m", "source": URL}),
    service("a source of another kind", SOURCE, model={"name": "m", "source": "ftp://host/model"}),
    service("a source with a line end", SOURCE, model={"name": "m", "source": "hf://org/m\n"}),
    service("a source in other letters", SOURCE, model={"name": "m", "source": "hf://örg/m"}),
    service("autoscaling", **scaled(maxReplicas=2)),
    service("autoscaling without a most", ("spec.autoscaling", "autoscaling needs an upper bound"), **scaled()),
    service(
        "more at least than at most",
        ("spec.autoscaling", "autoscaling.minReplicas must not be greater"),
        **scaled(minReplicas=3, maxReplicas=2),
    ),
    service("autoscaling of nothing", CPU_REQUEST, autoscaling={"enabled": True, "maxReplicas": 2}),
    service("a delay of an hour", **scaled(maxReplicas=2, scaleDownDelay="60m")),
    service(
        "a delay of more",
        ("spec.autoscaling", "autoscaling.scaleDownDelay can be one hour"),
        autoscaling={"scaleDownDelay": "1h1s"},
    ),
    service("metrics", **monitored("/metrics")),
    service("metrics elsewhere", ("spec.monitoring.prometheus", "vLLM serves its metrics"), **monitored("/other")),
    service("an ingress", **ingress(enabled=True, host="a.example")),
    service(
        "an ingress without a host", ("spec.networking.ingress", "an ingress needs a host"), **ingress(enabled=True)
    ),
    service(
        "TLS without a Secret",
        ("spec.networking.ingress", "TLS needs a certificate"),
        **ingress(enabled=True, host="a.example", tls={"enabled": True}),
    ),
    service("TLS", **ingress(enabled=True, host="a.example", tls={"enabled": True, "secretName": "s"})),
    service("a long annotation", ("spec.networking.ingress.annotations", LONG_KEY), **ingress(annotations=LABELS)),
    service(
        "many annotations",
        ("spec.networking.ingress.annotations", "keys and values can have 65536"),
        **ingress(annotations={f"k{number}": "v" * 1000 for number in range(70)}),
    ),
    service("variables", vllm={"envVars": {"A": "ö" * 4096}}),
    service("a long variable", ("spec.vllm.envVars", LONG_KEY), vllm={"envVars": {"A" * 257: ""}}),
    service("many variables", VARIABLES, vllm={"envVars": {f"A{number}": "v" * 4096 for number in range(8)}}),
]
CACHES = [
    cache("a size", size="50Gi"),
    cache("a size as a number", size=5),
    cache("no size", ("spec.size", "size must be more than 0"), size="0"),
    cache("no size, as a number", ("spec.size", "size must be more than 0"), size=0),
    cache("no size, in Gi", ("spec.size", "size must be more than 0"), size="0.0Gi"),
    cache("a claim", existingClaim="c"),
    cache("two volumes", ("spec", "give at most one of storageClass"), existingClaim="c", storageClass="s"),
    cache("a refresh", refreshInterval="1m", downloadPolicy="Always"),
    cache("a refresh that is never asked", ("spec", "refreshInterval needs"), refreshInterval="24h"),
    cache("a fast refresh", SLOW, refreshInterval="59s", downloadPolicy="Always"),
    source("a repository", kind="huggingface", huggingface={"repository": "org/m"}),
    source("the repository of the name", kind="huggingface"),
    source("a bucket", kind="s3", s3={"bucket": "bucket", "key": "k"}),
    source("another bucket", kind="gcs", gcs={"bucket": "bucket"}),
    source("no member", UNION, kind="gcs"),
    source("another member", UNION, kind="s3", gcs={"bucket": "bucket"}),
    source("a member too many", UNION, kind="huggingface", http={"url": URL}),
    web("one file", url=URL, sha256=SHA, extract=True),
    web("several files", urls=[URL]),
    web("no file", ("spec.source.http", "give either url")),
    web("one file and several", ("spec.source.http", "give either url"), url=URL, urls=[URL]),
    web("one checksum of several files", ("spec.source.http", "sha256 is the checksum"), urls=[URL], sha256=SHA),
    web("several archives", ("spec.source.http", "extract unpacks one archive"), urls=[URL], extract=True),
]
OTHERS = [
    endpoint(
        "ports", expose={"ports": [{"name": "http", "port": 80}, {"name": "grpc", "port": 81, "protocol": "gRPC"}]}
    ),
    endpoint("no HTTP", HTTP_PORT, expose={"ports": [{"name": "grpc", "port": 80, "protocol": "gRPC"}]}),
    endpoint(
        "one port twice",
        ("spec.expose", "two of expose.ports have the same port"),
        expose={"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 80}]},
    ),
    endpoint("an endpoint's ingress", ingress={"enabled": True, "host": "a.example"}),
    endpoint(
        "an endpoint's ingress without a host", ("spec.ingress", "an ingress needs a host"), ingress={"enabled": True}
    ),
    endpoint("an endpoint's TLS", ("spec.ingress", "TLS needs a certificate"), ingress={"tls": {"enabled": True}}),
    endpoint("an endpoint's annotation", ("spec.ingress.annotations", LONG_KEY), ingress={"annotations": LABELS}),
    endpoint(
        "an endpoint's annotations",
        ("spec.ingress.annotations", "keys and values can have 65536"),
        ingress={"annotations": {f"k{number}": "ö" * 1000 for number in range(70)}},
    ),
    pool("a pool"),
    selecting("values of In", operator="In", values=["a"]),
    selecting("no values of Exists", operator="Exists"),
    selecting("no values of In", VALUES, operator="In"),
    selecting("empty values of NotIn", VALUES, operator="NotIn", values=[]),
    selecting("values of DoesNotExist", VALUES, operator="DoesNotExist", values=["a"]),
    pool("a long label", ("spec.nodeSelector.matchLabels", LONG_KEY), nodeSelector={"matchLabels": LABELS}),
    pool("a limit", limits=[{"gpus": 0}, {"maxPriority": 1}]),
    pool("a limit of nothing", ("spec.limits[1]", "a limit gives gpus"), limits=[{"gpus": 1}, {}]),
    request("a request", nodeSelector={"zone": "a"}),
    request("a request's long label", ("spec.nodeSelector", LONG_KEY), nodeSelector=LABELS),
    Row("a node", "GPUNode", {"labels": {"zone": "a"}}),
    Row("a node's long label", "GPUNode", {"labels": LABELS}, [("spec.labels", LONG_KEY)]),
]
ROWS = [*NAMES, *SERVICES, *CACHES, *OTHERS]
