"""The story, in its order."""

from __future__ import annotations

from tools.sandbox.story import groups, single
from tools.sandbox.story.story import Step

STEPS: tuple[Step, ...] = (
    single.download,
    single.basic,
    single.allocation,
    single.endpoint,
    single.load,
    single.remove_basic,
    groups.distribute,
    groups.kill,
    groups.roll_out,
    groups.scale,
    groups.remove_groups,
    groups.launch_by_mpi,
    groups.remove_all,
)
