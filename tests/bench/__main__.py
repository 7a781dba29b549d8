"""`make bench`: how fast one hook process answers, against a hook that does nothing on the same machine.

One uvicorn process each, asked over HTTP on loopback by this process with a captured sync request of a distributed
InferenceService. Figures are of this machine only; the ratio is what compares between machines.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from tools.sandbox.hooks import PROJECT, read_settings
from tools.sandbox.process import Process, free_port

REQUEST = PROJECT / "tests" / "golden" / "inferenceservice" / "llama2-7b-service" / "07-ready.request.json"


@dataclass(frozen=True)
class Result:
    """What was measured of one process."""

    seconds: list[float]
    """Duration of each request, in seconds."""
    cpu_seconds: float
    """CPU time of the hook process for all of them."""
    resident_mib: float

    @property
    def per_second(self) -> float:
        return len(self.seconds) / sum(self.seconds)

    @property
    def per_core_second(self) -> float:
        """Requests for each second of CPU time the hook process used."""
        return len(self.seconds) / self.cpu_seconds

    def percentile(self, percent: int) -> float:
        """Milliseconds."""
        return statistics.quantiles(self.seconds, n=100)[percent - 1] * 1000


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--requests", type=int, default=3000, help="measured requests (default: 3000)")
    arguments = parser.parse_args(argv)
    hook = measure("app.main:app", "/sync/inferenceservice", arguments.requests)
    nothing = measure("tests.bench.nothing:app", "/sync/inferenceservice", arguments.requests)
    print(f"machine: {machine()}, Python {platform.python_version()}, {arguments.requests} requests of {REQUEST.name}")
    for name, result in (("hook", hook), ("does nothing", nothing)):
        print(
            f"{name:12}  {result.per_second:6.0f} syncs/s  {result.per_core_second:6.0f} syncs/s/core  "
            f"p50 {result.percentile(50):5.2f} ms  p99 {result.percentile(99):5.2f} ms  "
            f"{result.resident_mib:4.0f} MiB resident"
        )
    print(
        f"ratio: {hook.per_core_second / nothing.per_core_second:.2f} of the syncs/s/core of a hook that does nothing"
    )
    return 0


def measure(application: str, path: str, requests: int) -> Result:
    """Ask one process one request after another, after a warm-up of a tenth as many."""
    body = REQUEST.read_bytes()
    with serving(application) as (process, url), httpx2.Client(base_url=url, timeout=120) as client:
        for _ in range(requests // 10):
            ask(client, path, body)
        before = cpu_seconds(process.pid)
        seconds = [ask(client, path, body) for _ in range(requests)]
        return Result(seconds, cpu_seconds(process.pid) - before, resident_mib(process.pid))


def ask(client: httpx2.Client, path: str, body: bytes) -> float:
    begun = time.perf_counter()
    client.post(path, content=body, headers={"Content-Type": "application/json"}).raise_for_status()
    return time.perf_counter() - begun


@contextmanager
def serving(application: str) -> Iterator[tuple[Process, str]]:
    port = free_port()
    argv = [sys.executable, "-m", "uvicorn", application, f"--port={port}", "--no-access-log", "--log-level=warning"]
    env = {"PYTHONPATH": str(PROJECT), **read_settings()}
    process = Process.start("bench", argv, Path(os.devnull), env)
    url = f"http://127.0.0.1:{port}"
    try:
        process.wait_until(lambda: answers(url), timeout=120)
        yield process, url
    finally:
        process.stop()


def answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/healthz").is_success
    except httpx2.TransportError:
        return False


def cpu_seconds(pid: int) -> float:
    """User and system time of a process with all its threads, in nanosecond steps.

    /proc/<pid>/stat counts in ticks of 10 ms, which a short run may not fill. The clock of another process has a
    number made of its pid: ~pid in the upper bits, 2 (CPUCLOCK_SCHED) in the lower three (clock_getcpuclockid(3)).
    """
    return time.clock_gettime(~pid << 3 | 2)


def resident_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) / 1024


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    return f"{model}, {os.cpu_count()} cores"


if __name__ == "__main__":
    sys.exit(main())
