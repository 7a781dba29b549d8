#!/usr/bin/env python3
"""A stand-in for vLLM where speed matters: the same command line, rendezvous, ports and answers, but no model.

Arguments are parsed by the operator's table of the real parser. Node 0 waits on the master port for all nodes; then
they stay connected, as vLLM's workers are by their collectives, and a node that ends or hangs ends the group. With data
parallelism the nodes meet on its own port, which is closed once all are there: copies of a dense model are independent.
STANDIN_HANG_SECONDS is how long a silent node is borne; STANDIN_LAST_WORDS makes a start fail.
Requests last for STANDIN_REQUEST_SECONDS, and until the file STANDIN_REQUEST_UNTIL is there.
With STANDIN_SAYS_RUNNING="" /metrics tells of no request, with STANDIN_SAYS_NOTHING of nothing at all.
tests/images/test_real_vllm.py holds it against the real one.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from app.vllm.table import Argument, engine_arguments

HANG_SECONDS = float(os.environ.get("STANDIN_HANG_SECONDS", "3"))
HTTP_OWN = {"port": "int", "host": "text", "served_model_name": "text", "model": "text"}


class EngineError(RuntimeError):
    """As vLLM's own: the last line of the log."""


def parse(argv: list[str]) -> dict[str, Any]:
    """`serve` and its flags, each known to the table and of its type; as argparse, or exit code 2."""
    if argv[:1] != ["serve"]:
        usage(f"invalid choice: {argv[:1]}")
    table, found, rest = engine_arguments(), {}, argv[1:]
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            usage(f"unrecognized arguments: {word}")
        name, equals, value = word.removeprefix("--").partition("=")
        name = name.replace("-", "_")
        name = table.negatives.get(name, table.aliases.get(name, name)).partition(".")[0]
        argument = table.arguments.get(name)
        if argument is None:
            usage(f"unrecognized arguments: {word}")
        assert argument is not None
        if argument.type in ("bool", "flag"):
            if equals:
                usage(f"argument --{name}: ignored explicit argument {value!r}")
            found[name] = True
            continue
        values = [value] if equals else []
        while not equals and rest and not rest[0].startswith("--"):
            values.append(rest.pop(0))
        if not values:
            usage(f"argument --{name}: expected one argument")
        found[name] = [convert(argument, it) for it in values][-1]
    return found


def convert(argument: Argument, text: str) -> Any:
    if argument.choices and text not in argument.choices:
        usage(f"argument --{argument.name}: invalid choice: {text!r}")
    kind = {"int": int, "float": float}.get(argument.type, str)
    try:
        return json.loads(text) if argument.type == "json" else kind(text)
    except ValueError:
        usage(f"argument --{argument.name}: invalid {argument.type} value: {text!r}")


def usage(message: str) -> Any:
    print(f"vllm serve: error: {message}", file=sys.stderr)
    sys.exit(2)


@dataclass
class Server:
    options: dict[str, Any]
    config: str = ""
    peers: dict[int, socket.socket] = field(default_factory=dict)
    door: socket.socket | None = None
    broken: str = ""
    stopping: bool = False
    running: int = 0
    done: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def option(self, name: str, default: Any) -> Any:
        return self.options.get(name, default)

    @property
    def copies(self) -> int:
        return int(self.option("data_parallel_size", 1))

    @property
    def meeting_port(self) -> int:
        if self.copies > 1:
            return int(self.option("data_parallel_rpc_port", 29550))
        return int(self.option("master_port", 29501))

    @property
    def name(self) -> str:
        return str(self.option("served_model_name", self.option("model", "")))

    def answer(self, prompt: str) -> str:
        """Every node computes, and node 0 compares: the answer needs all of them, and not how many they are."""
        mine = compute(self.config, prompt)
        for rank, peer in self.peers.items():
            with self.lock:
                if ask(peer, {"prompt": prompt}) != {"answer": mine}:
                    raise EngineError(f"node {rank} computed something else")
        return mine


def compute(config: str, prompt: str) -> str:
    return hashlib.sha256(f"{config}\n{prompt}".encode()).hexdigest()[:16]


def ask(peer: socket.socket, message: dict[str, Any]) -> dict[str, Any]:
    peer.sendall(json.dumps(message).encode() + b"\n")
    answer: dict[str, Any] = json.loads(read_line(peer))
    return answer


def read_line(peer: socket.socket) -> str:
    line = b""
    while not line.endswith(b"\n"):
        part = peer.recv(1)
        if not part:
            raise ConnectionError("closed")
        line += part
    return line.decode()


def lead(server: Server) -> None:
    """Node 0: gather the others."""
    nodes, port = server.option("nnodes", 1), server.meeting_port
    deadline = time.monotonic() + server.option("distributed_timeout_seconds", 60)
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    both = family is socket.AF_INET6
    # open to the end and for both families, as torch's store is
    server.door = door = socket.create_server(("", port), family=family, dualstack_ipv6=both)
    while len(server.peers) < nodes - 1:
        door.settimeout(max(0.1, deadline - time.monotonic()))
        try:
            peer, _ = door.accept()
        except TimeoutError:
            have = len(server.peers) + 1
            raise EngineError(f"Timed out waiting for nodes: {have}/{nodes} joined") from None
        peer.settimeout(HANG_SECONDS)
        server.peers[int(read_line(peer))] = peer
    if server.copies > 1:
        door.close()
    print(f"INFO standin: {nodes} nodes joined", flush=True)


def watch(server: Server) -> None:
    while not server.broken:
        for rank, peer in server.peers.items():
            try:
                with server.lock:
                    ask(peer, {})
            except OSError as error:
                kind = "hangs" if isinstance(error, TimeoutError) else "is gone"
                server.broken = f"node {rank} {kind}"
        time.sleep(0.2)


def follow(server: Server) -> None:
    """Nodes above 0: answer until node 0 ends."""
    address = (server.options["master_addr"], server.meeting_port)
    deadline = time.monotonic() + server.option("distributed_timeout_seconds", 60)
    while True:
        try:
            peer = socket.create_connection(address, timeout=HANG_SECONDS)
            break
        except OSError as error:
            if time.monotonic() > deadline:
                raise EngineError(f"no connection to {address}: {error}") from None
            time.sleep(0.1)
    peer.settimeout(HANG_SECONDS * 2)
    peer.sendall(f"{server.options['node_rank']}\n".encode())
    while True:
        try:
            message = json.loads(read_line(peer))
        except OSError as error:
            raise EngineError(f"node 0 is gone ({error})") from None
        answer = {"answer": compute(server.config, message["prompt"])} if message else {}
        peer.sendall(json.dumps(answer).encode() + b"\n")


def with_ray(server: Server) -> None:
    """Ray spans the pods: one task on each must compute the same, and a lost node ends the group."""
    import ray

    ray.init(address=os.environ["RAY_ADDRESS"], logging_level="ERROR")
    alive = [node for node in ray.nodes() if node["Alive"]]
    config = server.config

    @ray.remote(num_gpus=1)  # type: ignore[untyped-decorator]
    def place() -> tuple[str, str]:
        return ray.util.get_node_ip_address(), hashlib.sha256(f"{config}\nx".encode()).hexdigest()[:16]

    places = ray.get(
        [place.options(resources={f"node:{node['NodeManagerAddress']}": 0.01}).remote() for node in alive],
        timeout=60,
    )
    print(f"INFO standin: Ray ran on {sorted(ip for ip, _ in places)}", flush=True)

    def look() -> None:
        while not server.broken:
            now = sum(node["Alive"] for node in ray.nodes())
            if now < len(alive):
                server.broken = f"{now} of {len(alive)} nodes of Ray are alive"
            time.sleep(0.5)

    threading.Thread(target=look, daemon=True).start()


def handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/health":
                self.reply(503 if server.broken else 200, b"")
            elif self.path == "/v1/models":
                model = {"id": server.name, "object": "model", "owned_by": "vllm"}
                self.reply(200, json.dumps({"object": "list", "data": [model]}).encode())
            elif self.path == "/metrics":
                told = "" if os.environ.get("STANDIN_SAYS_NOTHING") else metrics(server)
                self.reply(200, told.encode())
            else:
                self.reply(404, b'{"detail":"Not Found"}')

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if body.get("model") not in (None, server.name):
                said = f"The model `{body['model']}` does not exist. Valid aliases: {server.name}."
                self.reply(404, json.dumps({"error": {"message": said}}).encode())
                return
            server.running += 1
            try:
                time.sleep(float(os.environ.get("STANDIN_REQUEST_SECONDS", "0")))
                wait_for_file(os.environ.get("STANDIN_REQUEST_UNTIL", ""))
                choice = {"index": 0, "text": server.answer(body["prompt"]), "finish_reason": "length"}
                answer = {"object": "text_completion", "model": server.name, "choices": [choice]}
                self.reply(200, json.dumps(answer).encode())
                server.done += 1
            finally:
                server.running -= 1

        def reply(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet, for probes come often."""

    return Handler


def wait_for_file(path: str) -> None:
    while path and not Path(path).exists():
        time.sleep(0.05)


def metrics(server: Server) -> str:
    labels = f'{{engine="0",model_name="{server.name}"}}'
    running = float(server.running) if os.environ.get("STANDIN_SAYS_RUNNING", "1") else 0.0
    done = f'{{engine="0",finished_reason="length",model_name="{server.name}"}}'
    return (
        f"# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{labels} {running}\n"
        f"# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting{labels} 0.0\n"
        f"# TYPE vllm:kv_cache_usage_perc gauge\nvllm:kv_cache_usage_perc{labels} 0.0\n"
        f"# TYPE vllm:request_success_total counter\nvllm:request_success_total{done} {float(server.done)}\n"
    )


def serve(server: Server) -> None:
    """Until SIGTERM, then as long as requests run, at most --shutdown-timeout."""

    def stop(*_: object) -> None:
        server.stopping = True

    signal.signal(signal.SIGTERM, stop)
    host = server.option("host", "")
    # vLLM's own way: IPv4 unless the host is an address of IPv6
    ThreadingHTTPServer.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
    http = ThreadingHTTPServer((host, server.option("port", 8000)), handler(server))
    threading.Thread(target=http.serve_forever, daemon=True).start()
    print("INFO:     Application startup complete.", flush=True)
    while not server.stopping:
        if server.broken:
            raise EngineError(server.broken)
        time.sleep(0.05)
    print("INFO standin: told to stop", flush=True)
    deadline = time.monotonic() + server.option("shutdown_timeout", 0)
    while server.running and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.1)  # the last answer is on its way
    http.server_close()


def last_words(server: Server) -> None:
    """A start that fails: what STANDIN_LAST_WORDS says, on the node STANDIN_FAILS_ON, with STANDIN_EXIT_CODE."""
    words = os.environ.get("STANDIN_LAST_WORDS", "")
    if words and server.option("node_rank", 0) == int(os.environ.get("STANDIN_FAILS_ON", "0")):
        print(words, file=sys.stderr, flush=True)
        os._exit(int(os.environ.get("STANDIN_EXIT_CODE", "1")))


def main() -> None:
    server = Server(parse(sys.argv[1:]))
    last_words(server)
    if server.option("headless", False) and server.option("api_server_count", 0):
        usage("api_server_count can't be set in headless mode")
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    for name in ("model", "nnodes", "node_rank"):
        print(f"INFO standin: {name}={server.option(name, None)}", flush=True)
    folder = Path(server.option("model", ""))
    server.config = (folder / "config.json").read_text() if (folder / "config.json").exists() else str(folder)
    if server.option("distributed_executor_backend", "mp") == "ray":
        with_ray(server)
    elif server.option("headless", False):
        follow(server)
    elif server.option("nnodes", 1) > 1:
        lead(server)
        threading.Thread(target=watch, args=(server,), daemon=True).start()
    serve(server)


if __name__ == "__main__":
    main()
