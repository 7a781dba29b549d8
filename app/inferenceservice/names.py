"""Names of an InferenceService's children, and its limits."""

from app.inferenceservice.spec import InferenceServiceSpec
from app.kube.names import workload_name

# A group's StatefulSet is <name>-<group>; its pods carry <set>-<hash> in a label of 63 characters at most.
DISTRIBUTED_NAME_LIMIT = 45
# <name>-leader-<hash>-<hash> of a Deployment's pods
NAME_LIMIT = 46
# the ModelCache <name>-model has a limit of 45 itself
SOURCE_NAME_LIMIT = 39


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
