"""`python -m tests.bench.downloader`: what resuming, verifying and publishing cost beside the library's bare transfer.

A server in a process of its own speaks the Hub's API on loopback: one large file, and 500 small ones. Each is fetched
by the downloader, as its own process, and by `huggingface_hub.snapshot_download` without Xet, which neither resumes nor
verifies; both into the same file system, in turns, and the best of the rounds counts. The library's files are synced
afterwards, as the downloader syncs its own: what is not on disk is not downloaded. Hashing is measured apart, and taken
off the downloader's time in the second ratio. Then: the same once more with nothing to do. Peak memory is of the
downloader's process. Figures are of this machine only.
"""

from __future__ import annotations

import argparse
import hashlib
import http.server
import json
import multiprocessing
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from app.downloader.checksums import file_checksum
from tests.bench.__main__ import machine

COMMIT = "c" * 40
LARGE, SMALL = "org/large", "org/small"
MIB = 1 << 20


@dataclass(frozen=True)
class Measured:
    """One whole process."""

    seconds: float
    peak_mib: float


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.downloader", description=__doc__)
    parser.add_argument("--mib", type=int, default=4096, help="size of the large file (default: 4096)")
    parser.add_argument("--files", type=int, default=500, help="number of small files (default: 500)")
    parser.add_argument("--rounds", type=int, default=2, help="rounds, of which the best counts (default: 2)")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        root = Path(folder)
        make_files(root / "served", arguments.mib, arguments.files)
        print(f"machine: {machine()}, {arguments.mib} MiB in one file, {arguments.files} files of 64 KiB")
        with serving(root / "served") as url:
            for repository, size in ((LARGE, arguments.mib), (SMALL, arguments.files / 16)):
                compare(root, url, repository, size, arguments.rounds)
    return 0


def compare(root: Path, url: str, repository: str, size: float, rounds: int) -> None:
    """Print one comparison; size in MiB."""
    bare, ours, again = [], [], []
    for _ in range(rounds):
        bare.append(run(bare_command(repository, root / "bare"), url, root / "bare"))
        ours.append(run(our_command(), url, root / "ours", our_environment(repository, root / "ours")))
        again.append(run(our_command(), url, None, our_environment(repository, root / "ours")))
        # Both at once may not fit, and what is still being written back slows the next round.
        shutil.rmtree(root / "bare")
    hashing = hash_seconds(root / "ours")
    theirs, own = min(it.seconds for it in bare), min(it.seconds for it in ours)
    print(
        f"{repository}: library {size / theirs:7.1f} MiB/s, downloader {size / own:7.1f} MiB/s "
        f"({theirs / own:.2f} of the library's, {theirs / max(own - hashing, 1e-9):.2f} without hashing); "
        f"hashing {size / hashing:6.0f} MiB/s; peak {max(it.peak_mib for it in ours):4.0f} MiB "
        f"(library {max(it.peak_mib for it in bare):4.0f}); nothing to do: {min(it.seconds for it in again):.2f} s"
    )


def run(command: Sequence[str], url: str, fresh: Path | None, environment: dict[str, str] | None = None) -> Measured:
    """Run a command to its end; `fresh` is emptied before."""
    if fresh:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
    plain = {"HF_ENDPOINT": url, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "*"}
    begun, peak = time.monotonic(), 0.0
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, env={**os.environ, **plain, **(environment or {})}, stdout=log, stderr=subprocess.STDOUT
        )
        while process.poll() is None:
            peak = max(peak, peak_mib(process.pid))
            time.sleep(0.01)
        seconds = time.monotonic() - begun
        log.seek(0)
        if process.returncode != 0:
            raise SystemExit(f"{command} failed:\n{log.read().decode()}")
    return Measured(seconds, peak)


def peak_mib(pid: int) -> float:
    """The most memory that the process had so far; getrusage would count ours before the exec, too."""
    try:
        match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(match[1]) / 1024 if match else 0.0


def bare_command(repository: str, folder: Path) -> list[str]:
    script = (
        "import os, pathlib, sys; from huggingface_hub import snapshot_download; "
        "folder = pathlib.Path(snapshot_download(sys.argv[1], local_dir=sys.argv[2])); "
        "[os.fsync(os.open(path, os.O_RDONLY)) for path in folder.rglob('*') if path.is_file()]"
    )
    return [sys.executable, "-c", script, repository, str(folder / "model")]


def our_command() -> list[str]:
    return [sys.executable, "-m", "app.downloader.main"]


def our_environment(repository: str, folder: Path) -> dict[str, str]:
    return {
        "INFERENCE_MODEL_NAME": repository,
        "INFERENCE_SOURCE_TYPE": "huggingface",
        "INFERENCE_SOURCE": json.dumps({"repository": repository}),
        "INFERENCE_VOLUME": str(folder),
        "INFERENCE_PATH": "model",
        "INFERENCE_TERMINATION_LOG": os.devnull,
    }


def hash_seconds(volume: Path) -> float:
    """How long it takes to hash all files of the model, with as many at once as the downloader does at most."""
    paths = [path for path in (volume / "model").rglob("*") if path.is_file()]
    begun = time.monotonic()
    for path in paths:
        file_checksum(path, "sha256")
    return time.monotonic() - begun


def make_files(folder: Path, mib: int, count: int) -> None:
    """Random content, so that nothing on the way can be clever about it."""
    noise = random.Random(0).randbytes(MIB)
    for repository in (LARGE, SMALL):
        (folder / repository).mkdir(parents=True)
    with (folder / LARGE / "weights.bin").open("wb") as file:
        for number in range(mib):
            file.write(number.to_bytes(8, "little") + noise[8:])
    for number in range(count):
        (folder / SMALL / f"part-{number:04}.bin").write_bytes(number.to_bytes(8, "little") + noise[8 : 64 << 10])


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The server, in a process of its own so that it does not take turns with anybody."""
    ready = multiprocessing.get_context("spawn").Queue()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(folder, ready), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ready.get(timeout=120)}"
    finally:
        process.terminate()
        process.join()


def serve(folder: Path, ready: Any) -> None:
    hashes = {path: file_checksum(path, "sha256").value for path in folder.rglob("*.bin")}

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if match := re.match(r"/api/models/([^/]+/[^/]+)/tree/", self.path):
                return self._answer(json.dumps(tree(folder / match[1], hashes)).encode())
            if match := re.match(r"/api/models/([^/]+/[^/]+)", self.path):
                return self._answer(json.dumps(info(folder / match[1], match[1], hashes)).encode())
            if match := re.match(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", self.path):
                return self._file(folder / match[1] / unquote(match[2]))
            return self.send_error(404)

        do_HEAD = do_GET  # noqa: N815

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _file(self, path: Path) -> None:
            self.send_response(200)
            size, etag = path.stat().st_size, f'"{hashes[path]}"'
            headers = {"ETag": etag, "X-Linked-ETag": etag, "X-Repo-Commit": COMMIT, "X-Linked-Size": str(size)}
            for name, value in {**headers, "Content-Length": str(size)}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.flush()
                with path.open("rb") as file:
                    self.connection.sendfile(file)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    ready.put(server.server_port)
    server.serve_forever()


def info(folder: Path, name: str, hashes: dict[Path, str]) -> dict[str, object]:
    """What the Hub says about a repository."""
    siblings = [
        {
            "rfilename": path.name,
            "size": path.stat().st_size,
            "blobId": hashlib.sha1(path.name.encode(), usedforsecurity=False).hexdigest(),
            "lfs": {"sha256": hashes[path], "size": path.stat().st_size, "pointerSize": 130},
        }
        for path in sorted(folder.iterdir())
    ]
    return {"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings, "tags": []}


def tree(folder: Path, hashes: dict[Path, str]) -> list[dict[str, object]]:
    """The same as the list of files that the library's snapshot asks for."""
    return [
        {
            "type": "file",
            "path": path.name,
            "size": path.stat().st_size,
            "oid": hashlib.sha1(path.name.encode(), usedforsecurity=False).hexdigest(),
            "lfs": {"oid": hashes[path], "size": path.stat().st_size, "pointerSize": 130},
        }
        for path in sorted(folder.iterdir())
    ]


if __name__ == "__main__":
    sys.exit(main())
