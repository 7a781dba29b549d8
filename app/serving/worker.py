"""The process in which pools are decided: `python -m app.serving.worker`, started by app.serving.workers.

It imports everything once and then forks a child for each call. The child computes and ends, so whatever it took goes
back to the system, and the next call finds a process as good as new. A child has a deadline that the kernel keeps, and
a bound on its memory; this process itself computes nothing. Standard input is the socket to the service: when that
closes, because the service ends or is killed, this process and all its children end.
"""

from __future__ import annotations

import gc
import os
import pickle
import resource
import signal
import socket
from importlib import import_module
from typing import NoReturn

from app.log import set_up
from app.serving import messages
from app.serving.messages import Handler, Job, Start
from app.settings import Settings


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the children
    service = socket.socket(fileno=os.dup(0))
    try:
        start: Start = pickle.loads(messages.receive(service))
        set_up(start.settings.log_level, start.settings.log_format)
        handler = _find(start.handler)
        gc.collect()
        gc.freeze()  # children share these pages as long as nobody writes to them
        while (connection := _next(service)) is not None:
            if os.fork() == 0:
                service.close()
                _compute(connection, handler, start.settings)
            connection.close()
    except (EOFError, OSError):
        pass  # the service is gone
    os.killpg(0, signal.SIGKILL)


def _find(name: str) -> Handler:
    module, _, attribute = name.partition(":")
    found: Handler = getattr(import_module(module), attribute)
    return found


def _next(service: socket.socket) -> socket.socket | None:
    """The connection of the next call; None when the service is gone."""
    message, descriptors, _, _ = socket.recv_fds(service, 1, 1)
    return socket.socket(fileno=descriptors[0]) if message and descriptors else None


def _compute(connection: socket.socket, handler: Handler, settings: Settings) -> NoReturn:
    """One call in a child of its own. Without an answer the service sees the connection's end."""
    code = 1
    gc.disable()  # the process ends before garbage matters
    try:
        job: Job = pickle.loads(messages.receive(connection))
        signal.setitimer(signal.ITIMER_REAL, job.seconds)  # SIGALRM, which ends the process
        resource.setrlimit(resource.RLIMIT_DATA, (job.memory, job.memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        found = handler(job.call, messages.receive(connection), settings)
        messages.send(connection, pickle.dumps((found.code, found.phase, found.stray)))
        messages.send(connection, found.body)
        code = 0
    except (MemoryError, EOFError, OSError):
        pass
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
