"""The desired children: the claims, the Jobs that fill them, and what these Jobs may do in the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from kubernetes.client.models.v1_empty_dir_volume_source import V1EmptyDirVolumeSource
from kubernetes.client.models.v1_host_path_volume_source import V1HostPathVolumeSource
from kubernetes.client.models.v1_job import V1Job
from kubernetes.client.models.v1_job_spec import V1JobSpec
from kubernetes.client.models.v1_object_meta import V1ObjectMeta
from kubernetes.client.models.v1_persistent_volume_claim import V1PersistentVolumeClaim
from kubernetes.client.models.v1_persistent_volume_claim_spec import V1PersistentVolumeClaimSpec
from kubernetes.client.models.v1_persistent_volume_claim_volume_source import V1PersistentVolumeClaimVolumeSource
from kubernetes.client.models.v1_pod_failure_policy import V1PodFailurePolicy
from kubernetes.client.models.v1_pod_failure_policy_on_exit_codes_requirement import (
    V1PodFailurePolicyOnExitCodesRequirement,
)
from kubernetes.client.models.v1_pod_failure_policy_on_pod_conditions_pattern import (
    V1PodFailurePolicyOnPodConditionsPattern,
)
from kubernetes.client.models.v1_pod_failure_policy_rule import V1PodFailurePolicyRule
from kubernetes.client.models.v1_pod_spec import V1PodSpec
from kubernetes.client.models.v1_pod_template_spec import V1PodTemplateSpec
from kubernetes.client.models.v1_toleration import V1Toleration
from kubernetes.client.models.v1_volume import V1Volume
from kubernetes.client.models.v1_volume_mount import V1VolumeMount
from kubernetes.client.models.v1_volume_resource_requirements import V1VolumeResourceRequirements

from app.api.v1alpha1.modelcache import AccessMode
from app.api.v1alpha1.source import DownloadPolicy
from app.contracts import download as contract
from app.kube.access import build_account, build_grant
from app.kube.manifest import Manifest, emit, with_value
from app.kube.names import CACHE_LABEL, MODEL_ANNOTATION, label_value, standard_labels
from app.kube.security import restricted_pod
from app.modelcache.facts import Copy, Facts
from app.modelcache.grants import job_rule
from app.modelcache.names import access_name
from app.modelcache.observe import FILLED
from app.modelcache.plan import JobStep, Plan
from app.modelcache.volume import VolumeKind
from app.settings import Settings
from app.source.container import COPY_MOUNT, MOUNT, build_container
from app.source.credentials import credential_volumes
from app.source.folders import Folder, find_folder

TRIES = 7
_COMPONENT = "model-downloader"
_STORAGE = ("spec", "resources", "requests", "storage")


def build_children(facts: Facts, plan: Plan, settings: Settings) -> list[Manifest]:
    """The whole desired state."""
    jobs = [
        job for copy, step in zip(facts.copies, plan.steps, strict=True) for job in _jobs(facts, copy, step, settings)
    ]
    return [*_claims(facts, plan), *_access(facts, plan), *jobs]


def _claims(facts: Facts, plan: Plan) -> list[Manifest]:
    """Immutable but for their size: what exists is answered as applied, and only grows."""
    if facts.own_claims:
        return [claim.applied for claim in facts.own_claims]
    if facts.volume.kind is not VolumeKind.CLAIMS:
        return []
    return [
        with_value(copy.claim.applied, _STORAGE, plan.size) if copy.claim else emit(build_claim(facts, copy, plan))
        for copy in facts.copies
    ]


def _access(facts: Facts, plan: Plan) -> list[Manifest]:
    """The downloader's account, which people annotate for their cloud and which therefore stays; and, only while there
    are Jobs under way, the right to read and annotate them."""
    if not facts.copies:
        return []
    metadata = _metadata(access_name(facts.cache), _COMPONENT, facts)
    return [build_account(metadata), *_grant(facts, plan, metadata)]


def _grant(facts: Facts, plan: Plan, metadata: V1ObjectMeta) -> list[Manifest]:
    pairs = zip(facts.copies, plan.steps, strict=True)
    at_work = [copy.job_name for copy, step in pairs if step is JobStep.CREATE or _is_at_work(copy, step)]
    if not at_work:
        return []
    return build_grant(metadata, [job_rule(at_work)])


def _is_at_work(copy: Copy, step: JobStep) -> bool:
    return step is JobStep.KEEP and copy.job is not None and not copy.job.is_over


def _jobs(facts: Facts, copy: Copy, step: JobStep, settings: Settings) -> list[Manifest]:
    if step is JobStep.KEEP and copy.job:
        return [copy.job.applied]
    return [emit(build_job(facts, copy, settings))] if step is JobStep.CREATE else []


def build_claim(facts: Facts, copy: Copy, plan: Plan) -> V1PersistentVolumeClaim:
    return V1PersistentVolumeClaim(
        api_version="v1",
        kind="PersistentVolumeClaim",
        metadata=_metadata(copy.claim_name, "model-cache", facts),
        spec=V1PersistentVolumeClaimSpec(
            access_modes=[facts.spec.access_mode.value],
            volume_mode="Filesystem",
            storage_class_name=plan.storage_class or None,
            resources=V1VolumeResourceRequirements(requests={"storage": plan.size}),
        ),
    )


def build_job(facts: Facts, copy: Copy, settings: Settings) -> V1Job:
    """A Job that ends with the code for what no further try would change fails at once; a pod that a drained node or a
    preemption ended is no failed try."""
    final = V1PodFailurePolicyOnExitCodesRequirement(operator="In", values=[contract.EXIT_FINAL])
    disrupted = V1PodFailurePolicyOnPodConditionsPattern(type="DisruptionTarget", status="True")
    return V1Job(
        api_version="batch/v1",
        kind="Job",
        metadata=_metadata(copy.job_name, _COMPONENT, facts),
        spec=V1JobSpec(
            backoff_limit=TRIES - 1,
            pod_failure_policy=V1PodFailurePolicy(
                rules=[
                    V1PodFailurePolicyRule(action="Ignore", on_pod_conditions=[disrupted]),
                    V1PodFailurePolicyRule(action="FailJob", on_exit_codes=final),
                ]
            ),
            template=V1PodTemplateSpec(
                metadata=V1ObjectMeta(labels=_labels(_COMPONENT, facts)),
                spec=_build_pod(facts, copy, settings),
            ),
        ),
    )


def _build_pod(facts: Facts, copy: Copy, settings: Settings) -> V1PodSpec:
    source = [_claim_volume("from", facts.copies[0].claim_name)] if copy.index else []
    extra = {
        contract.JOB: f"{facts.namespace}/{copy.job_name}",
        contract.CACHE: f"{facts.namespace}/{facts.cache}",
    }
    copying = {contract.COPY_FROM: COPY_MOUNT} if copy.index else {}
    only_reads = _only_reads(facts, copy)
    mounts = [
        V1VolumeMount(
            name=FILLED, mount_path=MOUNT, sub_path=_folder(facts).below or None, read_only=True if only_reads else None
        ),
        V1VolumeMount(name="tmp", mount_path="/tmp"),
        *(V1VolumeMount(name="from", mount_path=COPY_MOUNT, read_only=True) for _ in source),
    ]
    return V1PodSpec(
        restart_policy="Never",
        **_place(facts, copy, settings),
        service_account_name=access_name(facts.cache),
        automount_service_account_token=True,
        enable_service_links=False,
        security_context=restricted_pod(),
        containers=[build_container(facts.download.task, settings, extra | copying, mounts)],
        volumes=[
            _volume(facts, copy),
            V1Volume(name="tmp", empty_dir=V1EmptyDirVolumeSource(size_limit="1Gi")),
            *source,
            *credential_volumes(facts.download.task.type, facts.download.task.source),
        ],
    )


def _volume(facts: Facts, copy: Copy) -> V1Volume:
    if copy.claim_name:
        return _claim_volume(FILLED, copy.claim_name, read_only=copy.is_read_only)
    return V1Volume(name=FILLED, host_path=V1HostPathVolumeSource(path=_folder(facts).root, type="Directory"))


def _folder(facts: Facts) -> Folder:
    """No Job is built for a folder that is not allowed."""
    path, prefixes = facts.volume.host_path, facts.settings.host_path_prefixes
    return find_folder(path, prefixes, facts.namespace) or Folder(str(PurePosixPath(path)) if path else "", "")


def _only_reads(facts: Facts, copy: Copy) -> bool:
    """Never verifies the first copy where it is, and others are filled from it."""
    return facts.spec.download_policy is DownloadPolicy.NEVER and not copy.index


def _place(facts: Facts, copy: Copy, settings: Settings) -> dict[str, Any]:
    """A volume that one node at a time can mount is often made where its first pod lands, and a folder is there only
    where it was made: both must be where the services' pods will run. All other volumes are reached from anywhere."""
    asked = copy.claim is None and facts.spec.access_mode is AccessMode.READ_WRITE_ONCE
    if copy.claim_name and not copy.is_of_one_node and not asked:
        return {}
    return {
        "node_selector": dict(sorted(settings.node_selector.items())) or None,
        "tolerations": [V1Toleration(**it.model_dump()) for it in settings.tolerations] or None,
    }


def _claim_volume(name: str, claim: str, *, read_only: bool = False) -> V1Volume:
    source = V1PersistentVolumeClaimVolumeSource(claim_name=claim, read_only=True if read_only else None)
    return V1Volume(name=name, persistent_volume_claim=source)


def _metadata(name: str, component: str, facts: Facts) -> V1ObjectMeta:
    return V1ObjectMeta(
        name=name,
        namespace=facts.namespace,
        labels=_labels(component, facts),
        annotations={MODEL_ANNOTATION: facts.spec.model_name},
    )


def _labels(component: str, facts: Facts) -> dict[str, str]:
    own: Mapping[str, str] = {CACHE_LABEL: label_value(facts.cache)}
    return {**standard_labels(component, facts.cache, facts.spec.model_name), **own}
