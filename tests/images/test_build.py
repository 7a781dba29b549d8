"""The images as buildah makes them of the Dockerfile."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from app.settings import Settings
from tests.images.building import build, ensure_base, inspect, missing_tools, run_in
from tests.images.layout import ROOT

pytestmark = [
    pytest.mark.images,
    pytest.mark.skipif(bool(missing_tools()), reason=missing_tools() or "can be built"),
]
DOCKERFILE = (ROOT / "images/runtime/Dockerfile").read_text()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    base = ensure_base(tmp_path_factory.mktemp("base"))
    return {target: build(target, base) for target in ("leader", "worker")}


def test_leader_and_worker_share_all_their_layers(images: dict[str, str]) -> None:
    leader, worker = (inspect(images[target])["rootfs"]["diff_ids"] for target in ("leader", "worker"))
    assert leader[:2] == worker[:2]
    shared = len([one for one, other in zip(leader, worker, strict=False) if one == other])
    assert shared >= min(len(leader), len(worker)) - 1


@pytest.mark.parametrize("target", ["leader", "worker"])
def test_an_image_runs_as_the_one_user_and_says_what_it_is(images: dict[str, str], target: str) -> None:
    config = inspect(images[target])["config"]
    assert config["User"] == "1001:1001"
    assert config["Labels"]["org.opencontainers.image.title"] == f"inference-{target}"
    assert config["Labels"]["ai.inference.gpu-architectures"] == ",".join(Settings().gpu_architectures)
    assert config["Cmd"] == [f"start-{target}"]
    assert not config.get("Entrypoint")


@pytest.mark.parametrize("target", ["leader", "worker"])
@pytest.mark.parametrize("program", ["start-leader", "start-worker", "start-rank", "ssh-session", "health-check"])
def test_every_program_is_found_by_its_name(images: dict[str, str], target: str, program: str) -> None:
    found = run_in(images[target], "sh", "-c", f"command -v {program} && test -x $(command -v {program})")
    assert found.stdout.strip() == f"/opt/inference/bin/{program}"


def test_the_uid_has_a_name_and_a_shell(images: dict[str, str]) -> None:
    entry = run_in(images["worker"], "getent", "passwd", "1001").stdout.strip()
    assert entry == "inference:x:1001:1001::/var/cache/inference:/bin/sh"


def test_the_scripts_start_and_say_what_is_missing(images: dict[str, str]) -> None:
    done = run_in(
        images["leader"],
        "sh",
        "-c",
        "INFERENCE_TERMINATION_LOG=/tmp/said start-leader; code=$?; cat /tmp/said; exit $code",
    )
    assert done.returncode == 78
    assert done.stdout.strip().endswith("INFERENCE_LAUNCH_MODE is not set: the operator or LeaderWorkerSet must set it")


def test_the_health_check_answers_for_machines(images: dict[str, str]) -> None:
    done = run_in(images["leader"], "health-check", "gpu_available", "--json")
    assert done.returncode == 1
    assert '"no device /dev/kfd: the container got no GPU from the device plugin"' in done.stdout


def test_keys_can_be_made_and_pods_can_be_started_over_ssh(images: dict[str, str]) -> None:
    tools = run_in(
        images["worker"],
        "sh",
        "-c",
        "mpirun --version && ssh-keygen -q -t ed25519 -N '' -f /tmp/k && ls /usr/sbin/sshd",
    )
    assert "Open MPI" in tools.stdout
    assert tools.stdout.strip().endswith("/usr/sbin/sshd")


def test_no_host_key_is_in_an_image(images: dict[str, str]) -> None:
    assert run_in(images["worker"], "sh", "-c", "ls /etc/ssh").stdout.split().count("ssh_host_ed25519_key") == 0


def test_no_script_waits_for_compilation(images: dict[str, str]) -> None:
    """The root file system is read-only at run time, so compiled modules come with the image."""
    found = run_in(images["leader"], "find", "/opt/inference", "-name", "*.pyc").stdout
    assert re.search(r"inference_runtime/__pycache__/health\.cpython-3\d+\.pyc", found)


def test_the_base_is_vllms_own_image_pinned_by_its_tag() -> None:
    [base] = re.findall(r"^ARG BASE=(\S+)$", DOCKERFILE, re.M)
    assert re.fullmatch(r"docker\.io/vllm/vllm-openai-rocm:v\d+\.\d+\.\d+", base)


def test_the_operators_image_runs_as_the_one_user_and_knows_its_commands(tmp_path: Path) -> None:
    image = build("operator", ensure_base(tmp_path), "operator")
    config = inspect(image)["config"]
    assert config["User"] == "1001:1001"
    assert run_in(image, "id", "--user", "--name").stdout.strip() == "inference"
    assert "serve" in run_in(image, "inference-operator", "--help").stdout
    assert run_in(image, "sh", "-c", "command -v pip").returncode != 0
    assert run_in(image, "find", "/opt/inference/app/agent", "-name", "*.pyc").stdout, "the root may be read-only"


@pytest.mark.parametrize("image", ["operator", "downloader"])
def test_a_change_of_the_code_changes_one_layer_of_an_image(tmp_path: Path, image: str) -> None:
    base = ensure_base(tmp_path)
    before = inspect(build(image, base, image))["rootfs"]["diff_ids"]
    edited = tmp_path / "project"
    for name in ("app", "images", "requirements"):
        shutil.copytree(ROOT / name, edited / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".dockerignore", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, edited / name)
    (edited / "app/edited.py").write_text("EDITED = True\n")
    changed = build(f"{image}-edited", base, image, edited)
    after = inspect(changed)["rootfs"]["diff_ids"]
    assert [one == other for one, other in zip(before, after, strict=True)].count(False) == 1
    assert run_in(changed, "python3", "-c", "import app.edited").returncode == 0


def test_the_downloaders_image_says_what_it_lacks_and_installs_nothing(tmp_path: Path) -> None:
    image = build("downloader", ensure_base(tmp_path), "downloader")
    assert inspect(image)["config"]["User"] == "1001:1001"
    done = run_in(image, "sh", "-c", "INFERENCE_TERMINATION_LOG=/tmp/said download >/dev/null; echo $?; cat /tmp/said")
    code, said = done.stdout.strip().split("\n", 1)
    assert code == "42"
    assert said == "BadSettings: Environment variable INFERENCE_MODEL_NAME must be set."
    assert run_in(image, "sh", "-c", "command -v pip").returncode != 0
    imports = "import boto3, google.cloud.storage, huggingface_hub, httpx2"
    assert run_in(image, "/opt/downloader/bin/python", "-c", imports).returncode == 0
