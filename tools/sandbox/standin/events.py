"""Kubernetes events about controllers and parents; the same one again only counts up."""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime

import httpx2

from tools.sandbox.api import Api, ApiError, Object

logger = logging.getLogger(__name__)
COMPONENT = "metacontroller"
MESSAGE_LIMIT = 1024  # of the events API


class Recorder:
    """Writes events; a failure to write one is never an error."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def record(self, about: Object, kind: str, reason: str, message: str) -> None:
        """`kind`: Normal or Warning. Events of cluster-scoped objects are kept in namespace `default`."""
        logger.info("%s %s of %s: %s", kind, reason, about["metadata"]["name"], message)
        try:
            self._write(about, kind, reason, message[:MESSAGE_LIMIT])
        except (ApiError, httpx2.HTTPError) as error:
            logger.warning("cannot write an event: %s", error)

    def _write(self, about: Object, kind: str, reason: str, message: str) -> None:
        metadata = about["metadata"]
        namespace = metadata.get("namespace", "default")
        digest = hashlib.sha256(f"{metadata['uid']}{reason}{message}".encode()).hexdigest()[:16]
        name, now = f"{metadata['name']}.{digest}", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        events = self._api.resource("v1", kind="Event")
        seen = self._api.get(events, name, namespace)
        if seen:
            self._api.patch(events, name, namespace, {"count": seen["count"] + 1, "lastTimestamp": now})
            return
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "name": metadata["name"],
                "namespace": metadata.get("namespace", ""),
                "uid": metadata["uid"],
            },
            "type": kind,
            "reason": reason,
            "message": message,
            "source": {"component": COMPONENT},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        self._api.create(events, event)
