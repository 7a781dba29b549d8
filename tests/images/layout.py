"""The files of ours that an image has, laid out as its Dockerfile's COPY instructions say."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
INSTALLED = "/opt/inference"
DOCKERFILE = ROOT / "images/runtime/Dockerfile"


def copies(dockerfile: Path = DOCKERFILE) -> dict[str, str]:
    """Path in this repository -> path in the image, of every COPY from the build context."""
    lines = dockerfile.read_text().replace("\\\n", " ").splitlines()
    found: dict[str, str] = {}
    for words in (shlex.split(line) for line in lines if line.startswith("COPY ")):
        if any(word.startswith("--from") for word in words):
            continue
        *sources, target = [word for word in words[1:] if not word.startswith("--")]
        for source in sources:
            many = target.endswith("/") and not (ROOT / source).is_dir()
            found[source] = f"{target}{Path(source).name}" if many else target.rstrip("/")
    return found


def install(folder: Path) -> Path:
    """What the image has below /opt/inference, in `folder`."""
    for source, target in copies().items():
        if not Path(target).is_relative_to(INSTALLED):
            continue  # what only the build reads
        place = folder / Path(target).relative_to(INSTALLED)
        place.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, place, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy2(ROOT / source, place)
    return folder
