"""Groups of pods in network namespaces, with a stand-in for vLLM or the real one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.kube.manifest import Manifest
from tests.images.groups import Group, Image, publish_model, standin_image
from tests.images.pods import UID, Network, missing_parts


@pytest.fixture(scope="session")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Image:
    if missing := missing_parts():
        pytest.skip(missing)
    return standin_image(tmp_path_factory.mktemp("image"), Path(sys.prefix))


@pytest.fixture
def network(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Network]:
    """IPv4 unless a test names the families."""
    if missing := missing_parts():
        pytest.skip(missing)
    with Network.create(tmp_path, getattr(request, "param", (4,))) as network:
        yield network


@pytest.fixture
def mpi_parts() -> None:
    if missing := missing_parts("mpirun", "sshd", "ssh-keygen"):
        pytest.skip(missing)


@pytest.fixture
def mode(request: pytest.FixtureRequest) -> str:
    """A launch mode; mpi needs programs of the system, and the group's keys."""
    if request.param == "mpi":
        request.getfixturevalue("mpi_parts")
        request.getfixturevalue("keys")
    return str(request.param)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The model volume."""
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return make_keys(tmp_path / "keys")


def make_keys(folder: Path) -> Path:
    """A Secret's volume: the file belongs to root and the pod's group, which may read it."""
    folder.mkdir()
    key = folder / "ssh-privatekey"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    os.chown(key, 0, UID)
    key.chmod(0o440)
    return folder


GroupOf = Callable[..., Group]


@pytest.fixture
def group_of(network: Network, standin: Image, store: Path, tmp_path: Path) -> GroupOf:
    """A group of a workload, with its model published and its keys mounted unless the test says otherwise."""

    def build(workload: Manifest, model: bool = True, image: Image = standin, **changes: str) -> Group:
        mounts = {"/model-store": (str(store), True)}
        if (tmp_path / "keys").exists():
            mounts["/etc/inference/ssh"] = (str(tmp_path / "keys"), True)
        group = Group(network, workload, image, mounts=mounts, changes=changes)
        if model and "INFERENCE_MODEL_PATH" in group.leader.environment():
            publish_model(store, group.model_path)
        return group

    return build
