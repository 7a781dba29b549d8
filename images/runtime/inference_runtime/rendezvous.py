"""The pods of a native group meet before vLLM starts, so that a missing one is told by its name.

A worker connects to the leader's join port and sends its index as a line; when all have come, the leader answers each
with a line and closes the port. vLLM would find out too, but after its own long timeouts, and without names.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from inference_runtime.address import open_door
from inference_runtime.failure import EXIT_CONFIGURATION, Failure, log
from inference_runtime.group import Group
from inference_runtime.names import unresolved
from inference_runtime.waiting import wait_until

GO = b"go\n"
_LONGEST_LINE = 64
_MARGIN_SECONDS = 10
"""A worker at the door waits longer than the leader does, which then can tell who has not come at all."""


def meet(group: Group) -> None:
    """Return when all pods of the group are there."""
    if group.size == 1:
        return
    if group.index:
        _join(group)
    else:
        _gather(group)


def _gather(group: Group) -> None:
    """The leader's side."""
    deadline = time.monotonic() + group.join_seconds
    with _listening(group.join_port) as door, selectors.DefaultSelector() as selector:
        door.setblocking(False)
        selector.register(door, selectors.EVENT_READ)
        present: dict[int, socket.socket] = {}
        log(f"waiting for the other {group.size - 1} of {group.size} pods on port {group.join_port}")
        while len(present) < group.size - 1:
            if time.monotonic() > deadline:
                raise Failure(f"join: {_missing(group, present)} within {group.join_seconds} s")
            for key, _ in selector.select(timeout=0.5):
                if key.fileobj is door:
                    _admit(door, selector)
                elif isinstance(key.fileobj, socket.socket):
                    _hear(key.fileobj, selector, present, group)
        for visitor in present.values():
            with contextlib.suppress(OSError), visitor:
                visitor.sendall(GO)
    log(f"all {group.size} pods of the group are there")


def _admit(door: socket.socket, selector: selectors.BaseSelector) -> None:
    with contextlib.suppress(OSError):
        visitor, _ = door.accept()
        visitor.setblocking(False)
        selector.register(visitor, selectors.EVENT_READ)


def _hear(
    visitor: socket.socket, selector: selectors.BaseSelector, present: dict[int, socket.socket], group: Group
) -> None:
    """A worker's index, or the end of one that was there: only who is there now counts."""
    with contextlib.suppress(BlockingIOError):
        index = _index(visitor)
        known = next((it for it, other in present.items() if other is visitor), None)
        if index is None or not 0 < index < group.size:
            selector.unregister(visitor)
            visitor.close()
            if known is not None:
                present.pop(known)
                log(f"worker {known} went away again")
            return
        if (earlier := present.get(index)) is not None and earlier is not visitor:
            selector.unregister(earlier)
            earlier.close()
        present[index] = visitor
        log(f"worker {index} is there: {len(present)} of {group.size - 1}")


def _index(visitor: socket.socket) -> int | None:
    try:
        said = visitor.recv(_LONGEST_LINE).decode("ascii", "replace").strip()
    except BlockingIOError:
        raise
    except OSError:
        return None
    return int(said) if said.isdecimal() else None


def _missing(group: Group, present: dict[int, socket.socket]) -> str:
    names = [name for index, name in enumerate(group.workers, start=1) if index not in present]
    verb = "worker has" if len(names) == 1 else "workers have"
    return f"{len(names)} of {group.size - 1} {verb} not joined ({', '.join(names[:4])}{', ...' * (len(names) > 4)})"


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    try:
        door = open_door(port, backlog=256)
    except OSError as error:
        raise Failure(f"join: port {port} cannot be opened ({error.strerror})", EXIT_CONFIGURATION) from None
    with door:
        yield door


def _join(group: Group) -> None:
    """A worker's side; a leader that comes last is waited for."""
    deadline = time.monotonic() + group.join_seconds
    missing = wait_until(lambda: _attempt(group, deadline), group.join_seconds)
    if missing:
        raise Failure(f"join: {missing} within {group.join_seconds} s")
    log(f"the leader {group.leader} says that all {group.size} pods are there")


def _attempt(group: Group, deadline: float) -> str:
    """One visit to the leader: what went wrong, "" when all are there."""
    if unknown := unresolved(group.leader):
        return unknown
    try:
        with socket.create_connection((group.leader, group.join_port), timeout=5) as visit:
            visit.sendall(f"{group.index}\n".encode())
            log(f"waiting at the leader {group.leader} for the other workers")
            visit.settimeout(max(0.0, deadline - time.monotonic()) + _MARGIN_SECONDS)
            answer = visit.recv(len(GO))
    except TimeoutError:
        return f"the leader {group.leader} does not go on: another worker is missing, or it hangs"
    except OSError as error:
        return f"the leader {group.leader} does not answer on port {group.join_port} ({error.strerror})"
    return "" if answer == GO else f"the leader {group.leader} went away"
