"""What a cache's downloads may do in the cluster: look at their own Jobs and report on them."""

from __future__ import annotations

from collections.abc import Iterable

from kubernetes.client.models.v1_object_meta import V1ObjectMeta
from kubernetes.client.models.v1_policy_rule import V1PolicyRule

from app.kube.access import build_account, build_grant
from app.kube.manifest import Manifest, own_metadata
from app.metacontroller.keep import Rebuild
from app.metacontroller.protocol import SyncRequest
from app.modelcache.names import access_name
from app.modelcache.observe import find_jobs


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
