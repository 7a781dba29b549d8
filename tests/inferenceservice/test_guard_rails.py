"""What a service may not ask for unless the administrator allows it, and that what runs already goes on."""

from __future__ import annotations

import pytest

from app.settings import Settings
from tests.calls import Answer
from tests.inferenceservice.service import call, environment, running, spec, workload

ALLOWED = Settings(allowed_variables=("LD_PRELOAD", "MY_*"))


def resource(name: str) -> dict[str, object]:
    return spec(resources={"gpu": {"count": 1, "resource": name}})


@pytest.mark.parametrize(
    "name",
    [
        "amd.com/nic", "amd.com/vnic", "amd.com/xilinx_u250", "amd.com/gpu-other", "devices.kubevirt.io/kvm",
        "devices.kubevirt.io/vhost-net", "nvidia.com/gpu", "hugepages-2mi/x", "intel.com/qat", "rdma/hca",
        "smarter-devices/fuse",         "amd.com/cpx_nps9", "xamd.com/gpu", "requests.amd.com/gpu",
    ],
)  # fmt: skip
def test_a_resource_that_is_no_amd_gpu_is_refused(name: str) -> None:
    answer = call(resource(name))
    assert answer.conditions()["Ready"] == ("False", "ConfigurationError")
    message = answer.condition("Ready")["message"]
    assert f"resources.gpu.resource: {name} is refused" in message
    assert "amd.com/gpu, or amd.com/ and a partition mode" in message
    assert "Deployment" not in answer.kinds()


@pytest.mark.parametrize("name", ["amd.com/gpu", "amd.com/spx_nps1", "amd.com/cpx_nps4", "amd.com/dpx_nps2"])
def test_gpus_of_amd_and_their_partitions_may_be_asked_for(name: str) -> None:
    assert workload(call(resource(name)))


def test_the_operators_own_resource_may_be_asked_for_whatever_its_name() -> None:
    settings = Settings(gpu_resource="example.org/gpu")
    assert workload(call(resource("example.org/gpu"), settings=settings))
    assert (
        "example.org/gpu (INFERENCE_GPU_RESOURCE)"
        in call(resource("a.b/c"), settings=settings).condition("Ready")["message"]
    )


def preloading() -> dict[str, object]:
    return spec(vllm={"envVars": {"LD_PRELOAD": "/model-store/x.so"}})


def test_a_variable_that_turns_data_into_code_blocks_the_service() -> None:
    answer = call(preloading())
    assert answer.conditions()["Ready"] == ("False", "ConfigurationError")
    assert "vllm.envVars.LD_PRELOAD: is refused: the dynamic linker" in answer.condition("Ready")["message"]
    assert "Deployment" not in answer.kinds()
    assert environment(call(preloading(), settings=ALLOWED))["LD_PRELOAD"] == "/model-store/x.so"


def kept(before: Settings, after: Settings, given: dict[str, object]) -> Answer:
    return call(given, children=running(given, settings=before), settings=after)


def test_a_service_that_runs_with_such_a_variable_goes_on_and_says_so() -> None:
    before = call(preloading(), settings=ALLOWED)
    answer = kept(ALLOWED, Settings(), preloading())
    assert workload(answer)["spec"] == workload(before)["spec"]
    assert answer.conditions()["Ready"] == ("True", "InferenceReady")
    assert "though today it would be refused: vllm.envVars.LD_PRELOAD" in answer.condition("Ready")["message"]


def test_a_service_that_runs_remote_code_goes_on_when_that_is_switched_off_and_says_so() -> None:
    given = spec(vllm={"engineArgs": {"hf_overrides": {"trust_remote_code": True}}})
    trusting, careful = Settings(), Settings(trust_remote_code=False)
    answer = kept(trusting, careful, given)
    assert workload(answer)["spec"] == workload(call(given))["spec"]
    assert "INFERENCE_TRUST_REMOTE_CODE" in answer.condition("Ready")["message"]
    assert call(given, settings=careful).conditions()["Ready"] == ("False", "ConfigurationError")


def test_the_operators_own_variables_are_no_matter_of_the_setting() -> None:
    given = spec(vllm={"envVars": {"VLLM_PORT": "1"}})
    answer = call(given, settings=Settings(allowed_variables=("*",)))
    assert answer.conditions()["Ready"] == ("False", "ConfigurationError")
