"""Environment -> this pod's place in its group. The only module that reads the contract's variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.contracts import runtime as contract
from app.contracts.runtime import LaunchMode
from inference_runtime.failure import EXIT_CONFIGURATION, Failure


@dataclass(frozen=True)
class Group:
    """One pod's view of its group; times in seconds."""

    mode: LaunchMode
    size: int
    index: int
    leader: str
    """DNS name of pod 0."""
    own_ip: str
    gpus: int
    """GPUs of this pod."""
    model_path: str
    """Folder that must be published before vLLM starts; "" = vLLM fetches the model itself."""
    model_seconds: int
    join_seconds: int
    http_port: int = contract.HTTP_PORT
    master_port: int = contract.MASTER_PORT
    join_port: int = contract.JOIN_PORT
    ray_port: int = contract.RAY_PORT
    ssh_port: int = contract.SSH_PORT
    interface: str = ""
    """Network interface of the group's traffic; "" = any."""

    @property
    def workers(self) -> tuple[str, ...]:
        """Names of pods 1 to N-1: LeaderWorkerSet calls them as the leader, with the index at the first label."""
        host, dot, rest = self.leader.partition(".")
        return tuple(f"{host}-{index}{dot}{rest}" for index in range(1, self.size))


def parse_group(env: Mapping[str, str]) -> Group:
    """The group that the environment tells of; says what is missing."""
    mode = _mode(env)
    single = mode is LaunchMode.SINGLE
    return Group(
        mode=mode,
        size=1 if single else _number(env, contract.GROUP_SIZE),
        index=0 if single else _number(env, contract.WORKER_INDEX),
        leader="localhost" if single else _text(env, contract.LEADER_ADDRESS),
        own_ip=env.get(contract.HOST_IP, ""),
        gpus=_number(env, contract.GPUS),
        model_path=env.get(contract.MODEL_PATH, ""),
        model_seconds=_number(env, contract.MODEL_SECONDS, 900),
        join_seconds=_number(env, contract.JOIN_SECONDS, 300),
        http_port=_number(env, contract.HTTP_PORT_VARIABLE, contract.HTTP_PORT),
        master_port=_number(env, contract.MASTER_PORT_VARIABLE, contract.MASTER_PORT),
        join_port=_number(env, contract.JOIN_PORT_VARIABLE, contract.JOIN_PORT),
        ray_port=_number(env, contract.RAY_PORT_VARIABLE, contract.RAY_PORT),
        ssh_port=_number(env, contract.SSH_PORT_VARIABLE, contract.SSH_PORT),
        interface=env.get("GLOO_SOCKET_IFNAME", ""),
    )


def _mode(env: Mapping[str, str]) -> LaunchMode:
    given = _text(env, contract.LAUNCH_MODE)
    try:
        return LaunchMode(given)
    except ValueError:
        known = ", ".join(LaunchMode)
        raise _wrong(f"{contract.LAUNCH_MODE} is {given!r}; this image knows {known}") from None


def _text(env: Mapping[str, str], name: str) -> str:
    if not env.get(name):
        raise _wrong(f"{name} is not set: the operator or LeaderWorkerSet must set it")
    return env[name]


def _number(env: Mapping[str, str], name: str, default: int | None = None) -> int:
    given = str(default) if default is not None and not env.get(name) else _text(env, name)
    if not given.isdecimal():
        raise _wrong(f"{name} is {given!r}, which is no whole number")
    return int(given)


def _wrong(message: str) -> Failure:
    return Failure(message, EXIT_CONFIGURATION)
