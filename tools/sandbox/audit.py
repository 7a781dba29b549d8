"""Who wrote what: the API server's audit log, read back as typed events.

Tests prove with it that a steady state writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

WRITES = ["create", "update", "patch", "delete", "deletecollection"]
POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "verbs": WRITES}, {"level": "None"}],
}


@dataclass(frozen=True)
class AuditEvent:
    """One write request that the API server answered."""

    at: datetime
    verb: str
    user: str
    resource: str  # plural, with its group: `deployments.apps`; core kinds bare
    namespace: str
    name: str
    subresource: str
    code: int
    user_agent: str


def write_policy(path: Path) -> Path:
    path.write_text(json.dumps(POLICY))
    return path


def read_events(log: Path, since: datetime | None = None) -> list[AuditEvent]:
    """The writes logged so far, oldest first; those received at or after `since` when it is given."""
    return [event for event in _parse(log) if since is None or event.at >= since]


def _parse(log: Path) -> Iterator[AuditEvent]:
    if not log.exists():
        return
    for line in log.read_text().splitlines():
        try:
            yield _event(line)
        except json.JSONDecodeError:  # the last line, while it is being written
            return


def _event(line: str) -> AuditEvent:
    raw = json.loads(line)
    target = raw.get("objectRef", {})
    group = target.get("apiGroup")
    resource = target.get("resource", "")
    return AuditEvent(
        at=datetime.fromisoformat(raw["requestReceivedTimestamp"]),
        verb=raw["verb"],
        user=raw["user"].get("username", ""),
        resource=f"{resource}.{group}" if group else resource,
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        subresource=target.get("subresource", ""),
        code=raw.get("responseStatus", {}).get("code", 0),
        user_agent=raw.get("userAgent", ""),
    )
