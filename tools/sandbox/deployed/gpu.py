"""Services on real AMD GPUs: a model of each size is served, asked, measured, and removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tools.sandbox.api import Object, read_objects
from tools.sandbox.deployed.collect import collect
from tools.sandbox.deployed.install import NAMESPACE, OPERATOR, install, installed, parts, uninstall, write_overlay
from tools.sandbox.deployed.kubectl import CommandError, Kubectl
from tools.sandbox.deployed.samples import API_VERSION, SamplesError
from tools.sandbox.operator import PROJECT
from tools.sandbox.process import Process, ProcessFailedError, accepts, free_port

FOLDER = PROJECT / "build" / "e2e-cluster"
SERVICES = Path(__file__).parent / "services"
SETTINGS = ("INFERENCE_STORAGE_CLASS", "INFERENCE_NODE_SELECTOR", "INFERENCE_SUPPLEMENTAL_GROUPS")
"""Of deploy/base/settings.env, taken from the environment where it has them."""
READY_SECONDS = 5400.0
"""A first download of 145 GB, and the start budget."""
GONE_SECONDS = 600.0
PERIOD_SECONDS = 10.0
MAX_TOKENS = 8
"""An answer's length. The specification names none; with it 4 requests at a time can be 50 a second at all."""
Report = Callable[[str], None]


def up(registry: str, tag: str, report: Report = print) -> None:
    """Install everything on the cluster that $KUBECONFIG names, with images of this registry. Raises CommandError."""
    settings = {name: os.environ[name] for name in SETTINGS if os.environ.get(name)}
    overlay = write_overlay(FOLDER / "overlay", registry, tag, settings)
    install(Kubectl.find(), parts(overlay), report)


def down(report: Report = print) -> list[str]:
    """Remove services, then all that `up` installed; the failures, in words. Can be called however `up` ended."""
    kubectl, failures = Kubectl.find(), []
    if OPERATOR in installed(kubectl):
        for profile in profiles():
            try:
                remove(kubectl, profile)
            except (CommandError, SamplesError) as error:
                failures.append(str(error))
    return [*failures, *uninstall(kubectl, parts(), report)]


def profiles() -> list[str]:
    """By size of the model: profiles of `perf --check`."""
    return sorted((path.stem for path in SERVICES.glob("*.yaml")), key=lambda name: int(name.removesuffix("b")))


def objects(profile: str) -> list[Object]:
    return read_objects(SERVICES / f"{profile}.yaml")


def service_of(profile: str) -> str:
    return next(str(it["metadata"]["name"]) for it in objects(profile) if it["kind"] == "InferenceService")


def check_service(profile: str, results: Path, report: Report = print) -> bool:
    """Serve, ask, and measure; whether all expectations were met.

    Leaves `<profile>.json`, `<profile>.txt` and `<profile>.svg` in `results`. Raises CommandError and SamplesError.
    """
    kubectl, name = Kubectl.find(), service_of(profile)
    results.mkdir(parents=True, exist_ok=True)
    kubectl.apply(objects(profile))
    try:
        wait_ready(kubectl, name, report)
        with reached(kubectl, name, results) as url:
            report(f"{name} answers: {ask(url)!r}")
            return measure(url, profile, results)
    except (CommandError, SamplesError, ProcessFailedError):
        report(f"logs, events and objects: {collect(kubectl, results / f'{profile}-logs')}")
        raise
    finally:
        remove(kubectl, profile)


def wait_ready(kubectl: Kubectl, name: str, report: Report, timeout: float = READY_SECONDS) -> None:
    begun, said = time.monotonic(), ""
    while True:
        status = (kubectl.get(API_VERSION, "InferenceService", name, NAMESPACE) or {}).get("status") or {}
        ready: Object = next((it for it in status.get("conditions") or [] if it["type"] == "Ready"), {})
        message = f"{status.get('phase', 'Pending')}: {ready.get('message', 'no status yet')}"
        if message != said:
            report(f"{time.monotonic() - begun:5.0f} s  {name}  {message}")
        said = message
        if ready.get("status") == "True":
            return
        if time.monotonic() - begun > timeout:
            raise SamplesError(f"{name} was not Ready after {timeout:.0f} s: {message}")
        time.sleep(PERIOD_SECONDS)


@contextmanager
def reached(kubectl: Kubectl, name: str, folder: Path) -> Iterator[str]:
    """The base of its API: its Service's address where this machine is of the cluster, else through a tunnel.

    A tunnel goes through the API server and makes each answer some milliseconds longer.
    """
    service = kubectl.get("v1", "Service", name, NAMESPACE)
    if service is None:
        raise SamplesError(f"there is no Service {name}")
    address, port = service["spec"]["clusterIP"], service["spec"]["ports"][0]["port"]
    if accepts(address, port)[0]:
        yield f"http://{address}:{port}"
        return
    local = free_port()
    argv = [*kubectl.command, f"--namespace={NAMESPACE}", "port-forward", f"service/{name}", f"{local}:{port}"]
    tunnel = Process.start("port-forward", argv, folder / "port-forward.log")
    try:
        tunnel.wait_until(lambda: accepts("127.0.0.1", local)[0], timeout=60)
        yield f"http://127.0.0.1:{local}"
    finally:
        tunnel.stop()


def ask(url: str) -> str:
    """The text of one completion. Raises SamplesError when there is none."""
    with httpx2.Client(base_url=url, timeout=120, trust_env=False) as http:
        try:
            model = http.get("/v1/models").raise_for_status().json()["data"][0]["id"]
            body = {"model": model, "prompt": "The capital of France is", "max_tokens": 8, "temperature": 0}
            answer = http.post("/v1/completions", json=body).raise_for_status().json()
        except (httpx2.HTTPError, LookupError, ValueError) as error:
            raise SamplesError(f"{url} did not complete a prompt: {error!r}") from error
    text = str(answer["choices"][0]["text"])
    if not text.strip():
        raise SamplesError(f"{url} answered with an empty text: {json.dumps(answer)}")
    return text


def measure(url: str, profile: str, results: Path) -> bool:
    """Run `perf --check`: its figures and its table become files."""
    command = perf_command(url, profile, results / f"{profile}.svg")
    with (results / f"{profile}.json").open("wb") as figures, (results / f"{profile}.txt").open("wb") as table:
        done = subprocess.run(command, stdout=figures, stderr=table, cwd=PROJECT, check=False)
    print((results / f"{profile}.txt").read_text(errors="replace"), end="", flush=True)
    return done.returncode == 0


def perf_command(url: str, profile: str, picture: Path) -> Sequence[str]:
    return [
        sys.executable, "-m", "perf", url, "--check", profile, f"--max-tokens={MAX_TOKENS}", "--output=json",
        f"--plot={picture}",
    ]  # fmt: skip


def remove(kubectl: Kubectl, profile: str) -> None:
    """Delete a profile's objects and wait until their pods are gone, so that the next one finds the GPUs free."""
    for item in reversed(objects(profile)):
        word = f"{item['kind']}.v1alpha1.inference.ai/{item['metadata']['name']}"
        kubectl.run("delete", word, f"--namespace={NAMESPACE}", "--ignore-not-found", "--timeout=5m")
    begun, name = time.monotonic(), service_of(profile)
    while left := [it for it in kubectl.list("v1", "Pod", NAMESPACE) if it["metadata"]["name"].startswith(f"{name}-")]:
        if time.monotonic() - begun > GONE_SECONDS:
            names = ", ".join(it["metadata"]["name"] for it in left)
            raise SamplesError(f"pods of {name} are still there after {GONE_SECONDS:.0f} s: {names}")
        time.sleep(PERIOD_SECONDS)
