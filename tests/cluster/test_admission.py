"""Bad input is refused when it is applied, with a message that says what to change."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.cluster.world import API, World, condition, example, group, service
from tests.specification import STATUSES
from tools.sandbox.api import Object

GPUS: dict[str, Any] = {"totalGpus": 4}


def cache(**spec: Any) -> Object:
    base = {"modelName": "org/tiny"}
    return {"apiVersion": API, "kind": "ModelCache", "metadata": {"name": "demo"}, "spec": base | spec}


def endpoint(**spec: Any) -> Object:
    base = {"service": "demo"}
    return {"apiVersion": API, "kind": "InferenceEndpoint", "metadata": {"name": "demo"}, "spec": base | spec}


def engine(**arguments: Any) -> dict[str, Any]:
    return {"engineArgs": arguments}


REFUSED = [
    pytest.param(service(model={}), "spec.model.name: Required", id="no model name"),
    pytest.param(service(resources={}), "set resources.totalGpus", id="no GPU count"),
    pytest.param(service(resources={"totalGpus": 0}), "greater than or equal to 1", id="zero GPUs"),
    pytest.param(
        service(distributed={"enabled": True, "size": 0}), "greater than or equal to 1", id="a group of no nodes"
    ),
    pytest.param(service(distributed={"enabled": True}), "set distributed.size", id="a group of unknown size"),
    pytest.param(
        service(resources=GPUS | {"strategy": "static"}, distributed={"enabled": True, "size": 2}),
        "distributed.size must equal totalGpus",
        id="static with a size that cannot hold it",
    ),
    pytest.param(
        service(resources=GPUS, distributed={"enabled": True, "size": 3}),
        "must be a multiple of distributed.size",
        id="GPUs that do not split over the nodes",
    ),
    pytest.param(
        service(resources=GPUS, vllm=engine(tensor_parallel_size=3)),
        "cannot make totalGpus",
        id="TP that does not divide",
    ),
    pytest.param(
        service(resources=GPUS, vllm=engine(tensor_parallel_size=2, pipeline_parallel_size=1, data_parallel_size=1)),
        "the product must be totalGpus",
        id="TP x PP x DP too small",
    ),
    pytest.param(
        group(distributed={"enabled": True, "size": 2, "mpi": {"enabled": True, "sshKeySecret": "Not A Name"}}),
        "spec.distributed.mpi.sshKeySecret",
        id="a Secret that no Secret can be called",
    ),
    pytest.param(
        service(storage={"compileCacheClaim": "../kernels"}),
        "spec.storage.compileCacheClaim",
        id="a claim that no claim can be called",
    ),
    pytest.param(service(vllm=engine(tensor_parallel_size="two")), "expected numeric", id="a parallel size in words"),
    pytest.param(
        service(
            resources={"totalGpus": 1, "cpuRequest": "1"},
            autoscaling={"enabled": True, "minReplicas": 3, "maxReplicas": 2},
        ),
        "minReplicas must not be greater than maxReplicas",
        id="min over max",
    ),
    pytest.param(
        service(autoscaling={"enabled": True, "maxReplicas": 2}),
        "set resources.cpuRequest",
        id="autoscaling of nothing",
    ),
    pytest.param(
        service(autoscaling={"scaleDownDelay": "5 minutes"}), "spec.autoscaling.scaleDownDelay", id="a bad duration"
    ),
    pytest.param(
        service(resources={"totalGpus": 1, "memoryRequest": "16 GB"}),
        "spec.resources.memoryRequest",
        id="a bad quantity",
    ),
    pytest.param(
        service(resources={"totalGpus": 1, "cpuRequest": -1}),
        "spec.resources.cpuRequest",
        id="a quantity below nothing",
    ),
    pytest.param(
        service("n" * 46, distributed={"enabled": True, "size": 1}),
        "45 characters at most",
        id="a name too long for LWS",
    ),
    pytest.param(service("n" * 47), "46 characters at most", id="a name too long for pods"),
    pytest.param(
        service(resources=GPUS | {"strategy": "best"}),
        'supported values: "static", "dynamic"',
        id="an unknown strategy",
    ),
    pytest.param(
        service(model={"name": "m", "precision": "int3"}), 'supported values: "fp16"', id="an unknown precision"
    ),
    pytest.param(
        service(resources={"totalGpus": 1, "gpu": {"count": 2}}), "mean the same and differ", id="two GPU counts"
    ),
    pytest.param(
        service(resources={"totalGpus": 1, "sharing": "shared", "gpu": {"strategy": "exclusive"}}),
        "mean the same and differ",
        id="two kinds of sharing",
    ),
    pytest.param(
        service(resources=GPUS, distributed={"enabled": True, "size": 2, "workerReplicas": 3}),
        "it must be workerReplicas + 1",
        id="two sizes",
    ),
    pytest.param(
        service(model={"name": "m", "source": "ftp://a/m"}),
        "source must begin with hf://, huggingface://, s3://, gs://, http:// or https://",
        id="a source of unknown scheme",
    ),
    pytest.param(
        service(model={"name": "m", "source": "s3://bucket/m"}, storage={"modelCache": "c"}),
        "both say where the weights come from",
        id="two places for the weights",
    ),
    pytest.param(
        service(networking={"ingress": {"enabled": True}}), "an ingress needs a host name", id="an ingress without host"
    ),
    pytest.param(
        service(networking={"ingress": {"enabled": True, "host": "10.0.0.1"}}),
        "spec.networking.ingress.host",
        id="an address as host",
    ),
    pytest.param(
        service(monitoring={"prometheus": {"path": "/stats"}}), "vLLM serves its metrics at /metrics only", id="a path"
    ),
    pytest.param(cache(size="0"), "size must be more than 0", id="a cache of no size"),
    pytest.param(cache(size="many"), "spec.size", id="a cache of bad size"),
    pytest.param(cache(source={"type": "s3"}), "source holds exactly the member", id="a source without its member"),
    pytest.param(cache(downloadPolicy="Sometimes"), 'supported values: "Always"', id="an unknown policy"),
    pytest.param(cache(modelName=""), "spec.modelName", id="a cache of no model"),
    pytest.param(
        cache(existingClaim="weights", hostPath="/mnt/models"), "give at most one of", id="a claim and a folder"
    ),
    pytest.param(
        cache(existingClaim="weights", storageClass="fast"), "give at most one of", id="a class of a claim that exists"
    ),
    pytest.param(cache(hostPath="mnt/models"), "spec.hostPath", id="a folder that is not absolute"),
    pytest.param(cache(hostPath="/mnt/models/../../etc"), "spec.hostPath", id="a folder that leads out"),
    pytest.param(cache(hostPath="/mnt/./models"), "spec.hostPath", id="a folder with a dot"),
    pytest.param(cache(hostPath="/"), "spec.hostPath", id="the whole node"),
    pytest.param(cache(existingClaim="Not_A_Name"), "spec.existingClaim", id="a claim of no valid name"),
    pytest.param(cache(refreshInterval="24h"), "needs downloadPolicy Always", id="a schedule of the default policy"),
    pytest.param(
        cache(refreshInterval="24h", downloadPolicy="Never"), "needs downloadPolicy Always", id="a schedule of Never"
    ),
    pytest.param(
        cache(refreshInterval="0s", downloadPolicy="Always"), "must be 1m or more", id="a schedule without a pause"
    ),
    pytest.param(
        cache(refreshInterval="daily", downloadPolicy="Always"), "spec.refreshInterval", id="a schedule in words"
    ),
    pytest.param(cache(caching={"replicas": 0}), "spec.caching.replicas", id="no copy"),
    pytest.param(
        cache(source={"type": "http", "http": {"urls": ["https://a.example/m.tar"], "extract": True}}),
        "give url instead of urls",
        id="archives in a list",
    ),
    pytest.param(endpoint(service=""), "spec.service", id="an endpoint to nothing"),
    pytest.param(
        endpoint(expose={"ports": [{"name": "grpc", "port": 1, "protocol": "gRPC"}]}),
        "an endpoint needs a port with protocol HTTP",
        id="an endpoint of gRPC alone",
    ),
    pytest.param(
        endpoint(expose={"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 80}]}),
        "the same port number",
        id="one port twice",
    ),
    pytest.param(
        endpoint(ingress={"enabled": True, "host": "a.example", "tls": {"enabled": True}}),
        "TLS needs a certificate",
        id="TLS without certificate",
    ),
]


ARCHIVE = {"type": "http", "http": {"url": "https://a.example/m.tar", "extract": True}}


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(cache(existingClaim="weights", size="50Gi"), id="a claim that exists"),
        pytest.param(cache(hostPath="/mnt/models/a.b/c_d"), id="a folder of the nodes"),
        pytest.param(cache(refreshInterval="1h30m", downloadPolicy="Always"), id="a schedule"),
        pytest.param(cache(accessMode="ReadWriteOnce", caching={"enabled": True, "replicas": 3}), id="copies"),
        pytest.param(cache(source=ARCHIVE), id="an archive to unpack"),
        pytest.param(
            cache(source={"type": "http", "http": {"urls": ["https://a.example/m"], "extract": False}}),
            id="a list that is not unpacked",
        ),
    ],
)
def test_admission_keeps_a_cache_as_it_was_written(world: World, item: Object) -> None:
    """A field that the schema does not know would be dropped without a word."""
    stored = world.apply(item)["spec"]
    assert {field: stored.get(field) for field in item["spec"]} == item["spec"]


@pytest.mark.parametrize(("item", "words"), REFUSED)
def test_admission_refuses(world: World, item: Object, words: str) -> None:
    assert words in world.refusal(item)


@pytest.mark.parametrize(
    ("item", "words"),
    [
        pytest.param(service(vllm=engine(max_num_seqs="many")), "takes a whole number", id="a mistyped argument"),
        pytest.param(service(vllm=engine(port=9000)), "set networking.ports.http", id="an owned argument"),
        pytest.param(
            service(vllm={"envVars": {"HIP_VISIBLE_DEVICES": "0"}}), "the device plugin decides", id="an owned variable"
        ),
    ],
)
def test_what_admission_cannot_see_is_said_by_the_status(world: World, item: Object, words: str) -> None:
    world.apply(item)
    found = world.wait_condition("Ready", "False", words)
    assert condition(found, "Ready")["reason"] == "ConfigurationError"
    assert world.names("apps/v1", "Deployment") == set()


def test_an_unknown_argument_warns_and_is_passed_on(world: World) -> None:
    world.apply(service(vllm=engine(max_num_seq=16)))
    found = world.wait_condition("Ready", "True", "did you mean max_num_seqs?")
    assert found["status"]["phase"] == "Ready"
    template = world.deployment()["spec"]["template"]
    assert "--max-num-seq=16" in template["spec"]["containers"][0]["args"]


@pytest.mark.parametrize("name", ["llama2-7b-service", "llama2-cache", "llama2-endpoint"])
def test_the_specifications_statuses_fit_verbatim(world: World, name: str) -> None:
    """A status that the schema does not know would be dropped without a word."""
    item = copy.deepcopy(example(name))
    said = STATUSES[item["kind"]]
    item["metadata"] |= {"namespace": world.namespace}
    stored = world.cluster.apply(item)[0]
    written = world.cluster.patch(API, stored["kind"], name, world.namespace, {"status": said}, subresource="status")
    assert {key: written["status"][key] for key in said} == said
