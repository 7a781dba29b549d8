"""Results as a picture: latencies as curves, throughput over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from perf.statistics import Result

FORMATS = (".png", ".svg", ".pdf")


def write_plot(path: Path, results: Sequence[Result]) -> None:
    """Left: what share of requests was answered, and had its first token, within so long. Right: requests a second."""
    import matplotlib  # heavy: only who plots pays for it

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    for index, result in enumerate(results):
        colour, good = f"C{index}", [sample for sample in result.samples if not sample.error]
        answered, begun = sorted(it.latency for it in good), sorted(it.first_token or 0.0 for it in good)
        shares = [100 * (rank + 1) / len(good) for rank in range(len(good))]
        left.step(answered, shares, where="post", color=colour, label=result.scenario.name)
        left.step(begun, shares, where="post", color=colour, linestyle=":")
        seconds = range(int(result.seconds) + 1)
        rates = [sum(second <= it.ended < second + 1 for it in good) for second in seconds]
        right.step(list(seconds), rates, where="post", color=colour, label=result.scenario.name)
    left.set(title="Latency (dotted: first token)", xlabel="seconds", ylabel="percent of requests", ylim=(0, 101))
    right.set(title="Throughput", xlabel="seconds", ylabel="requests per second")
    left.set_xlim(left=0)
    right.set_ylim(bottom=0)
    left.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(path)
    pyplot.close(figure)
