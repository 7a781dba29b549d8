"""Pods without a cluster: network namespaces on a bridge, and in each the container that a pod template asks for.

A pod keeps its address, its name and its volumes while its container may start again, as in Kubernetes. The container
has uid 1001, no capability, no new privileges, a read-only root and its own hostname, processes and shared memory.
Everything the container is told (arguments, environment) comes from a template that the operator made.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.agent.failure import telling_line
from tests.images.layout import INSTALLED
from tests.kube.expansion import expand, expanded
from tools.sandbox.process import Process, tail

INIT = Path(__file__).with_name("pod_init.py")
UID = 1001
GPU_GROUP = 109
MESSAGE_BYTES = 2048  # what the kubelet takes of a log for a termination message
_NUMBERS = itertools.count(os.getpid() * 1000)
"""Apart from those of other processes that run such tests; an interface's name takes 15 characters."""


def run(*argv: object) -> str:
    return subprocess.run(list(map(str, argv)), check=True, capture_output=True, text=True).stdout


@dataclass
class Network:
    """A bridge in a namespace of its own; pods plug into it."""

    folder: Path
    families: tuple[int, ...] = (4,)
    """IP versions of the pods, the primary one first."""
    number: int = field(default_factory=lambda: next(_NUMBERS))
    pods: list[Pod] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    """What the group's DNS knows: name -> address."""

    @property
    def hub(self) -> str:
        return f"infer{self.number}"

    @classmethod
    @contextmanager
    def create(cls, folder: Path, families: tuple[int, ...] = (4,)) -> Iterator[Network]:
        network = cls(folder, families)
        run("ip", "netns", "add", network.hub)
        try:
            network._in_hub("ip", "link", "add", "bridge", "type", "bridge")
            network._in_hub("ip", "link", "set", "bridge", "up")
            for family in families:
                network._in_hub("ip", "address", "add", *_on(family, 1), "dev", "bridge")
            network._in_hub("ip", "link", "set", "lo", "up")
            yield network
        finally:
            for pod in network.pods:
                pod.kill()
            for namespace in (*(pod.namespace for pod in network.pods), network.hub):
                run("ip", "netns", "delete", namespace)

    def _in_hub(self, *argv: object) -> str:
        return run("ip", "netns", "exec", self.hub, *argv)

    def execute(self, *argv: object) -> str:
        """Run a command beside the pods, as a stranger in the same network."""
        return self._in_hub(*argv)

    def add(self, name: str, template: Mapping[str, Any], **rest: Any) -> Pod:
        number = len(self.pods) + 2
        pod = Pod(self, name, number, _address(self.families[0], number), template, **rest)
        self.pods.append(pod)
        run("ip", "netns", "add", pod.namespace)
        inside = ("ip", "-n", pod.namespace)
        cable = f"v{self.number}.{number}"
        run("ip", "-n", self.hub, "link", "add", cable, "type", "veth", "peer", "eth0", "netns", pod.namespace)
        run("ip", "-n", self.hub, "link", "set", cable, "master", "bridge", "up")
        run(*inside, "link", "set", "eth0", "up")
        for family in self.families:
            run(*inside, "address", "add", *_on(family, number), "dev", "eth0")
        run(*inside, "link", "set", "lo", "up")
        return pod

    def publish(self, pod: Pod, name: str) -> None:
        """What a headless Service with publishNotReadyAddresses does."""
        self.names[name] = pod.ip
        for other in self.pods:
            other.write_hosts()

    def hide(self, name: str) -> None:
        self.names.pop(name)
        for other in self.pods:
            other.write_hosts()

    def ask(self, pod: Pod, path: str, body: Any = None, port: int = 8000, family: int = 0) -> tuple[int, str]:
        """Status and body of one HTTP request from another place in the network; 0 = no answer."""
        script = (
            "import sys,json,urllib.request as u,urllib.error\n"
            "r=u.Request(sys.argv[1],sys.argv[2].encode() or None,{'Content-Type':'application/json'})\n"
            "try:\n a=u.urlopen(r,timeout=300);print(a.status);print(a.read().decode())\n"
            "except urllib.error.HTTPError as e: print(e.code);print(e.read().decode())\n"
            "except OSError as e: print(0);print(e)\n"
        )
        data = json.dumps(body) if body is not None else ""
        ip = _address(family, pod.number) if family else pod.ip
        url = f"http://{f'[{ip}]' if ':' in ip else ip}:{port}{path}"
        status, _, text = self._in_hub(sys.executable, "-c", script, url, data).partition("\n")
        return int(status), text


@dataclass
class Pod:
    """One pod; `start` starts its container, again after an end."""

    network: Network
    name: str
    number: int
    ip: str
    """The primary address."""
    template: Mapping[str, Any]
    path: str
    """The image's PATH before /usr/bin."""
    mounts: Mapping[str, tuple[str, bool]]
    """Path in the container -> path here, and whether it is read-only."""
    env: Mapping[str, str] = field(default_factory=dict)
    """What LWS adds, and what the test changes."""
    devices: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    groups: tuple[int, ...] = (GPU_GROUP,)
    starts: int = 0
    process: Process | None = None

    @property
    def namespace(self) -> str:
        return f"{self.network.hub}-{self.number}"

    @property
    def folder(self) -> Path:
        folder = self.network.folder / self.name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def container(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.template["spec"]["containers"][0]
        return found

    @property
    def log(self) -> Path:
        return self.folder / f"log.{self.starts}"

    def environment(self) -> dict[str, str]:
        said = expanded({it["name"]: it.get("value", self.ip) for it in self.container["env"]})
        return {
            "PATH": f"{INSTALLED}/bin:{self.path}:/usr/local/bin:/usr/bin:/bin",
            "HOSTNAME": self.name,
            "PYTHONDONTWRITEBYTECODE": "1",
            **said,
            **self.env,
        }

    def start(self) -> Pod:
        self.starts += 1
        self._prepare()
        argv = ["ip", "netns", "exec", self.namespace, "unshare", "--mount", "--uts", "--ipc", "--pid", "--fork"]
        argv += ["--kill-child", sys.executable, str(INIT), str(self.folder / "pod.json")]
        self.process = Process.start(self.name, argv, self.log)
        return self

    def _prepare(self) -> None:
        for name in ("root", "tmp", "cache"):
            (self.folder / name).mkdir(exist_ok=True)
        for name in ("tmp", "cache"):
            os.chown(self.folder / name, UID, UID)
        message = self.folder / "termination-log"
        message.write_text("")
        message.chmod(0o666)
        self.write_hosts()
        environment = self.environment()
        written = (*self.container["command"], *self.container.get("args", []))
        command = [expand(word, environment) for word in written]
        (self.folder / "pod.json").write_text(json.dumps(self._description(command)))

    def _description(self, command: list[str]) -> dict[str, Any]:
        own = {
            "/tmp": (str(self.folder / "tmp"), False),
            "/var/cache/inference": (str(self.folder / "cache"), False),
            "/dev/termination-log": (str(self.folder / "termination-log"), False),
            "/etc/hosts": (str(self.folder / "hosts"), True),
        }
        user = f"inference:x:{UID}:{UID}::/var/cache/inference:/bin/sh\n"
        return {
            "root": str(self.folder / "root"),
            "hostname": self.name,
            "uid": UID,
            "groups": self.groups,
            "env": self.environment(),
            "command": command,
            "devices": self.devices,
            "mounts": {**own, **self.mounts},
            "files": {
                "/etc/passwd": f"root:x:0:0:root:/root:/bin/sh\nsshd:x:100:65534::/run/sshd:/bin/false\n{user}",
                "/etc/group": f"root:x:0:\ninference:x:{UID}:\n",
                "/etc/resolv.conf": "",
                "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
            },
        }

    def write_hosts(self) -> None:
        own = f"127.0.0.1 localhost\n::1 localhost ip6-localhost\n{self.ip} {self.name}\n"
        (self.folder / "hosts").write_text(own + "".join(f"{ip} {name}\n" for name, ip in self.network.names.items()))

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """As `kubectl exec` or an exec probe: the container's user, environment and namespaces."""
        pid = self.main_pid()
        argv = ["nsenter", f"--target={pid}", "--all", f"--root=/proc/{pid}/root", f"--wd=/proc/{pid}/root"]
        groups = ",".join(map(str, self.groups))
        groups = f"--groups={groups}" if groups else "--clear-groups"
        argv += ["setpriv", f"--reuid={UID}", f"--regid={UID}", groups, "--bounding-set=-all"]
        return subprocess.run(
            [*argv, "--inh-caps=-all", "--no-new-privs", *command],
            env=self.environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip

    def main_pid(self) -> int:
        """This machine's number of the container's process 1."""
        assert self.process is not None
        return next(pid for pid in descendants(self.process.pid) if _inner_pid(pid) == 1)

    def processes(self, word: str) -> list[int]:
        """This machine's numbers of the container's processes whose command line has the word."""
        assert self.process is not None
        return [pid for pid in descendants(self.process.pid) if word in _command(pid) and _inner_pid(pid) >= 1]

    def listening(self) -> tuple[int, ...]:
        """TCP ports that something in the pod listens on, on more than loopback."""
        found = set()
        for name in ("tcp", "tcp6"):
            for line in Path(f"/proc/{self.main_pid()}/net/{name}").read_text().splitlines()[1:]:
                address, state = line.split()[1], line.split()[3]
                host, _, port = address.partition(":")
                if state == "0A" and not host.endswith(("0100007F", "00000001000000")):
                    found.add(int(port, 16))
        return tuple(sorted(found))

    def signal(self, number: int) -> None:
        os.kill(self.main_pid(), number)

    def wait(self, seconds: float) -> int:
        """The container's exit code."""
        assert self.process is not None
        return self.process.popen.wait(seconds)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.popen.poll() is None

    def kill(self) -> None:
        """As when its node is lost: no process is asked."""
        if self.process is None:
            return
        for pid in descendants(self.process.pid):
            if _inner_pid(pid) == 1:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
        self.process.stop(grace=2)

    def message(self) -> str:
        """The termination message as the kubelet finds it (policy FallbackToLogsOnError), as the operator tells it."""
        written = (self.folder / "termination-log").read_text()
        return telling_line(written or self.log.read_text(errors="replace")[-MESSAGE_BYTES:])

    def written_message(self) -> str:
        return (self.folder / "termination-log").read_text().strip()

    def logged(self) -> str:
        return self.log.read_text(errors="replace")


def _address(family: int, number: int) -> str:
    return f"fd77::{number:x}" if family == 6 else f"10.77.0.{number}"


def _on(family: int, number: int) -> tuple[str, ...]:
    """As `ip address add` takes it; an address of IPv6 is of use at once."""
    return (f"{_address(family, number)}/64", "nodad") if family == 6 else (f"{_address(family, number)}/16",)


def descendants(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += [int(it) for it in (task / "children").read_text().split()]
    return found


def _inner_pid(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                numbers = line.split()[1:]
                return int(numbers[-1]) if len(numbers) > 1 else 0
    return 0


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def wait_for(what: str, ready: Callable[[], bool], seconds: float, *pods: Pod) -> None:
    """Poll; on failure tell the ends of the pods' logs."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline or (pods and not any(pod.running for pod in pods)):
            ends = "\n".join(f"--- {pod.name} (running: {pod.running})\n{tail(pod.log)}" for pod in pods)
            raise AssertionError(f"not so after {seconds:.0f} s: {what}\n{ends}")
        time.sleep(0.1)


def missing_parts(*programs: str) -> str:
    """Why groups cannot run here, "" when they can."""
    absent = [name for name in ("ip", "unshare", "setpriv", "nsenter", *programs) if shutil.which(name) is None]
    if os.geteuid() != 0:
        return "needs root, to make network namespaces"
    return f"needs {', '.join(absent)}" if absent else ""
