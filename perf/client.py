"""One streamed request, and when its parts arrived."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2

Event = dict[str, Any]


@dataclass(frozen=True)
class Load:
    """What every request asks for."""

    model: str
    chat: bool = False
    input_words: int = 64
    max_tokens: int = 64
    timeout: float = 120.0
    """Seconds without a byte."""


@dataclass(frozen=True)
class Sample:
    """One request. Seconds are counted from the beginning of its scenario."""

    begun: float
    first: float | None
    """When the first token came."""
    ended: float
    tokens: int
    error: str = ""

    @property
    def latency(self) -> float:
        return self.ended - self.begun

    @property
    def first_token(self) -> float | None:
        """Seconds to the first token."""
        return None if self.first is None else self.first - self.begun

    @property
    def token_gap(self) -> float | None:
        """Mean seconds between tokens after the first."""
        return None if self.first is None or self.tokens < 2 else (self.ended - self.first) / (self.tokens - 1)


async def find_model(http: httpx2.AsyncClient) -> str:
    """The first model that the endpoint serves."""
    answer = await http.get("/v1/models")
    answer.raise_for_status()
    return str(answer.json()["data"][0]["id"])


async def ask(http: httpx2.AsyncClient, load: Load, number: int, origin: float) -> Sample:
    """Send request `number`; what goes wrong is told in the sample."""
    begun, first, tokens, counted = time.monotonic(), None, 0, None
    path = "/v1/chat/completions" if load.chat else "/v1/completions"
    error = ""
    try:
        async with http.stream("POST", path, json=build_body(load, number), timeout=load.timeout) as answer:
            if answer.status_code != 200:
                await answer.aread()
                error = f"status {answer.status_code}: {answer.text[:200]}"
            async for event in _events(answer):
                counted = (event.get("usage") or {}).get("completion_tokens", counted)
                if event.get("error"):
                    error = str(event["error"])[:200]
                if _has_text(event):
                    first = first or time.monotonic()
                    tokens += 1
    except (httpx2.HTTPError, ValueError) as failure:
        error = f"{type(failure).__name__}: {failure}"
    ended = time.monotonic()
    if not error and first is None:
        error = "no token came"
    return Sample(begun - origin, None if first is None else first - origin, ended - origin, counted or tokens, error)


def build_body(load: Load, number: int) -> dict[str, object]:
    """The request's number comes first, so that no request finds another one's prompt in the prefix cache."""
    text = " ".join([f"Request {number}:", *("word" for _ in range(load.input_words))])
    prompt: dict[str, object] = {"messages": [{"role": "user", "content": text}]} if load.chat else {"prompt": text}
    return {
        "model": load.model,
        **prompt,
        "max_tokens": load.max_tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def _events(answer: httpx2.Response) -> AsyncIterator[Event]:
    if answer.is_closed:
        return
    async for line in answer.aiter_lines():
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            return
        if line.startswith("data:"):
            yield json.loads(data)
    raise ValueError("the stream ended without [DONE]")


def _has_text(event: Event) -> bool:
    choices = event.get("choices")
    if not isinstance(choices, list) or not choices:
        return False
    choice = choices[0]
    return bool(choice.get("text") or (choice.get("delta") or {}).get("content"))
