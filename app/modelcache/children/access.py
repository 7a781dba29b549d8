"""What a cache's downloads may do in the cluster: look at their own Jobs and report on them."""

from __future__ import annotations

from collections.abc import Iterable

from kubernetes.client.models.v1_object_meta import V1ObjectMeta
from kubernetes.client.models.v1_policy_rule import V1PolicyRule

from app.kube.access import build_account, build_grant
from app.kube.manifest import Manifest, own_metadata
from app.metacontroller.keep import Rebuild
from app.metacontroller.protocol import SyncRequest
from app.modelcache.children.metadata import DOWNLOADER, build_metadata
from app.modelcache.facts import Facts
from app.modelcache.names import access_name
from app.modelcache.observe import Copy, find_jobs
from app.modelcache.plan import JobStep, Plan


def build_access(facts: Facts, plan: Plan) -> list[Manifest]:
    """The downloader's account, which people annotate for their cloud and which therefore stays; and, only while there
    are Jobs under way, the right to read and annotate them."""
    if not facts.copies:
        return []
    metadata = build_metadata(access_name(facts.cache), DOWNLOADER, facts)
    return [build_account(metadata), *_grant(facts, plan, metadata)]


def job_rule(names: Iterable[str]) -> V1PolicyRule:
    return V1PolicyRule(api_groups=["batch"], resources=["jobs"], resource_names=sorted(names), verbs=["get", "patch"])


def rebuild_grants(request: SyncRequest) -> Rebuild:
    """Builds the account, and the rights of Jobs that are under way, without the spec; others are left out."""
    at_work = [name for name, job in find_jobs(request).items() if not job.is_over]

    def rebuild(child: Manifest) -> Manifest | None:
        metadata = V1ObjectMeta(**own_metadata(child))
        if metadata.name != access_name(request.parent.name):
            return None
        grant = build_grant(metadata, [job_rule(at_work)]) if at_work else []
        return next((it for it in (build_account(metadata), *grant) if it["kind"] == child["kind"]), None)

    return rebuild


def _grant(facts: Facts, plan: Plan, metadata: V1ObjectMeta) -> list[Manifest]:
    pairs = zip(facts.copies, plan.steps, strict=True)
    at_work = [copy.job_name for copy, step in pairs if step is JobStep.CREATE or _is_at_work(copy, step)]
    if not at_work:
        return []
    return build_grant(metadata, [job_rule(at_work)])


def _is_at_work(copy: Copy, step: JobStep) -> bool:
    return step is JobStep.KEEP and copy.job is not None and not copy.job.is_over
