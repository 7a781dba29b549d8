"""The desired children: the claims, the Jobs that fill them, and what these Jobs may do in the cluster."""

from __future__ import annotations

from app.kube.manifest import Manifest
from app.modelcache.children.access import build_access
from app.modelcache.children.claims import build_claims
from app.modelcache.children.jobs import build_jobs
from app.modelcache.facts import Facts
from app.modelcache.plan import Plan
from app.settings import Settings


def build_children(facts: Facts, plan: Plan, settings: Settings) -> list[Manifest]:
    """The whole desired state."""
    pairs = zip(facts.copies, plan.steps, strict=True)
    jobs = [job for copy, step in pairs for job in build_jobs(facts, copy, step, settings)]
    return [*build_claims(facts, plan), *build_access(facts, plan), *jobs]
