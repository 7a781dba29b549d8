"""health-check [CHECK ...] [--json] [--probe startup|readiness]: is this pod's server well, and what is not?

Each check is a function that says what is wrong, or "". As a probe it also leaves the failing check's name in the
termination message, where the operator finds it if the kubelet then restarts the container; but only when the failure
has lasted, so that vLLM's own last words are not covered when it ends by itself.

A readiness probe that finds an engine hung for good stops vLLM: where vLLM sees no hang itself, no one else would.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from app.contracts.runtime import GPUS, HTTP_PORT, HTTP_PORT_VARIABLE, START_SECONDS
from inference_runtime import progress, trial
from inference_runtime.failure import write_message
from inference_runtime.gpu import find_gpu_problem
from inference_runtime.memory import find_memory_problem

Env = Mapping[str, str]
PATIENCE_SECONDS = 30
"""A failure that lasts as long goes into the termination message: three probes."""
TIMEOUT_SECONDS = 4
METRICS_TIMEOUT_SECONDS = 2
"""With that of /health, below the 10 s of a probe."""
LOOPBACKS = ("127.0.0.1", "[::1]")
STATE = Path("/tmp/.health-check")
ENDED = Path("/tmp/.engine-ended")
"""There once a probe has stopped vLLM."""


class Unknown(str):
    """Why a check can say nothing: it does not fail."""

    __slots__ = ()


def gpu_available(env: Env) -> str:
    return find_gpu_problem(int(env.get(GPUS) or 0))


def memory_usage(_: Env) -> str:
    return find_memory_problem()


def api_responsive(env: Env) -> str:
    return _get(env, "/health")[0]


def model_loaded(env: Env) -> str:
    """vLLM lists a model as soon as it serves one."""
    problem, body = _get(env, "/v1/models")
    if problem:
        return problem
    try:
        return "" if json.loads(body)["data"] else "vLLM lists no model"
    except (ValueError, KeyError, TypeError):
        return "/v1/models answers something else than a list of models"


def engine_progress(env: Env) -> str:
    """Each call is a look, and is compared with the one before."""
    if env.get("VLLM_SERVER_DEV_MODE", "0") not in ("", "0"):
        progress.forget()
        return Unknown("VLLM_SERVER_DEV_MODE lets clients pause the engine")
    problem, body = _get(env, "/metrics", METRICS_TIMEOUT_SECONDS)
    if problem:  # a busy server; what was seen before still counts at the next look
        return Unknown(problem)
    engines = progress.parse_engines(body.decode(errors="replace"))
    if not engines:
        progress.forget()
        return Unknown("/metrics says nothing of vLLM's engines")
    before, clients = progress.load(), trial.find_clients(_port(env))
    asked = before.trial if before and trial.runs(before.trial) else ""
    look = progress.advance(before, engines, clients, asked, time.monotonic())
    limits = progress.parse_limits(env)
    if progress.wants_trial(look, limits.alarm):
        look = replace(look, trial=_ask_for_a_token(env, limits.end))
    try:
        progress.save(look)
    except OSError as error:
        return Unknown(f"{progress.STATE} cannot be written ({error.strerror})")
    return progress.find_stall(look, limits.alarm)


def _ask_for_a_token(env: Env, seconds: float) -> str:
    """The process that asks, "" where nobody can be asked."""
    for loopback in LOOPBACKS:
        problem, body = _ask(loopback, env, "/v1/models", METRICS_TIMEOUT_SECONDS)
        with contextlib.suppress(ValueError, KeyError, TypeError, IndexError):
            if not problem:
                return trial.start(_base(loopback, env), json.loads(body)["data"][0]["id"], seconds)
    return ""


CHECKS: dict[str, Callable[[Env], str]] = {
    check.__name__: check for check in (gpu_available, memory_usage, api_responsive, model_loaded, engine_progress)
}
PROBES = {
    "startup": ("gpu_available", "api_responsive", "model_loaded"),
    "readiness": ("gpu_available", "api_responsive", "engine_progress"),
}
"""Memory that is short does not get better by a restart or without requests, so no probe asks for it."""


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    names = PROBES[options.probe] if options.probe else options.checks or tuple(CHECKS)
    problems = {name: CHECKS[name](os.environ) for name in names}
    print(_as_json(problems) if options.json else _as_text(problems))
    if options.probe:
        _remember(options.probe, problems)
    if options.probe == "readiness":
        _end_hung(os.environ)
    return int(any(map(_fails, problems.values())))


def _fails(problem: str) -> bool:
    return bool(problem) and not isinstance(problem, Unknown)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("health-check", description="Whether this pod's server is well; 0 = yes.")
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=f"{', '.join(CHECKS)}; none = all")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("--probe", choices=PROBES, help="the checks of a probe, and the termination message")
    options = parser.parse_args(arguments)
    if unknown := set(options.checks) - set(CHECKS):
        parser.error(f"no check {', '.join(sorted(unknown))}; there are {', '.join(CHECKS)}")
    return options


def _as_json(problems: Mapping[str, str]) -> str:
    checks = {name: {"healthy": not _fails(problem), "message": _said(problem)} for name, problem in problems.items()}
    return json.dumps({"healthy": not any(map(_fails, problems.values())), "checks": checks})


def _as_text(problems: Mapping[str, str]) -> str:
    return "\n".join(f"{name}: {_said(problem) or 'ok'}" for name, problem in problems.items())


def _said(problem: str) -> str:
    return f"unknown: {problem}" if isinstance(problem, Unknown) else problem


def _get(env: Env, path: str, seconds: float = TIMEOUT_SECONDS) -> tuple[str, bytes]:
    """What is wrong with the answer, and its body."""
    first = _ask(LOOPBACKS[0], env, path, seconds)
    return first if not first[0].startswith("port ") else _better(first, _ask(LOOPBACKS[1], env, path, seconds))


def _better(first: tuple[str, bytes], second: tuple[str, bytes]) -> tuple[str, bytes]:
    """A server may listen on IPv6 alone; where neither answers, the usual loopback tells why."""
    return first if second[0].startswith("port ") else second


def _ask(loopback: str, env: Env, path: str, seconds: float) -> tuple[str, bytes]:
    try:
        with urllib.request.urlopen(f"{_base(loopback, env)}{path}", timeout=seconds) as answer:
            return "", answer.read()
    except urllib.error.HTTPError as error:
        return f"{path} answers {error.code}", b""
    except TimeoutError:
        return f"{path} did not answer within {seconds:g} s", b""
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            return f"{path} did not answer within {seconds:g} s", b""
        return f"port {_port(env)} does not answer ({getattr(reason, 'strerror', None) or reason})", b""


def _base(loopback: str, env: Env) -> str:
    return f"http://{loopback}:{_port(env)}"


def _port(env: Env) -> int:
    return int(env.get(HTTP_PORT_VARIABLE) or HTTP_PORT)


def forget_failures() -> None:
    """A new container knows nothing of the one before it, whose /tmp it has."""
    STATE.unlink(missing_ok=True)
    ENDED.unlink(missing_ok=True)
    progress.forget()
    write_message("")


def _remember(probe: str, problems: Mapping[str, str]) -> None:
    """Keep since when it fails; the message comes when that is long, and goes when all is well again."""
    failing = next((f"{name}: {problem}" for name, problem in problems.items() if _fails(problem)), "")
    if not failing:
        if STATE.exists():
            STATE.unlink(missing_ok=True)
            write_message("")
        return
    if _lasts(probe) and not ENDED.exists():
        write_message(f"{failing} (the {probe} probe failed)")


def _lasts(probe: str) -> bool:
    if probe == "startup":
        budget = int(os.environ.get(START_SECONDS) or 0)
        lasting = bool(budget) and _age_of_container() > budget - PATIENCE_SECONDS
        if lasting:
            STATE.touch()
        return lasting
    if not STATE.exists():
        STATE.touch()
    return time.time() - STATE.stat().st_mtime >= PATIENCE_SECONDS


def _age_of_container() -> float:
    """Seconds since process 1 began: field 22 of its stat, in clock ticks since the machine started."""
    began = int(Path("/proc/1/stat").read_text().rpartition(")")[2].split()[19])
    return float(Path("/proc/uptime").read_text().split()[0]) - began / os.sysconf("SC_CLK_TCK")


def _end_hung(env: Env) -> None:
    """Stop vLLM as the kubelet would, once; then the container starts again, and LeaderWorkerSet makes the group anew.
    Neither the first process, when it is told to stop, nor what fails from now on writes over the message."""
    limits = progress.parse_limits(env)
    look = progress.load()
    stall = progress.find_stall(look, limits.end) if look else ""
    if not stall or ENDED.exists():
        return
    with contextlib.suppress(OSError):
        ENDED.touch()
        os.kill(1, signal.SIGTERM)
        write_message(f"engine_progress: {stall}")
