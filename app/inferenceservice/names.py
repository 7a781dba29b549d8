"""Names of an InferenceService's children."""

from app.api.v1alpha1.inferenceservice import InferenceServiceSpec
from app.kube.names import workload_name


def deployment_name(service: str) -> str:
    return workload_name(service)


def cache_child_name(service: str) -> str:
    return f"{service}-model"


def keys_name(service: str) -> str:
    """The Secret of a service's ssh keys, and all that makes it."""
    return f"{service}-ssh-keys"


def keys_secret(service: str, spec: InferenceServiceSpec) -> str:
    """The Secret that the pods of a group mount: the user's, or the one that is made."""
    return spec.distributed.mpi.ssh_key_secret or keys_name(service)
