"""The ssh keys of a service that mpirun starts: a Job that makes them once, with the right to create Secrets only.

No hook ever sees the Secret; that the Job is complete is all that is known of it. The Job stays as the record of that,
while its account and rights go as soon as it is done.
"""

from __future__ import annotations

import json

from kubernetes.client.models.v1_container import V1Container
from kubernetes.client.models.v1_empty_dir_volume_source import V1EmptyDirVolumeSource
from kubernetes.client.models.v1_env_var import V1EnvVar
from kubernetes.client.models.v1_job import V1Job
from kubernetes.client.models.v1_job_spec import V1JobSpec
from kubernetes.client.models.v1_object_meta import V1ObjectMeta
from kubernetes.client.models.v1_pod_spec import V1PodSpec
from kubernetes.client.models.v1_pod_template_spec import V1PodTemplateSpec
from kubernetes.client.models.v1_resource_requirements import V1ResourceRequirements
from kubernetes.client.models.v1_volume import V1Volume
from kubernetes.client.models.v1_volume_mount import V1VolumeMount

from app.api.schema import API_VERSION
from app.contracts import runtime
from app.inferenceservice.children.access import KEYS_RULES
from app.inferenceservice.facts import Facts
from app.inferenceservice.names import keys_name, keys_secret
from app.kube.access import build_access
from app.kube.manifest import Manifest, emit
from app.kube.names import MODEL_ANNOTATION, standard_labels
from app.kube.security import restricted_container, restricted_pod

TRIES = 4
COMPONENT = "ssh-keys"


def build_keys(facts: Facts) -> list[Manifest]:
    """The Job, and what it may do while it is not done. A Job cannot be changed: what exists is answered as applied."""
    if not facts.makes_ssh_keys:
        return []
    job = facts.observed.keys
    if job and job.complete:
        return [job.applied]
    return [*build_access(_metadata(facts), KEYS_RULES), job.applied if job else emit(build_job(facts))]


def build_job(facts: Facts) -> V1Job:
    return V1Job(
        api_version="batch/v1",
        kind="Job",
        metadata=_metadata(facts),
        spec=V1JobSpec(
            backoff_limit=TRIES - 1,
            template=V1PodTemplateSpec(metadata=V1ObjectMeta(labels=_labels(facts)), spec=_pod(facts)),
        ),
    )


def _pod(facts: Facts) -> V1PodSpec:
    return V1PodSpec(
        restart_policy="Never",
        service_account_name=keys_name(facts.identity.name),
        automount_service_account_token=True,
        enable_service_links=False,
        security_context=restricted_pod(has_volumes=False),
        containers=[_container(facts)],
        # Keys are in memory only, until they are in the Secret.
        volumes=[V1Volume(name="tmp", empty_dir=V1EmptyDirVolumeSource(medium="Memory", size_limit="1Mi"))],
    )


def _container(facts: Facts) -> V1Container:
    return V1Container(
        name=COMPONENT,
        # it has ssh-keygen, and the pods' nodes need it anyway
        image=facts.settings.worker_image,
        image_pull_policy=facts.settings.image_pull_policy,
        command=[runtime.MAKE_SSH_KEYS],
        env=[V1EnvVar(name=name, value=value) for name, value in _environment(facts).items()],
        resources=V1ResourceRequirements(requests={"cpu": "50m", "memory": "64Mi"}),
        termination_message_policy="FallbackToLogsOnError",
        security_context=restricted_container(),
        volume_mounts=[V1VolumeMount(name="tmp", mount_path="/tmp")],
    )


def _environment(facts: Facts) -> dict[str, str]:
    """The owner without blockOwnerDeletion, which would need rights on the service."""
    identity = facts.identity
    owner = {"apiVersion": API_VERSION, "kind": "InferenceService", "name": identity.name, "uid": identity.uid}
    return {
        runtime.SECRET_NAME: keys_secret(identity.name, facts.spec),
        runtime.SECRET_LABELS: json.dumps(_labels(facts), separators=(",", ":"), sort_keys=True),
        runtime.SECRET_OWNER: json.dumps(owner, separators=(",", ":"), sort_keys=True),
    }


def _labels(facts: Facts) -> dict[str, str]:
    """None by which the service's pods are found."""
    return standard_labels(COMPONENT, facts.identity.name, facts.spec.model.name)


def _metadata(facts: Facts) -> V1ObjectMeta:
    return V1ObjectMeta(
        name=keys_name(facts.identity.name),
        namespace=facts.identity.namespace,
        labels=_labels(facts),
        annotations={MODEL_ANNOTATION: facts.spec.model.name},
    )
