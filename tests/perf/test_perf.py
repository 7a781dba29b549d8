"""The load generator against an endpoint whose delays are known."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest

from perf.__main__ import main
from perf.client import Load, Sample, ask
from perf.expectations import check
from perf.load import run_scenario
from perf.scenarios import DEFAULTS, FIGURES, PROFILES, Bound, Scenario, find_profile, parse_profile, parse_scenario
from perf.statistics import Result, percentile, spread, summarise
from tests.perf.conftest import Endpoint


def measure(endpoint: Endpoint, load: Load, concurrency: int = 4, seconds: float = 0.5) -> Result:
    scenario = Scenario("test", concurrency, seconds)
    return asyncio.run(run_scenario(endpoint.url, load, scenario, [f"{endpoint.url}/metrics"]))


def test_the_default_scenarios_are_those_of_the_specification() -> None:
    table = [(it.concurrency, it.seconds, [(bound.figure, bound.limit) for bound in it.bounds]) for it in DEFAULTS]
    assert table == [
        (4, 120, [("requests_per_second", 50.0)]),
        (16, 120, [("requests_per_second", 80.0)]),
        (8, 300, [("requests_per_second", 20.0)]),
    ]
    assert {name: len(scenarios) for name, scenarios in PROFILES.items()} == {"7b": 2, "70b": 1}


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

    class Stream(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            nonlocal now
            for seconds in (0.2, 0.05, 0.05, 0.05):
                now += seconds
                yield b'data: {"choices": [{"text": "x"}]}\n\n'
            yield b"data: [DONE]\n\n"

    async def asked() -> Sample:
        transport = httpx2.MockTransport(lambda _: httpx2.Response(200, stream=Stream()))
        async with httpx2.AsyncClient(transport=transport, base_url="http://endpoint") as http:
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
    assert [[it["met"] for it in result["checks"]] for result in results] == [[False], [False], [False]]
    assert main([*arguments, "--check"]) == 1
    assert "3 of 3 expectations were missed." in capsys.readouterr().err


def test_a_profile_runs_its_scenarios_alone(endpoint: Endpoint, capsys: pytest.CaptureFixture[str]) -> None:
    endpoint.first_token = 0.0
    assert main([endpoint.url, "--scale=0.001", "--max-tokens=1", "-o", "json", "--check", "70b"]) in (0, 1)
    names = [result["scenario"]["name"] for result in json.loads(capsys.readouterr().out)["results"]]
    assert names == ["70B model distributed"]


def expectations(path: Path, **expect: float) -> str:
    path.write_text(json.dumps({"scenarios": [{"concurrency": 2, "seconds": 0.2, "expect": expect}]}))
    return str(path)


def test_a_file_of_expectations_that_are_met_is_status_0_and_a_table(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = expectations(tmp_path / "site.json", requests_per_second=0.001, latency_p95=3600, failed=0)
    assert main([endpoint.url, "--max-tokens=2", "--check", file]) == 0
    out = capsys.readouterr().out
    assert "All 3 expectations were met." in out
    assert "at least 0.001" in out
    assert "at most 3600" in out


def test_one_expectation_that_is_missed_is_status_1_and_is_named(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = expectations(tmp_path / "site.json", requests_per_second=0.001, latency_p95=0)
    assert main([endpoint.url, "--max-tokens=2", "--check", file]) == 1
    out = capsys.readouterr().out
    assert "1 of 2 expectations were missed." in out
    [missed] = [line for line in out.splitlines() if "missed" in line and "│" in line]
    assert "latency_p95" in missed


def result(*samples: Sample, bounds: tuple[Bound, ...]) -> Result:
    return summarise(Scenario("test", 1, 10, bounds), samples, {})


GOOD = (Sample(0, 0.5, 2.0, 4), Sample(0, 1.0, 10.0, 16))


@pytest.mark.parametrize(
    ("figure", "measured"),
    [
        ("requests_per_second", 0.2),
        ("tokens_per_second", 2.0),
        ("latency_p95", 10.0),
        ("first_token_p95", 1.0),
        ("token_gap_p95", 0.6),
        ("failed", 1.0),
    ],
)
def test_figures_are_held_to_their_bounds(figure: str, measured: float) -> None:
    """At the bound is met; a hair beyond it is missed, on the side that matters."""
    beyond = measured + (1e-9 if figure.endswith("_per_second") else -1e-9)
    bounds = tuple(Bound(figure, limit) for limit in (measured, beyond))
    done = check([result(*GOOD, Sample(0, None, 1.0, 0, "refused"), bounds=bounds)])
    assert [it.measured for it in done] == pytest.approx([measured, measured])
    assert [it.met for it in done] == [True, False]


def test_what_was_not_measured_is_missed() -> None:
    bounds = tuple(Bound(figure, 0 if figure.endswith("_per_second") else 9e9) for figure in FIGURES)
    done = check([result(Sample(0, None, 1.0, 0, "refused"), bounds=bounds)])
    assert {it.figure for it in done if it.measured is None} == {"latency_p95", "first_token_p95", "token_gap_p95"}
    assert {it.figure for it in done if not it.met} == {"latency_p95", "first_token_p95", "token_gap_p95"}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([], 'a list "scenarios"'),
        ({"scenarios": []}, 'a list "scenarios"'),
        ({"scenarios": [7]}, "7 is not a scenario"),
        ({"scenarios": [{"concurrency": 0}]}, "concurrency is 0"),
        ({"scenarios": [{"concurrency": True}]}, "concurrency is True"),
        ({"scenarios": [{"concurrency": 1, "seconds": "60"}]}, "seconds is '60'"),
        ({"scenarios": [{"concurrency": 1, "seconds": 60}]}, "at least one of requests_per_second"),
        ({"scenarios": [{"concurrency": 1, "seconds": 60, "expect": {"speed": 1}}]}, "nothing measures 'speed'"),
        ({"scenarios": [{"concurrency": 1, "seconds": 60, "expect": {"failed": -1}}]}, "failed is -1"),
    ],
)
def test_a_file_of_expectations_that_makes_no_sense_says_what_to_write(content: object, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        parse_profile(content)


def test_a_profile_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neither a profile \\(7b, 70b\\) nor a readable file"):
        find_profile("13b")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        find_profile(str(tmp_path / "broken.json"))


@pytest.mark.parametrize("arguments", [["--check", "13b"], ["--run=1x1", "--check"], ["--run=1x1", "--check", "7b"]])
def test_a_check_of_nothing_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["http://127.0.0.1:1", *arguments])
    assert stopped.value.code == 2
    assert "--check" in capsys.readouterr().err


def test_an_endpoint_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["http://127.0.0.1:1", "--run=1x0.1"]) == 1
    assert "does not say which models" in capsys.readouterr().err
