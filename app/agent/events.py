"""Events: what nothing else says of pods that are not made, or wait for a volume.

Anybody who may write into a namespace may write events there, so an event counts for objects of its own namespace
alone, its text is cut before it is read, and of each namespace the newest are kept. Events outlive their cause by an
hour: whoever reads them must know that what they tell of is still missing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from app.agent.failure import MESSAGE_LIMIT, find_probe_failure, normalised
from app.agent.snapshot import Json, Subject, Warned, Warnings, parse_identity
from app.agent.store import Store
from app.kube.conditions import parse_time
from app.kube.lenient import text_at

FAILED_CREATE = "FailedCreate"
CLAIM_REASONS = frozenset({"ProvisioningFailed", "FailedBinding"})
MOUNT_REASONS = frozenset({"FailedMount", "FailedAttachVolume"})
UNHEALTHY = "Unhealthy"
EVENT_REASONS = (FAILED_CREATE, *sorted(MOUNT_REASONS), *sorted(CLAIM_REASONS), UNHEALTHY)
KINDS = frozenset({"Job", "Pod", "PersistentVolumeClaim", "StatefulSet", "LeaderWorkerSet"})

MOST = 400
"""Events of one reason that are kept of a namespace: about 400 kilobytes."""
RAW_LIMIT = 4096
"""Characters of a message that are looked at. The API takes a megabyte; controllers write a kilobyte at most."""
RECENT_SECONDS = 900
"""Events of an object that are older than its newest by more tell of what is over: kubelet tries every two minutes, but
a client sends one event of an object in five minutes once it has sent 25."""

_COMBINED = re.compile(r"^\(combined from similar events\): ")
_VARYING = re.compile(r",? (unattached|failed to process) volumes=\[[^\]]*\]")
"""In no order, so that the same message reads otherwise each time."""
_VAGUE = re.compile(r"^\w+: Unable to attach or mount volumes")
"""What kubelet adds every two minutes to what it has said of the volume itself."""
_PASSING = re.compile(r"failed to sync (secret|configmap) cache|not registered$")
"""Of nearly every pod's first second: kubelet has not read the object yet."""
_NAME = re.compile(r'(pods "[a-z0-9.-]{1,247}?)-[bcdfghjklmnpqrstvwxz2456789]{5}"')
"""The end that the API server gives the name of a pod of a ReplicaSet or Job: another one at each attempt."""


def parse_event(item: Json) -> Warned | None:
    """An event of these reasons about an object of these kinds; None of any other, of what passes at once, and of
    probes that are not those of our images."""
    reason, kind = text_at(item, "reason"), text_at(item, "involvedObject", "kind")
    raw = _COMBINED.sub("", text_at(item, "message")[:RAW_LIMIT])
    if reason not in EVENT_REASONS or kind not in KINDS or _PASSING.search(raw):
        return None
    if reason == UNHEALTHY and find_probe_failure(raw) is None:
        return None
    text = f"{reason}: {normalised(_NAME.sub(_ANY, _VARYING.sub('', raw)))}"
    return Warned(
        *parse_identity(item),
        kind=kind,
        about=text_at(item, "involvedObject", "name")[:253],
        uid_about=text_at(item, "involvedObject", "uid")[:64],
        at=_seconds(item),
        text=text[:MESSAGE_LIMIT],
    )


_ANY = r'\1-..."'


def _seconds(item: Json) -> int:
    """When it was last seen; both APIs of events have their own fields for that."""
    paths = (("series", "lastObservedTime"), ("lastTimestamp",), ("eventTime",), ("metadata", "creationTimestamp"))
    times = (parse_time(text_at(item, *path)) for path in paths)
    return to_seconds(next((time for time in times if time), None))


def to_seconds(moment: datetime | None) -> int:
    return int(moment.timestamp()) if moment else 0


class EventStore(Store[Warned]):
    """Of each namespace the newest events only, so that nobody fills the agent's memory."""

    def __init__(self) -> None:
        super().__init__(parse_event)
        self._sizes: Counter[str] = Counter()

    def replace(self, events: Iterable[Warned]) -> bool:
        changed = super().replace(self.trim(list(events)))
        self._sizes = Counter(namespace for namespace, _ in self.objects)
        return changed

    def trim(self, events: list[Warned]) -> list[Warned]:
        kept: Counter[str] = Counter()
        return [event for event in sorted(events, key=_by_age, reverse=True) if _count(kept, event.namespace) <= MOST]

    def apply(self, kind: str, item: Json) -> bool:
        before = len(self.objects)
        changed = super().apply(kind, item)
        namespace = text_at(item, "metadata", "namespace")
        self._sizes[namespace] += len(self.objects) - before
        if self._sizes[namespace] > MOST:
            oldest = min((it for it in self.objects.values() if it.namespace == namespace), key=_by_age)
            del self.objects[oldest.key]
            self._sizes[namespace] -= 1
        if not self._sizes[namespace]:
            del self._sizes[namespace]
        return changed


def _count(counter: Counter[str], key: str) -> int:
    counter[key] += 1
    return counter[key]


def _by_age(event: Warned) -> tuple[int, int]:
    return (event.version, event.at)


def index_events(events: Iterable[Warned]) -> Warnings:
    """Events by what they are about, oldest first."""
    found: dict[Subject, list[Warned]] = {}
    for event in sorted(events, key=lambda it: (it.at, it.version)):
        found.setdefault(event.subject, []).append(event)
    return found


def find_recent(warned: Warnings, subject: Subject, uid: str = "", since: int = 0) -> Sequence[Warned]:
    """The events about an object that tell of now, oldest first; `uid` leaves out those of another of its name."""
    known = [it for it in warned.get(subject, ()) if it.at >= since and _is_about(it, uid)]
    return [it for it in known if it.at >= known[-1].at - RECENT_SECONDS]


def _is_about(event: Warned, uid: str) -> bool:
    return not uid or not event.uid_about or event.uid_about == uid


def find_texts(warned: Warnings, subject: Subject, uid: str = "", since: int = 0) -> Sequence[str]:
    """What they say, each once, and always in the same order; a vague one only where there is no other."""
    texts = {it.text for it in find_recent(warned, subject, uid, since)}
    return sorted(_telling(texts)) or sorted(texts)


def _telling(texts: Iterable[str]) -> Iterator[str]:
    return (text for text in texts if not _VAGUE.search(text))
