"""First process of the node's namespaces: makes them private, then reaps orphans for ever. Standard library only.

`init.py READY` is run by unshare(1) in new mount, network and process namespaces. READY is written when all is set up.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

PRIVATE = ("/run", "/var/lib", "/var/log")
"""Where containerd, kubelet, CNI and kube-proxy write whatever their settings say. The host's own stay as they are."""
KERNEL = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""What the kubelet would set for the whole machine. It finds these values and leaves the machine's alone."""


def main(ready: Path) -> None:
    for folder in PRIVATE:
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", folder)
    settings = Path("/run/kernel-settings")
    for name, value in KERNEL.items():
        played, real = settings / name, Path("/proc/sys") / name
        if real.exists():
            played.parent.mkdir(parents=True, exist_ok=True)
            played.write_text(value + "\n")
            run("mount", "--bind", played, real)
    run("ip", "link", "set", "lo", "up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    ready.write_text("")
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            time.sleep(1)


def run(*argv: str | Path) -> None:
    subprocess.run([str(word) for word in argv], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
