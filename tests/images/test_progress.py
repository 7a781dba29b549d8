"""What /metrics says of engines that step, rest, sleep or hang. The texts are of a group of two pods with vLLM 0.32, on
CPUs, before and after its worker was stopped; buckets and comments are left out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from inference_runtime import progress
from inference_runtime.progress import Limits, Look, advance, find_stall, parse_engines, parse_limits, wants_trial
from inference_runtime.trial import parse_clients

METRICS = Path(__file__).with_name("metrics")
CLIENT = frozenset({"0100004D0A:C350"})
NOBODY: frozenset[str] = frozenset()
ALARM = 150
PERIOD = 10


def captured(name: str) -> str:
    return (METRICS / f"{name}.txt").read_text()


RESTING, RUNNING, ABORTED, HUNG = map(captured, ("resting", "running", "aborted", "hung"))


def changed(text: str, series: str, value: str) -> str:
    found, count = re.subn(rf"^(vllm:{series}\{{.*\}}) \S+$", rf"\1 {value}", text, flags=re.M)
    assert count
    return found


def looked(texts: Iterable[str], clients: frozenset[str] = NOBODY, trial: str = "", before: Look | None = None) -> Look:
    """The last look of one at each text, 10 s apart."""
    for text in texts:
        now = before.at + PERIOD if before else 1000.0
        before = advance(before, parse_engines(text), clients, trial, now)
    assert before
    return before


def stall(*texts: str, clients: frozenset[str] = NOBODY) -> str:
    return find_stall(looked(texts, clients), ALARM)


def two(first: str, second: str) -> str:
    """Two engines' series."""
    return first + second.replace('engine="0"', 'engine="1"')


def test_requests_run_and_nothing_moves() -> None:
    assert stall(*[HUNG] * 15) == ""
    assert stall(*[HUNG] * 16) == "1 request runs, and no step has ended for 150 s"


def test_the_words_stay_the_same_while_it_lasts() -> None:
    assert stall(*[HUNG] * 16) == stall(*[HUNG] * 60)


def test_each_step_begins_a_new_count() -> None:
    assert stall(*[HUNG] * 15, captured("continued"), *[HUNG] * 15) == ""


def test_a_long_prompt_moves_only_the_share_of_the_cache() -> None:
    assert stall(*(changed(RUNNING, "kv_cache_usage_perc", f"0.{step:03}") for step in range(1, 99))) == ""


@pytest.mark.parametrize("text", [RESTING, ABORTED], ids=["rests", "its request was aborted"])
def test_an_engine_that_runs_nothing(text: str) -> None:
    assert stall(*[text] * 99) == ""


def test_requests_that_only_wait_may_wait_for_another_pod() -> None:
    assert stall(*[changed(RESTING, "num_requests_waiting", "3.0")] * 99) == ""


def test_waiting_requests_while_others_make_tokens() -> None:
    full = changed(RUNNING, "num_requests_waiting", "40.0")
    assert stall(*(changed(full, "generation_tokens_total", f"{count}.0") for count in range(99))) == ""


def test_an_engine_that_sleeps_holds_its_requests() -> None:
    asleep = re.sub(r'(sleep_state="awake"\}) 1.0', r"\1 0.0", HUNG)
    assert asleep != HUNG
    assert stall(*[asleep] * 99, clients=CLIENT) == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# HELP http_requests_total\nhttp_requests_total 3.0\n",
        HUNG.replace("vllm:", "other:"),
        re.sub(r'engine="0",', "", HUNG),
    ],
    ids=["empty", "no statistics", "renamed", "no engines' label"],
)
def test_metrics_that_say_nothing_of_engines(text: str) -> None:
    assert parse_engines(text) == {}


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf"])
def test_numbers_that_are_none(value: str) -> None:
    assert stall(*[changed(HUNG, "num_requests_running", value)] * 99) == ""


def test_one_of_two_engines_hangs() -> None:
    steps = [two(changed(RUNNING, "generation_tokens_total", f"{count}.0"), HUNG) for count in range(16)]
    assert stall(*steps) == "engine 1: 1 request runs, and no step has ended for 150 s"


def test_time_in_which_nobody_looked_does_not_count() -> None:
    """A pod that was frozen for an hour."""
    before = looked([HUNG] * 2)
    after = advance(before, parse_engines(HUNG), NOBODY, "", before.at + 3600)
    assert after.engines["0"].still == PERIOD + progress.LONGEST_GAP_SECONDS


def test_a_node_that_has_started_again_since() -> None:
    before = looked([HUNG] * 99)
    assert find_stall(advance(before, parse_engines(HUNG), NOBODY, "", 5.0), ALARM) == ""


def test_an_engine_that_rests_is_asked_only_while_a_client_waits() -> None:
    assert not wants_trial(looked([RESTING] * 99), ALARM)
    assert not wants_trial(looked([RESTING] * 8, CLIENT), ALARM)
    assert wants_trial(looked([RESTING] * 9, CLIENT), ALARM)


def test_an_engine_that_says_that_requests_run_is_not_asked() -> None:
    assert not wants_trial(looked([HUNG] * 99, CLIENT), ALARM)


def test_clients_that_come_and_go_do_not_wait() -> None:
    look = None
    for number in range(99):
        look = looked([RESTING], frozenset({str(number)}), before=look)
    assert look
    assert not wants_trial(look, ALARM)


def test_a_trial_without_an_answer_is_told_whether_or_not_the_client_still_waits() -> None:
    waits = looked([RESTING] * 9, CLIENT)
    asked = looked([RESTING] * 6, NOBODY, "7@1", waits)
    assert find_stall(asked, ALARM) == ""
    asked = looked([RESTING] * 2, NOBODY, "7@1", asked)
    assert find_stall(asked, ALARM) == "requests are not answered, and no step has ended for 150 s"
    assert not wants_trial(asked, ALARM)


def test_a_trial_that_is_answered_ends_the_suspicion() -> None:
    asked = looked([RESTING] * 9, CLIENT, "7@1", looked([RESTING] * 9, CLIENT))
    assert find_stall(asked, ALARM)
    assert looked([RUNNING], CLIENT, "", asked).unanswered == 0
    assert looked([RESTING], CLIENT, "", asked).unanswered == 0, "refused, say: nothing is known"


def test_the_limits_follow_vllms_own() -> None:
    assert parse_limits({}) == Limits(150, 600)
    assert parse_limits({"VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": "1200"}) == Limits(600, 2400)
    assert parse_limits({"VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": "soon"}) == Limits(150, 600)


def test_a_look_is_kept_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "STATE", tmp_path / "look")
    assert progress.load() is None
    look = looked([RESTING] * 3, CLIENT, "7@1")
    progress.save(look)
    assert progress.load() == look
    for other in (
        "",
        "[]",
        '{"engines": 3}',
        '{"engines": {}, "clients": [], "at": 1}',
        '{"engines": {"0": {"x": 1}}}',
    ):
        (tmp_path / "look").write_text(other)
        assert progress.load() is None


def test_clients_are_open_connections_to_the_apis_port() -> None:
    table = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 00000000:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1001        0 1 1\n"
        "   1: 02004D0A:1F40 01004D0A:C350 01 00000000:00000000 00:00000000 00000000  1001        0 2 1\n"
        "   2: 02004D0A:1F40 01004D0A:C351 06 00000000:00000000 00:00000000 00000000  1001        0 3 1\n"
        "   3: 02004D0A:D431 03004D0A:1F40 01 00000000:00000000 00:00000000 00000000  1001        0 4 1\n"
    )
    assert list(parse_clients(table, 8000)) == ["01004D0A:C350"]
