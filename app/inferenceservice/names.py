"""Names of an InferenceService's children, and its limits."""

# A group's StatefulSet is <name>-<group>; its pods carry <set>-<hash> in a label of 63 characters at most.
DISTRIBUTED_NAME_LIMIT = 45
# <name>-leader-<hash>-<hash> of a Deployment's pods
NAME_LIMIT = 46
# the ModelCache <name>-model has a limit of 45 itself
SOURCE_NAME_LIMIT = 39


def deployment_name(service: str) -> str:
    return f"{service}-leader"


def cache_child_name(service: str) -> str:
    return f"{service}-model"
