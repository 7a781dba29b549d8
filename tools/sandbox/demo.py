"""`make demo`: the samples on a real API server of this machine, watched until all are Ready."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table

from tools.sandbox.api import Object, read_objects
from tools.sandbox.cluster import Cluster
from tools.sandbox.operator import PROJECT, Operator

EXAMPLES = PROJECT / "deploy" / "examples"
KINDS = ("ModelCache", "InferenceService", "InferenceEndpoint")
API_VERSION = "inference.ai/v1alpha1"
HEADLINES = ("Ready", "Available")
REFRESH_SECONDS = 0.5


@dataclass(frozen=True)
class Row:
    """One object of ours, as the table shows it."""

    kind: str
    name: str
    phase: str
    ready: bool
    message: str


class Lister(Protocol):
    """Whatever finds the objects of a kind in a namespace."""

    def list(self, api_version: str, kind: str, namespace: str | None = None) -> list[Object]: ...


def find_rows(cluster: Lister, wanted: Sequence[Object]) -> list[Row]:
    """The state of every sample, and of the objects that samples made."""
    namespaces = sorted({item["metadata"]["namespace"] for item in wanted})
    return [
        _row(item) for kind in KINDS for namespace in namespaces for item in cluster.list(API_VERSION, kind, namespace)
    ]


def _row(item: Object) -> Row:
    status = item.get("status") or {}
    conditions = status.get("conditions") or []
    headline: Object = next((it for it in conditions if it["type"] in HEADLINES), {})
    ready = headline.get("status") == "True"
    phase = status.get("phase") or ("Available" if ready else "Pending")
    return Row(item["kind"], item["metadata"]["name"], phase, ready, headline.get("message") or "")


def load_examples(folder: Path = EXAMPLES) -> list[Object]:
    """All example objects, caches first so that nothing has to wait for its turn."""
    paths = sorted(folder.rglob("*.yaml"), key=lambda path: (len(path.parts), path.name))
    objects = [item for path in paths for item in read_objects(path)]
    return sorted(objects, key=lambda item: KINDS.index(item["kind"]))


def run_samples(cluster: Cluster, operator: Operator, console: Console, timeout: float) -> bool:
    """Apply the examples and show them until all are Ready; False when the time is over first."""
    examples = load_examples()
    for namespace in sorted({item["metadata"]["namespace"] for item in examples}):
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    cluster.apply(examples)
    console.print(f"applied {len(examples)} samples of {EXAMPLES.relative_to(PROJECT)}")
    begun = time.monotonic()
    rows = _watch(lambda: find_rows(cluster, examples), operator, console, begun + timeout)
    if all_ready(rows, examples):
        console.print(f"[green]all Ready after {time.monotonic() - begun:.0f} s[/]")
        return True
    _explain(cluster, rows, console, timeout)
    return False


def all_ready(rows: Sequence[Row], wanted: Sequence[Object]) -> bool:
    """Every sample is there and Ready, and so is what they made."""
    there = {(row.kind, row.name) for row in rows}
    return all(row.ready for row in rows) and {(it["kind"], it["metadata"]["name"]) for it in wanted} <= there


def _watch(find: Callable[[], list[Row]], operator: Operator, console: Console, deadline: float) -> list[Row]:
    """A live table in a terminal, else a line for every change."""
    begun = time.monotonic()
    if not console.is_terminal:
        shown: set[Row] = set()
        return _poll(find, operator, deadline, lambda rows: _print_changes(rows, shown, time.monotonic() - begun))
    with Live(console=console, auto_refresh=False) as live:
        return _poll(
            find,
            operator,
            deadline,
            lambda rows: live.update(build_table(rows, time.monotonic() - begun), refresh=True),
        )


def _poll(
    find: Callable[[], list[Row]], operator: Operator, deadline: float, show: Callable[[list[Row]], None]
) -> list[Row]:
    while True:
        rows = find()
        show(rows)
        if all(row.ready for row in rows) or time.monotonic() > deadline:
            return rows
        operator.check()
        time.sleep(REFRESH_SECONDS)


def _print_changes(rows: Sequence[Row], shown: set[Row], seconds: float) -> None:
    for row in rows:
        if row not in shown:
            print(f"{seconds:4.0f} s  {row.kind}/{row.name}  {row.phase}  {row.message}", flush=True)
    shown.update(rows)


def build_table(rows: Sequence[Row], seconds: float) -> Table:
    """One line an object; messages wrap instead of hiding their numbers."""
    table = Table(title=f"{seconds:.0f} s", title_justify="left", expand=True)
    for name, width in (("Kind", 18), ("Name", 24), ("Phase", 12), ("Message", None)):
        table.add_column(name, width=width, no_wrap=width is not None, overflow="ellipsis" if width else "fold")
    for row in rows:
        style = "green" if row.ready else "red" if row.phase == "Failed" else "yellow"
        table.add_row(row.kind, row.name, f"[{style}]{row.phase}[/]", row.message)
    return table


def _explain(cluster: Cluster, rows: Sequence[Row], console: Console, timeout: float) -> None:
    """Why the samples that are not Ready are not, as far as their conditions and events tell."""
    console.print(f"[red]not Ready after {timeout:.0f} s:[/]")
    for row in rows:
        if not row.ready:
            console.print(f"  {row.kind}/{row.name} {row.phase}: {row.message or 'no status yet'}", soft_wrap=True)
            for line in list(cluster.events(row.name))[-5:]:
                console.print(f"  {line}", soft_wrap=True)
    console.print(f"Logs: {cluster.directory}/*.log")
