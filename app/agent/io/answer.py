"""Reads what an exporter answers. It comes from a pod, so everything is bounded while it arrives: nothing is held but
the samples of the pods that are asked for, one of each set of labels.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable

import httpx2

from app.agent.snapshot import Pod

ASK_SECONDS = 5.0
"""For the whole answer."""
MOST_READ = 16 << 20
"""64 partitions with some hundred series each come to 8 MiB; they have some thousand sets of labels."""
MOST_LINES = 100_000
MOST_KEPT = 2 << 20
"""Bytes that are held, and parsed."""
MOST_SAMPLES = 10_000
"""Sets of labels that are held: a parsed one takes about a kilobyte, whatever its length."""
MOST_LINE = 8 << 10
"""The parser's time grows with the square of a line."""


class AnswerError(ValueError):
    """No exporter answers so."""


def open_session() -> httpx2.AsyncClient:
    """A session without proxies, which asks nobody else than it was told to."""
    return httpx2.AsyncClient(timeout=ASK_SECONDS, trust_env=False, follow_redirects=False)


async def read_samples(session: httpx2.AsyncClient, url: httpx2.URL, pods: Iterable[Pod]) -> str:
    """The lines about the pods, each ended. Raises AnswerError when the answer is past a bound, TimeoutError when it
    is not whole in time."""
    samples = Samples(pods)
    # A compressed answer says nothing of its length, so none is asked for, and none is taken.
    headers = {"Accept-Encoding": "identity"}
    async with asyncio.timeout(ASK_SECONDS), session.stream("GET", url, headers=headers) as response:
        session.cookies.clear()
        if response.status_code != 200:
            raise AnswerError(f"it answers {response.status_code}")
        if (encoding := response.headers.get("Content-Encoding", "identity")) != "identity":
            raise AnswerError(f"its answer is encoded as {encoding[:32]}")
        async for chunk in response.aiter_raw():
            samples.feed(chunk)
    return samples.finish()


class Samples:
    """The lines that are kept of an answer, chunk by chunk."""

    def __init__(self, pods: Iterable[Pod]) -> None:
        names = sorted({re.escape(pod.name) for pod in pods})
        self._wanted = re.compile(f'pod="(?:{"|".join(names)})"'.encode())
        self._kept: dict[bytes, bytes] = {}
        self._rest = b""
        self._read = self._lines = self._bytes = 0

    def feed(self, chunk: bytes) -> None:
        self._read += len(chunk)
        self._lines += chunk.count(b"\n")
        if self._read > MOST_READ:
            raise AnswerError(f"its answer is longer than {MOST_READ >> 20} MiB")
        if self._lines > MOST_LINES:
            raise AnswerError(f"its answer has more than {MOST_LINES} lines")
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._keep(line)
        _check_length(self._rest)

    def finish(self) -> str:
        self._keep(self._rest)
        return "".join(f"{line.decode()}\n" for line in self._kept.values())

    def _keep(self, line: bytes) -> None:
        """One line of each set of labels: every metric of a GPU names its pod alike."""
        _check_length(line)
        if line.startswith(b"#") or not self._wanted.search(line):
            return
        labels = line.partition(b"{")[2].rpartition(b"}")[0]
        if labels in self._kept:
            return
        self._bytes += len(line)
        if self._bytes > MOST_KEPT:
            raise AnswerError(f"its samples of these pods are longer than {MOST_KEPT >> 20} MiB")
        if len(self._kept) == MOST_SAMPLES:
            raise AnswerError(f"its samples of these pods have more than {MOST_SAMPLES} sets of labels")
        self._kept[labels] = line


def _check_length(line: bytes) -> None:
    if len(line) > MOST_LINE:
        raise AnswerError(f"a line of its answer is longer than {MOST_LINE >> 10} KiB")
