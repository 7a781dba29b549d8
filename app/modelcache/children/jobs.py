"""The Jobs that fill the claims."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from kubernetes.client.models.v1_empty_dir_volume_source import V1EmptyDirVolumeSource
from kubernetes.client.models.v1_host_path_volume_source import V1HostPathVolumeSource
from kubernetes.client.models.v1_job import V1Job
from kubernetes.client.models.v1_job_spec import V1JobSpec
from kubernetes.client.models.v1_object_meta import V1ObjectMeta
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

from app.api.v1alpha1.modelcache import AccessMode
from app.api.v1alpha1.source import DownloadPolicy
from app.contracts import download as contract
from app.kube.manifest import Manifest, emit
from app.kube.security import restricted_pod
from app.modelcache.children.metadata import DOWNLOADER, build_labels, build_metadata
from app.modelcache.facts import Facts
from app.modelcache.names import access_name
from app.modelcache.observe import FILLED, Copy
from app.modelcache.plan import JobStep
from app.settings import Settings
from app.source.container import COPY_MOUNT, MOUNT, build_container
from app.source.credentials import credential_volumes
from app.source.folders import Folder, find_folder

TRIES = 7


def build_jobs(facts: Facts, copy: Copy, step: JobStep, settings: Settings) -> list[Manifest]:
    if step is JobStep.KEEP and copy.job:
        return [copy.job.applied]
    return [emit(build_job(facts, copy, settings))] if step is JobStep.CREATE else []


def build_job(facts: Facts, copy: Copy, settings: Settings) -> V1Job:
    """A Job that ends with the code for what no further try would change fails at once; a pod that a drained node or a
    preemption ended is no failed try."""
    final = V1PodFailurePolicyOnExitCodesRequirement(operator="In", values=[contract.EXIT_FINAL])
    disrupted = V1PodFailurePolicyOnPodConditionsPattern(type="DisruptionTarget", status="True")
    return V1Job(
        api_version="batch/v1",
        kind="Job",
        metadata=build_metadata(copy.job_name, DOWNLOADER, facts),
        spec=V1JobSpec(
            backoff_limit=TRIES - 1,
            pod_failure_policy=V1PodFailurePolicy(
                rules=[
                    V1PodFailurePolicyRule(action="Ignore", on_pod_conditions=[disrupted]),
                    V1PodFailurePolicyRule(action="FailJob", on_exit_codes=final),
                ]
            ),
            template=V1PodTemplateSpec(
                metadata=V1ObjectMeta(labels=build_labels(DOWNLOADER, facts)),
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
