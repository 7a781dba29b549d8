"""The load generator against an endpoint whose delays are known."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from perf.__main__ import main
from perf.client import Load, Sample, ask
from perf.load import run_scenario
from perf.scenarios import DEFAULTS, Scenario, parse_scenario
from perf.statistics import Result, percentile, spread
from tests.perf.conftest import Endpoint


def measure(endpoint: Endpoint, load: Load, concurrency: int = 4, seconds: float = 0.5) -> Result:
    scenario = Scenario("test", concurrency, seconds)
    return asyncio.run(run_scenario(endpoint.url, load, scenario, [f"{endpoint.url}/metrics"]))


def test_the_default_scenarios_are_those_of_the_specification() -> None:
    table = [(it.concurrency, it.seconds, it.expected) for it in DEFAULTS]
    assert table == [(4, 120, 50.0), (16, 120, 80.0), (8, 300, 20.0)]


def test_latencies_are_those_of_the_endpoint(endpoint: Endpoint) -> None:
    endpoint.first_token, endpoint.token_gap = 0.2, 0.05
    result = measure(endpoint, Load("standin", max_tokens=5), concurrency=1)
    assert result.first_token
    assert result.token_gap
    assert result.latency
    assert result.first_token.mean >= 0.2
    assert result.latency.mean >= 0.4
    assert result.latency.mean == pytest.approx(result.first_token.mean + 4 * result.token_gap.mean)
    assert result.latency.mean * result.requests <= result.seconds


def test_latencies_are_counted_from_the_request_to_what_came(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that goes on only while the endpoint thinks."""
    now = 100.0

    class Stream(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            nonlocal now
            for seconds in (0.2, 0.05, 0.05, 0.05):
                now += seconds
                yield b'data: {"choices": [{"text": "x"}]}\n\n'
            yield b"data: [DONE]\n\n"

    async def asked() -> Sample:
        transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Stream()))
        async with httpx.AsyncClient(transport=transport, base_url="http://endpoint") as http:
            return await ask(http, Load("standin"), 1, origin=90.0)

    monkeypatch.setattr("perf.client.time", SimpleNamespace(monotonic=lambda: now))
    sample = asyncio.run(asked())
    assert (sample.begun, sample.tokens, sample.error) == (10.0, 4, "")
    assert sample.first_token == pytest.approx(0.2)
    assert sample.token_gap == pytest.approx(0.05)
    assert sample.latency == pytest.approx(0.35)


def test_rates_are_what_was_answered_over_the_time_it_took(endpoint: Endpoint) -> None:
    result = measure(endpoint, Load("standin", max_tokens=5))
    assert result.requests == len(endpoint.bodies) == len(result.samples)
    assert result.requests_per_second == pytest.approx(result.requests / result.seconds)
    assert result.tokens_per_second == pytest.approx(5 * result.requests_per_second)
    assert not result.errors


def test_as_many_requests_as_asked_for_are_under_way_and_never_more(endpoint: Endpoint) -> None:
    endpoint.gather = 3
    measure(endpoint, Load("standin", max_tokens=5), concurrency=3)
    assert endpoint.most_at_once == 3


def test_no_two_requests_begin_alike(endpoint: Endpoint) -> None:
    """The prefix cache would otherwise answer instead of the model."""
    measure(endpoint, Load("standin", max_tokens=2))
    prompts = [body["prompt"] for body in endpoint.bodies]
    assert len({prompt.partition(":")[0] for prompt in prompts}) == len(prompts)


def test_chat_is_measured_alike(endpoint: Endpoint) -> None:
    result = measure(endpoint, Load("standin", chat=True, max_tokens=3))
    assert result.requests > 0
    assert result.first_token
    assert all("messages" in body for body in endpoint.bodies)


def test_refused_requests_are_counted_apart_and_by_reason(endpoint: Endpoint) -> None:
    endpoint.fail_every = 3
    result = measure(endpoint, Load("standin", max_tokens=2))
    (reason,) = result.errors
    assert reason.startswith("status 503")
    assert result.errors[reason] == len(endpoint.bodies) // 3
    assert result.requests == len(endpoint.bodies) - result.errors[reason]


def test_an_answer_that_breaks_off_is_no_answer(endpoint: Endpoint) -> None:
    endpoint.break_off = True
    result = measure(endpoint, Load("standin", max_tokens=4), concurrency=1)
    assert result.requests == 0
    assert result.latency is None
    assert sum(result.errors.values()) == len(endpoint.bodies)


def test_the_shortest_scenario_has_an_answer_of_each_client_and_a_reading(endpoint: Endpoint) -> None:
    result = measure(endpoint, Load("standin", max_tokens=2), concurrency=3, seconds=0.0)
    assert result.requests == 3
    assert "requests running" in result.usage


def test_resources_are_read_from_the_metrics(endpoint: Endpoint) -> None:
    usage = measure(endpoint, Load("standin", max_tokens=2)).usage
    assert usage["requests running"].mean == 3
    assert usage["KV cache in use (share)"].largest == 0.25


def test_metrics_that_are_not_there_are_no_error(endpoint: Endpoint) -> None:
    scenario = Scenario("test", 1, 0.1)
    result = asyncio.run(run_scenario(endpoint.url, Load("standin", max_tokens=2), scenario, ["http://127.0.0.1:1/"]))
    assert result.requests > 0
    assert result.usage == {}


@pytest.mark.parametrize(("percent", "value"), [(50, 5.0), (90, 9.0), (99, 10.0), (1, 1.0), (100, 10.0)])
def test_percentiles_are_values_that_were_measured(percent: float, value: float) -> None:
    assert percentile([float(number) for number in range(1, 11)], percent) == value


def test_nothing_measured_has_no_spread() -> None:
    assert spread([]) is None


@pytest.mark.parametrize("text", ["8", "8x", "x60", "0x60", "8x0", "8x-1", "axb"])
def test_a_scenario_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_scenario(text)


def test_json_and_plot_from_the_command_line(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "load.svg"
    runs = ["--run=2x0.3", "--run=1x0.2", "--max-tokens=3"]
    assert main([endpoint.url, *runs, "-o", "json", "--samples", f"--plot={picture}"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["load"]["model"] == "standin"
    assert [result["scenario"]["concurrency"] for result in told["results"]] == [2, 1]
    assert all(len(result["samples"]) == result["requests"] for result in told["results"])
    assert set(told["results"][0]["latency"]["percentiles"]) == {"50", "90", "95", "99"}
    assert "</svg>" in picture.read_text()


def test_tables_from_the_command_line(endpoint: Endpoint, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([endpoint.url, "--run=1x0.2", "--max-tokens=3"]) == 0
    out = capsys.readouterr().out
    assert "Throughput" in out
    assert "Latency in milliseconds" in out
    assert "requests running: mean 3.00" in out


def test_scale_shortens_the_specifications_scenarios_and_check_holds_them_to_their_expectations(
    endpoint: Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint.first_token = 0.5
    arguments = [endpoint.url, "--scale=0.002", "--max-tokens=1", "-o", "json"]
    assert main(arguments) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert [result["scenario"]["seconds"] for result in results] == pytest.approx([0.24, 0.24, 0.6])
    assert [result["meets_expectation"] for result in results] == [False, False, False]
    assert main([*arguments, "--check"]) == 1


def test_an_endpoint_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["http://127.0.0.1:1", "--run=1x0.1"]) == 1
    assert "does not say which models" in capsys.readouterr().err
