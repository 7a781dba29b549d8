"""Asking a served model, as any client of OpenAI's API does."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import httpx2

from tools.sandbox.story.watch import StepFailedError

PROMPT = "The quick brown fox"
TOKENS = 24
TIMEOUT = 120.0


def complete(url: str, model: str, prompt: str = PROMPT, tokens: int = TOKENS) -> str:
    """The text of a completion at temperature 0."""
    body = {"model": model, "prompt": prompt, "max_tokens": tokens, "temperature": 0}
    answer = httpx2.post(f"{url}/v1/completions", json=body, timeout=TIMEOUT, trust_env=False)
    if answer.status_code != 200:
        raise StepFailedError(f"POST {url}/v1/completions answered {answer.status_code}: {answer.text[:500]}")
    return str(answer.json()["choices"][0]["text"])


def stream_chat(url: str, model: str, prompt: str = PROMPT, tokens: int = TOKENS) -> list[tuple[float, str]]:
    """The parts of a streamed chat answer, each with the second it came."""
    messages = [{"role": "user", "content": prompt}]
    body = {"model": model, "messages": messages, "max_tokens": tokens, "temperature": 0, "stream": True}
    begun, parts = time.monotonic(), []
    with httpx2.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=TIMEOUT, trust_env=False) as answer:
        if answer.status_code != 200:
            raise StepFailedError(f"POST {url}/v1/chat/completions answered {answer.status_code}")
        for event in _events(answer.iter_lines()):
            choices = event["choices"]
            if choices and (text := choices[0]["delta"].get("content")):
                parts.append((time.monotonic() - begun, str(text)))
    return parts


def _events(lines: Iterator[str]) -> Iterator[dict[str, list[dict[str, dict[str, str]]]]]:
    """Server-sent events; the stream must end with its own mark."""
    for line in lines:
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            return
        if line.startswith("data:"):
            yield json.loads(data)
    raise StepFailedError("the stream ended without [DONE]")
