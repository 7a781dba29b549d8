"""GPUAllocations tell which devices kubelet gave to the pods, where the exporter of the node tells it."""

from __future__ import annotations

import asyncio
import gzip
import logging
import resource
import time
from collections.abc import Callable, Sequence

import pytest

from app.agent.devices import find_unknown, parse_samples, plan_devices
from app.agent.io import answer as bounds
from app.agent.io.answer import AnswerError, Samples, open_session
from app.agent.io.exporters import MOST_PER_NODE, Exporters
from app.agent.io.resources import find_exporters
from app.agent.io.session import decide
from app.agent.patch import Target
from app.agent.snapshot import Device, Pod, Snapshot, parse_exporter
from app.settings import Settings
from tests.agent.build import Json, allocation, exporter, grouped, request, running, single, snapshot
from tests.agent.exposition import exposition, sample
from tests.downloader.server import Answer as Response
from tests.downloader.server import Asked, Server

PLACES = {(0, 0): "n1", (0, 1): "n2"}
LEADER, WORKER = ("team", "llama-0"), ("team", "llama-0-1")


def group(*, started: bool = True, status: Json | None = None, **more: object) -> Snapshot:
    """A group of two pods with two GPUs each."""
    pods = [grouped(0, 0, node="n1"), grouped(0, 1, node="n2")]
    return snapshot(
        pods=[running(it) for it in pods] if started else pods,
        requests=[request()],
        allocations=[allocation(PLACES, status=status)],
        **more,  # type: ignore[arg-type]
    )


def written(seen: Snapshot) -> list[Json]:
    """The devices that are written; [] when nothing is."""
    patches = plan_devices(seen)
    return patches[0].body["status"]["devices"] if patches else []


def entry(pod: str, worker: int, node: str, device: str) -> Json:
    about = {"pod": pod, "podUid": f"uid-{pod}", "group": 0, "worker": worker, "node": node}
    return about | {"device": device, "serialNumber": f"PCB{int(device):04}"}


TOLD = {
    "devices": [
        entry("llama-0", 0, "n1", "2"),
        entry("llama-0", 0, "n1", "10"),
        entry("llama-0-1", 1, "n2", "0"),
        entry("llama-0-1", 1, "n2", "1"),
    ]
}
DEVICES = {
    "uid-llama-0": (Device("2", "PCB0002"), Device("10", "PCB0010")),
    "uid-llama-0-1": (Device("0", "PCB0000"), Device("1", "PCB0001")),
}


def test_one_entry_a_device_by_group_and_worker() -> None:
    patches = plan_devices(group(devices=DEVICES))
    assert [(it.target, it.key) for it in patches] == [(Target.GPU_ALLOCATION, ("team", "llama"))]
    assert patches[0].body["status"] == TOLD
    assert patches[0] in decide(group(devices=DEVICES))


def test_what_is_told_already_is_neither_asked_for_nor_written_again() -> None:
    assert find_unknown(group(status=TOLD)) == {}
    assert plan_devices(group(status=TOLD)) == []


def test_pods_that_started_are_asked_for_once() -> None:
    assert {node: [pod.name for pod in pods] for node, pods in find_unknown(group()).items()} == {
        "n1": ["llama-0"],
        "n2": ["llama-0-1"],
    }
    assert find_unknown(group(started=False)) == {}
    assert find_unknown(group(devices=DEVICES)) == {}


def test_services_without_an_allocation_and_pods_without_gpus_are_not_asked_for() -> None:
    pods = [running(grouped(0, 0, node="n1"))]
    assert find_unknown(snapshot(pods=pods, requests=[request()])) == {}
    without = [running(grouped(0, 0, node="n1", gpus=0))]
    assert find_unknown(snapshot(pods=without, requests=[request()], allocations=[allocation(PLACES)])) == {}


def test_a_pod_made_anew_under_its_name_is_asked_for_again() -> None:
    anew = running(grouped(0, 0, node="n1"))
    anew["metadata"]["uid"] = "another"
    seen = snapshot(pods=[anew], requests=[request()], allocations=[allocation(PLACES, status=TOLD)])
    assert [pod.uid for pod in find_unknown(seen)["n1"]] == ["another"]
    assert plan_devices(seen)[0].body["status"] == {"devices": []}


def test_a_container_that_crashes_keeps_its_devices() -> None:
    assert plan_devices(group(started=False, status=TOLD)) == []


def test_devices_go_when_their_pods_are_gone_or_have_ended() -> None:
    gone = snapshot(requests=[request()], allocations=[allocation(PLACES, status=TOLD)])
    assert plan_devices(gone)[0].body["status"] == {"devices": []}
    failed = [grouped(0, 0, node="n1", phase="Failed"), running(grouped(0, 1, node="n2"))]
    seen = snapshot(pods=failed, requests=[request()], allocations=[allocation(PLACES, status=TOLD)])
    assert written(seen) == TOLD["devices"][2:]


def test_pods_of_a_deployment_are_told_by_the_group_they_were_given() -> None:
    pods = [
        running(single("b", node="n1", created="2026-01-01T00:00:02Z")),
        running(single("a", node="n2", created="2026-01-01T00:00:01Z")),
    ]
    devices = {"uid-a": [Device("0", ""), Device("1", "")], "uid-b": [Device("4", ""), Device("5", "")]}
    seen = snapshot(pods=pods, requests=[request()], allocations=[allocation({(0, 0): "n1"})], devices=devices)
    assert [(it["pod"], it["group"], it["device"]) for it in written(seen)] == [
        ("a", 0, "0"),
        ("a", 0, "1"),
        ("b", 1, "4"),
        ("b", 1, "5"),
    ]


def waiting(node: str = "n1") -> list[Pod]:
    return find_unknown(group())[node]


def told(text: str, pods: Sequence[Pod], chunk: int = 1000) -> dict[str, list[Device]]:
    """What an answer says that arrives in pieces."""
    samples, body = Samples(pods), text.encode()
    for at in range(0, len(body), chunk):
        samples.feed(body[at : at + chunk])
    return parse_samples(samples.finish(), pods)


def test_samples_name_the_devices_in_the_order_of_their_numbers() -> None:
    text = exposition({10: LEADER, 2: LEADER, 3: ("other", "llama-0"), 4: ("team", "llama-0-1")}, gpus=12)
    assert told(text, waiting()) == {"uid-llama-0": list(DEVICES["uid-llama-0"])}


def test_fewer_or_more_devices_than_a_pod_holds_are_not_believed() -> None:
    assert told(exposition({2: LEADER}), waiting()) == {}
    assert told(exposition({2: LEADER, 3: LEADER, 4: LEADER}), waiting()) == {}


def test_an_earlier_pod_of_the_same_name_is_told_apart_by_its_uid() -> None:
    old = "\n".join(sample("gpu_health", gpu, LEADER, pod_uuid="uid-earlier") for gpu in (0, 1))
    new = "\n".join(sample("gpu_health", gpu, LEADER, pod_uuid="uid-llama-0") for gpu in (2, 3))
    found = told(f"{old}\n{new}\n", waiting())
    assert [device.id for device in found["uid-llama-0"]] == ["2", "3"]


def test_metrics_may_have_a_prefix_and_other_names() -> None:
    lines = [sample("amd_gpu_something", gpu, LEADER) for gpu in (0, 1)]
    assert [device.id for device in told("\n".join(lines), waiting())["uid-llama-0"]] == ["0", "1"]


def test_lines_of_others_are_not_even_read() -> None:
    text = exposition({0: LEADER, 1: LEADER}) + 'broken{pod="stranger"'
    assert list(told(text, waiting())) == ["uid-llama-0"]


@pytest.mark.parametrize("line", ['gpu_health{pod="llama-0"', 'gpu_health{pod="llama-0",gpu_id="0"} many'])
def test_what_cannot_be_read_is_a_value_error(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        told(line, waiting())


class Served:
    """An exporter on loopback: answers as `answer` says, and counts."""

    def __init__(self, answer: Callable[[], Answer]) -> None:
        self.asked = 0
        self.answer = answer

    def __call__(self, _: Asked) -> Response:
        self.asked += 1
        answer = self.answer()
        if isinstance(answer, Response):
            return answer
        return Response(answer) if isinstance(answer, int) else Response(200, answer.encode())


Answer = str | int | Response


def rounds(
    answer: Callable[[], Answer], worlds: Sequence[Snapshot], step: float = 0, pods: Sequence[Json] | None = None
) -> tuple[Served, Exporters]:
    """The agent asks once for each snapshot, `step` seconds apart; the server is on loopback."""
    served = Served(answer)
    now = [0.0]
    found: list[Exporters] = []

    async def work() -> None:
        with Server(served).running() as server:
            asking = Exporters(int(server.url.rpartition(":")[2]), lambda: None, lambda: now[0])
            found.append(asking)
            async with open_session() as session:
                for seen in worlds:
                    await asking.ask(session, seen, map(parse_exporter, pods or [exporter("n1")]))
                    now[0] += step

    asyncio.run(asyncio.wait_for(work(), 10))
    return served, found[0]


def test_an_exporter_is_asked_for_the_pods_of_its_node() -> None:
    served, asking = rounds(lambda: exposition({2: LEADER, 10: LEADER}, gpus=12), [group()])
    assert served.asked == 1
    assert dict(asking.devices) == {"uid-llama-0": list(DEVICES["uid-llama-0"])}
    assert "n2" not in asking.devices, "no exporter runs there"


def test_pods_that_are_gone_are_forgotten() -> None:
    answer = exposition({2: LEADER, 3: LEADER})
    _, asking = rounds(lambda: answer, [group(), snapshot()])
    assert dict(asking.devices) == {}


@pytest.mark.parametrize("answer", [500, 404, "", 'gpu_health{pod="llama-0"', exposition({2: LEADER})])
def test_an_exporter_that_does_not_tell_is_asked_less_and_less(
    caplog: pytest.LogCaptureFixture, answer: str | int
) -> None:
    caplog.set_level(logging.INFO, logger="app")
    served, asking = rounds(lambda: answer, [group()] * 60, step=10.0)
    assert dict(asking.devices) == {}
    assert served.asked == 6, "after 0, 10, 30, 70, 150 and 310 seconds; the seventh would be after 610"
    assert [(it.message, it.fields["node"]) for it in caplog.records] == [("devices are not told", "n1")]  # type: ignore[attr-defined]


def test_a_silent_exporter_is_asked_for_ever_without_harm() -> None:
    served, _ = rounds(lambda: 503, [group()] * 1200, step=301.0)
    assert served.asked == 1200


def test_another_pod_with_the_same_label_does_not_keep_the_exporter_from_being_asked() -> None:
    answers = iter(["not one metric", exposition({2: LEADER, 10: LEADER}, gpus=12)])
    other = exporter("n1") | {"metadata": exporter("n1")["metadata"] | {"name": "a-first-one"}}
    served, asking = rounds(lambda: next(answers), [group()], pods=[exporter("n1"), other])
    assert served.asked == 2
    assert list(asking.devices) == ["uid-llama-0"]


def test_another_pod_on_the_node_is_asked_for_at_once() -> None:
    second = running(grouped(1, 0, node="n1"))
    pods = [running(grouped(0, 0, node="n1")), second]
    more = snapshot(pods=pods, requests=[request()], allocations=[allocation(PLACES)])
    served, asking = rounds(
        lambda: exposition({0: ("team", "llama-1"), 1: ("team", "llama-1")}), [group(), group(), more]
    )
    assert served.asked == 2
    assert list(asking.devices) == ["uid-llama-1"], "what is told of one pod does not wait for the other"


def test_an_exporter_that_does_not_run_has_no_address() -> None:
    assert parse_exporter(exporter("n1", phase="Pending")).address == ""
    assert parse_exporter(exporter("n1")).address == "127.0.0.1"


QUADRATIC = 'x{pod="llama-0",a="' + '\\"' * (1 << 20) + '"} 1\n'
HOLDERS = {2: LEADER, 10: LEADER}


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param("\n" * (16 << 20), id="newlines"),
        pytest.param(QUADRATIC, id="a line whose labels take the parser a square of its length"),
        pytest.param(QUADRATIC.rstrip(), id="the same line without its end"),
        pytest.param("x" * (17 << 20), id="one endless line"),
        pytest.param(f"{'x' * 1000}\n" * (17 << 10), id="lines of nothing"),
        pytest.param(
            "".join(f'x{{pod="llama-0",n="{n}",a="{"y" * 4000}"}} 1\n' for n in range(4000)), id="samples without end"
        ),
        pytest.param("".join(f'x{{pod="llama-0",n="{n}"}} 1\n' for n in range(200_000)), id="small samples"),
    ],
)
def test_an_answer_without_bounds_costs_little_and_is_refused(attack: str) -> None:
    waits, before = waiting(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.thread_time()
    with pytest.raises(AnswerError):
        told(attack, waits, 64 << 10)
    assert time.thread_time() - begun < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10, "in KiB; the attack itself is made"


ESCAPES = '\\"' * (bounds.MOST_LINE // 2 - 40)


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(
            [f'x{{pod="llama-0",n="{n}",a="{ESCAPES}"}} 1' for n in range(bounds.MOST_KEPT // bounds.MOST_LINE)],
            id="long lines",
        ),
        pytest.param([f'x{{pod="llama-0",n="{n}"}} 1' for n in range(bounds.MOST_SAMPLES)], id="many samples"),
        pytest.param([f'x{n}{{pod="llama-0",n="{n}"}} 1' for n in range(bounds.MOST_SAMPLES)], id="many metrics"),
        pytest.param(
            [
                f'x{{pod="llama-0",n="{n}",{",".join(f"a{it}=" + chr(34) * 2 for it in range(1000))}}} 1'
                for n in range(250)
            ],
            id="many labels",
        ),
        pytest.param([f'x{{pod="llama-0",gpu_id="{"9" * 8000}{n}"}} 1' for n in range(200)], id="long numbers"),
    ],
)
def test_the_worst_answer_within_the_bounds_is_parsed_soon(lines: list[str]) -> None:
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.thread_time()
    assert told("\n".join(lines), waiting(), 64 << 10) == {}
    assert time.thread_time() - begun < 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10, "in KiB; four are parsed at once"


def test_one_line_of_each_set_of_labels_is_enough() -> None:
    lines = [sample(f"gpu_metric_{number}", gpu, LEADER) for number in range(4000) for gpu in (2, 10)]
    assert sum(map(len, lines)) > bounds.MOST_KEPT, "as a node of 64 partitions answers"
    assert [device.id for device in told("\n".join(lines), waiting(), 4096)["uid-llama-0"]] == ["2", "10"]


@pytest.mark.parametrize("label", ["gpu_id", "serial_number"])
def test_what_goes_into_a_status_is_short(label: str) -> None:
    text = "\n".join(sample("gpu_health", gpu, LEADER, **{label: f"{gpu}" * 65}) for gpu in (1, 2))
    with pytest.raises(ValueError, match="64 characters"):
        told(text, waiting())


@pytest.mark.parametrize(
    "answer",
    [
        lambda: Response(200, gzip.compress(exposition(HOLDERS).encode()), {"Content-Encoding": "gzip"}),
        lambda: Response(302, headers={"Location": "/other"}),
        lambda: Response(204),
        lambda: Response(200, b"\xff\xfe" + exposition(HOLDERS).encode().replace(b"spx", b"\xff")),
    ],
    ids=["packed", "redirected", "without content", "not text"],
)
def test_other_answers_are_not_taken(answer: Callable[[], Response]) -> None:
    served, asking = rounds(answer, [group()])
    assert (served.asked, dict(asking.devices)) == (1, {})


def test_few_exporters_of_a_node_are_asked() -> None:
    many = [exporter("n1") | {"metadata": exporter("n1")["metadata"] | {"name": f"e{number}"}} for number in range(50)]
    served, _ = rounds(lambda: "not one metric", [group()], pods=many)
    assert served.asked == MOST_PER_NODE


@pytest.mark.parametrize("address", ["169.254.169.254", "0.0.0.0", "224.0.0.1", "fe80::1", "metadata.internal", "::"])
def test_what_no_pod_has_as_address_is_not_asked(address: str) -> None:
    assert parse_exporter(exporter("n1", address=address)).address == ""


@pytest.mark.parametrize(
    ("namespace", "selector", "asked"),
    [("kube-amd-gpu", "app=exporter", True), ("", "app=exporter", False), ("kube-amd-gpu", "", False)],
)
def test_exporters_are_asked_in_a_named_namespace_alone(namespace: str, selector: str, asked: bool) -> None:
    settings = Settings(exporter_namespace=namespace, exporter_selector=selector)
    found = find_exporters(settings)
    assert (found is not None) == asked
    if found:
        assert found.path == "/api/v1/namespaces/kube-amd-gpu/pods"
        assert found.selectors == {"labelSelector": "app=exporter"}


@pytest.mark.parametrize("namespace", ["../secrets", "a/b", "A", "a b", "a?b"])
def test_a_namespace_is_a_name(namespace: str) -> None:
    with pytest.raises(ValueError, match="exporter_namespace"):
        Settings(exporter_namespace=namespace)
