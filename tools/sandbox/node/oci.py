"""Images as containerd imports them: a tar of an OCI layout."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Set
from pathlib import Path

from tools.sandbox.api import Object
from tools.sandbox.node.config import PAUSE_IMAGE

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
NAME = "io.containerd.image.name"
"""The annotation by which containerd names what it imports."""
BUSYBOX = Path("/bin/busybox")
FOREVER = str(2**31 - 1)
_OCI = "application/vnd.oci.image"


def write_pause_image(path: Path) -> None:
    """The image of a pod's sandbox: a static busybox that sleeps."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.add(BUSYBOX.resolve(), arcname="busybox", filter=_plain)
    blobs: dict[str, bytes] = {}
    content = _add(blobs, layer.getvalue(), f"{_OCI}.layer.v1.tar")
    configuration = {
        "architecture": _architecture(),
        "os": "linux",
        "config": {"Entrypoint": ["/busybox", "sleep", FOREVER]},
        "rootfs": {"type": "layers", "diff_ids": [content["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_OCI}.manifest.v1+json",
        "config": _add(blobs, json.dumps(configuration).encode(), f"{_OCI}.config.v1+json"),
        "layers": [content],
    }
    entry = _add(blobs, json.dumps(manifest).encode(), f"{_OCI}.manifest.v1+json")
    index = {"schemaVersion": 2, "manifests": [{**entry, "annotations": {NAME: PAUSE_IMAGE}}]}
    with tarfile.open(path, "w") as tar:
        write_files(tar, {"oci-layout": LAYOUT, "index.json": json.dumps(index).encode()})
        write_files(tar, {_blob(digest): blob for digest, blob in blobs.items()})


def pack_folder(tar: tarfile.TarFile, folder: Path, reference: str) -> None:
    """A folder with one image, files named by digest, as the tar of a layout."""
    manifest = (folder / "manifest.json").read_bytes()
    digest = hashlib.sha256(manifest).hexdigest()
    entry = {
        "mediaType": f"{_OCI}.manifest.v1+json",
        "digest": f"sha256:{digest}",
        "size": len(manifest),
        "annotations": {NAME: reference},
    }
    index = {"schemaVersion": 2, "manifests": [entry]}
    write_files(tar, {"oci-layout": LAYOUT, "index.json": json.dumps(index).encode(), _blob(digest): manifest})
    for path in sorted(folder.iterdir()):
        if path.name not in ("manifest.json", "version"):
            tar.add(path, arcname=_blob(path.name))


def pack_layout(tar: tarfile.TarFile, layout: Path, known: Set[str]) -> None:
    """A layout as a tar, without the blobs that are known where it goes."""
    write_files(tar, {"oci-layout": LAYOUT, "index.json": named_index(layout)})
    for path in sorted((layout / "blobs" / "sha256").iterdir()):
        if path.name not in known:
            tar.add(path, arcname=_blob(path.name))


def _blob(digest: str) -> str:
    return f"blobs/sha256/{digest}"


def named_index(layout: Path) -> bytes:
    """The layout's index, with the names that buildah wrote in the place where containerd looks for them."""
    index: Object = json.loads((layout / "index.json").read_text())
    for manifest in index["manifests"]:
        manifest["annotations"][NAME] = manifest["annotations"]["org.opencontainers.image.ref.name"]
    return json.dumps(index).encode()


def _add(blobs: dict[str, bytes], blob: bytes, media_type: str) -> Object:
    digest = hashlib.sha256(blob).hexdigest()
    blobs[digest] = blob
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(blob)}


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """The same bytes on every machine with the same busybox."""
    info.mtime, info.mode, info.uid, info.gid, info.uname, info.gname = 0, 0o755, 0, 0, "", ""
    return info


def write_files(tar: tarfile.TarFile, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))


def _architecture() -> str:
    """In Go's words."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
