"""The desired children: the PersistentVolumeClaim, and the Job that fills it.

The Job's container `downloader` is told everything by its environment. Names start with INFERENCE_, so that none means
anything to vLLM:

- INFERENCE_MODEL_NAME: spec.modelName
- INFERENCE_SOURCE_TYPE: huggingface, s3, gcs or http
- INFERENCE_SOURCE: that member of spec.source as compact JSON with sorted keys; Secrets are not named in it
- INFERENCE_DESTINATION: folder to fill, /cache/<status.path>
- INFERENCE_DOWNLOAD_POLICY: Always, IfNotPresent, or Never (verify only)
- HF_HOME: scratch space on the volume, for the root file system is read-only
- HF_TOKEN (huggingface), AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (s3), GOOGLE_APPLICATION_CREDENTIALS (gcs, a
  file): only when the source names a Secret
"""

from __future__ import annotations

from collections.abc import Mapping

from kubernetes.client.models.v1_capabilities import V1Capabilities
from kubernetes.client.models.v1_container import V1Container
from kubernetes.client.models.v1_empty_dir_volume_source import V1EmptyDirVolumeSource
from kubernetes.client.models.v1_env_var import V1EnvVar
from kubernetes.client.models.v1_job import V1Job
from kubernetes.client.models.v1_job_spec import V1JobSpec
from kubernetes.client.models.v1_object_meta import V1ObjectMeta
from kubernetes.client.models.v1_persistent_volume_claim import V1PersistentVolumeClaim
from kubernetes.client.models.v1_persistent_volume_claim_spec import V1PersistentVolumeClaimSpec
from kubernetes.client.models.v1_persistent_volume_claim_volume_source import V1PersistentVolumeClaimVolumeSource
from kubernetes.client.models.v1_pod_security_context import V1PodSecurityContext
from kubernetes.client.models.v1_pod_spec import V1PodSpec
from kubernetes.client.models.v1_pod_template_spec import V1PodTemplateSpec
from kubernetes.client.models.v1_resource_requirements import V1ResourceRequirements
from kubernetes.client.models.v1_seccomp_profile import V1SeccompProfile
from kubernetes.client.models.v1_security_context import V1SecurityContext
from kubernetes.client.models.v1_volume import V1Volume
from kubernetes.client.models.v1_volume_mount import V1VolumeMount
from kubernetes.client.models.v1_volume_resource_requirements import V1VolumeResourceRequirements

from app.kube.manifest import Manifest, emit, with_value
from app.kube.names import CACHE_LABEL, MODEL_ANNOTATION, label_value, standard_labels
from app.modelcache.credentials import credential_env, credential_mounts, credential_volumes
from app.modelcache.download import Download, source_json
from app.modelcache.facts import Facts
from app.modelcache.plan import JobStep, Plan
from app.settings import Settings

CACHE_MOUNT = "/cache"
USER = 1001

_STORAGE = ("spec", "resources", "requests", "storage")


def build_children(facts: Facts, plan: Plan, settings: Settings) -> list[Manifest]:
    """The whole desired state."""
    return [_claim(facts, plan), *_jobs(facts, plan, settings)]


def _claim(facts: Facts, plan: Plan) -> Manifest:
    """Immutable but for its size: what exists is answered as applied, and only grows."""
    if facts.claim:
        return with_value(facts.claim.applied, _STORAGE, plan.size)
    return emit(build_claim(facts, plan))


def _jobs(facts: Facts, plan: Plan, settings: Settings) -> list[Manifest]:
    if plan.step is JobStep.KEEP and facts.job:
        return [facts.job.applied]
    return [emit(build_job(facts, settings))] if plan.step is JobStep.CREATE else []


def build_claim(facts: Facts, plan: Plan) -> V1PersistentVolumeClaim:
    return V1PersistentVolumeClaim(
        api_version="v1",
        kind="PersistentVolumeClaim",
        metadata=_metadata(facts.claim_name, "model-cache", facts),
        spec=V1PersistentVolumeClaimSpec(
            access_modes=[facts.spec.access_mode.value],
            volume_mode="Filesystem",
            storage_class_name=plan.storage_class or None,
            resources=V1VolumeResourceRequirements(requests={"storage": plan.size}),
        ),
    )


def build_job(facts: Facts, settings: Settings) -> V1Job:
    return V1Job(
        api_version="batch/v1",
        kind="Job",
        metadata=_metadata(facts.download.job_name, "model-downloader", facts),
        spec=V1JobSpec(
            backoff_limit=3,
            template=V1PodTemplateSpec(
                metadata=V1ObjectMeta(labels=_labels("model-downloader", facts)),
                spec=_build_pod(facts, settings),
            ),
        ),
    )


def _build_pod(facts: Facts, settings: Settings) -> V1PodSpec:
    return V1PodSpec(
        restart_policy="Never",
        automount_service_account_token=False,
        enable_service_links=False,
        security_context=V1PodSecurityContext(
            run_as_non_root=True,
            run_as_user=USER,
            run_as_group=USER,
            fs_group=USER,
            # A large cache on a network volume would otherwise be walked file by file at each start.
            fs_group_change_policy="OnRootMismatch",
            seccomp_profile=V1SeccompProfile(type="RuntimeDefault"),
        ),
        containers=[_build_container(facts.download, settings)],
        volumes=[
            V1Volume(
                name="cache",
                persistent_volume_claim=V1PersistentVolumeClaimVolumeSource(claim_name=facts.claim_name),
            ),
            V1Volume(name="tmp", empty_dir=V1EmptyDirVolumeSource(size_limit="1Gi")),
            *credential_volumes(facts.download.source),
        ],
    )


def _build_container(download: Download, settings: Settings) -> V1Container:
    return V1Container(
        name="downloader",
        image=settings.downloader_image,
        image_pull_policy=settings.image_pull_policy,
        command=["download"],
        env=[*_plain_env(download), *credential_env(download.source)],
        resources=V1ResourceRequirements(requests={"cpu": "500m", "memory": "1Gi"}),
        # The last lines of the log become the reason that people see when there is no better one.
        termination_message_policy="FallbackToLogsOnError",
        security_context=V1SecurityContext(
            allow_privilege_escalation=False,
            read_only_root_filesystem=True,
            capabilities=V1Capabilities(drop=["ALL"]),
        ),
        volume_mounts=[
            V1VolumeMount(name="cache", mount_path=CACHE_MOUNT),
            V1VolumeMount(name="tmp", mount_path="/tmp"),
            *credential_mounts(download.source),
        ],
    )


def _plain_env(download: Download) -> list[V1EnvVar]:
    values = {
        "INFERENCE_MODEL_NAME": download.model,
        "INFERENCE_SOURCE_TYPE": download.type.value,
        "INFERENCE_SOURCE": source_json(download.source),
        "INFERENCE_DESTINATION": f"{CACHE_MOUNT}/{download.path}",
        "INFERENCE_DOWNLOAD_POLICY": download.policy.value,
        "HF_HOME": f"{CACHE_MOUNT}/.tmp",
    }
    return [V1EnvVar(name=name, value=_literal(value)) for name, value in values.items()]


def _literal(text: str) -> str:
    """Text that the kubelet leaves alone: it expands $(NAME), so a URL could otherwise read the token."""
    return text.replace("$", "$$")


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
