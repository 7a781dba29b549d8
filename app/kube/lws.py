"""LeaderWorkerSet (leaderworkerset.x-k8s.io/v1) as typed models; the kubernetes library has none.

Every field that LWS's webhook or CRD would default is required here: Metacontroller would otherwise see a difference
right after creating the object. Source: LWS v0.10 api/leaderworkerset/v1.
"""

from __future__ import annotations

from typing import Literal

from kubernetes.client.models.v1_object_meta import V1ObjectMeta
from kubernetes.client.models.v1_pod_template_spec import V1PodTemplateSpec
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class LWSModel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, serialize_by_alias=True)


class RollingUpdateConfiguration(LWSModel):
    partition: int = 0
    max_unavailable: int = 1
    max_surge: int = 0
    """No spare GPUs are assumed: a group goes before its successor comes."""


class RolloutStrategy(LWSModel):
    type: Literal["RollingUpdate"] = "RollingUpdate"
    rolling_update_configuration: RollingUpdateConfiguration = RollingUpdateConfiguration()


class NetworkConfig(LWSModel):
    subdomain_policy: Literal["Shared", "UniquePerReplica"] = "UniquePerReplica"
    """One headless Service for each group, so that the traffic Service may have the LeaderWorkerSet's name."""


class LeaderWorkerTemplate(LWSModel):
    leader_template: V1PodTemplateSpec
    worker_template: V1PodTemplateSpec
    size: int
    restart_policy: Literal["RecreateGroupAfterStart", "RecreateGroupOnPodRestart", "None"] = "RecreateGroupAfterStart"
    """A group lives and dies together, but is not restarted while its images are still being pulled."""


class LeaderWorkerSetSpec(LWSModel):
    replicas: int | None = None
    leader_worker_template: LeaderWorkerTemplate
    rollout_strategy: RolloutStrategy = RolloutStrategy()
    startup_policy: Literal["LeaderCreated", "LeaderReady"] = "LeaderCreated"
    network_config: NetworkConfig = NetworkConfig()


class LeaderWorkerSet(LWSModel):
    api_version: Literal["leaderworkerset.x-k8s.io/v1"] = "leaderworkerset.x-k8s.io/v1"
    kind: Literal["LeaderWorkerSet"] = "LeaderWorkerSet"
    metadata: V1ObjectMeta
    spec: LeaderWorkerSetSpec
