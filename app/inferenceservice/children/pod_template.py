"""Pod templates of leaders and workers.

A template holds constants of the decision only: any byte of it that changed would restart every group. Nothing here
depends on nodes, load or time.
"""

from __future__ import annotations

from kubernetes.client.models.v1_container import V1Container
from kubernetes.client.models.v1_container_port import V1ContainerPort
from kubernetes.client.models.v1_empty_dir_volume_source import V1EmptyDirVolumeSource
from kubernetes.client.models.v1_env_var import V1EnvVar
from kubernetes.client.models.v1_env_var_source import V1EnvVarSource
from kubernetes.client.models.v1_exec_action import V1ExecAction
from kubernetes.client.models.v1_http_get_action import V1HTTPGetAction
from kubernetes.client.models.v1_key_to_path import V1KeyToPath
from kubernetes.client.models.v1_lifecycle import V1Lifecycle
from kubernetes.client.models.v1_lifecycle_handler import V1LifecycleHandler
from kubernetes.client.models.v1_object_field_selector import V1ObjectFieldSelector
from kubernetes.client.models.v1_object_meta import V1ObjectMeta
from kubernetes.client.models.v1_persistent_volume_claim_volume_source import (
    V1PersistentVolumeClaimVolumeSource,
)
from kubernetes.client.models.v1_pod_scheduling_gate import V1PodSchedulingGate
from kubernetes.client.models.v1_pod_spec import V1PodSpec
from kubernetes.client.models.v1_pod_template_spec import V1PodTemplateSpec
from kubernetes.client.models.v1_probe import V1Probe
from kubernetes.client.models.v1_resource_requirements import V1ResourceRequirements
from kubernetes.client.models.v1_secret_volume_source import V1SecretVolumeSource
from kubernetes.client.models.v1_sleep_action import V1SleepAction
from kubernetes.client.models.v1_toleration import V1Toleration
from kubernetes.client.models.v1_volume import V1Volume
from kubernetes.client.models.v1_volume_mount import V1VolumeMount

from app.contracts import runtime as contract
from app.inferenceservice.children.affinity import build_affinity, service_key
from app.inferenceservice.children.volumes import fetchers, store_mounts, store_volumes
from app.inferenceservice.facts import Facts, Identity
from app.inferenceservice.names import keys_secret
from app.inferenceservice.plan import Decision
from app.kube.duration import whole_seconds
from app.kube.expansion import literal
from app.kube.names import (
    CLAIM_LABEL,
    LEADER,
    PLACEMENT_GATE,
    ROLE_LABEL,
    SERVICE_KEY_LABEL,
    SERVICE_LABEL,
    WORKER,
    label_value,
    standard_labels,
)
from app.kube.security import restricted_container, restricted_pod

PRE_STOP_SECONDS = 5
"""Time for endpoints to forget a pod before it stops taking requests."""
STOP_MARGIN_SECONDS = 15
"""Time for vLLM to exit after it has drained."""


def pod_labels(identity: Identity, role: str) -> dict[str, str]:
    """Labels by which Services, budgets and other services' rules find the pods. They never change."""
    return group_labels(identity) | {ROLE_LABEL: role}


def group_labels(identity: Identity) -> dict[str, str]:
    """Labels of all pods of a service's groups."""
    return {SERVICE_LABEL: identity.name}


def leader_template(facts: Facts, decision: Decision) -> V1PodTemplateSpec:
    """The pod that serves requests: the only pod of a node-local service, the first one of a group."""
    container = V1Container(
        **_container(facts, decision),
        name=LEADER,
        image=facts.settings.leader_image,
        command=[contract.START_LEADER],
        ports=_ports(decision),
        startup_probe=_health_check("startup", failures=_probes_in(facts.settings.start_budget)),
        readiness_probe=_health_check("readiness", failures=3),
        liveness_probe=_health(failures=6, timeout=contract.PROBE_TIMEOUT_SECONDS),
        lifecycle=V1Lifecycle(pre_stop=V1LifecycleHandler(sleep=V1SleepAction(seconds=PRE_STOP_SECONDS))),
    )
    return _template(facts, decision, LEADER, container)


def worker_template(facts: Facts, decision: Decision) -> V1PodTemplateSpec:
    """The other pods of a group. They serve no HTTP, so they have no probes: when one ends, the group restarts. A
    group's pods are told to stop at the same time, so workers wait until the leader has drained."""
    container = V1Container(
        **_container(facts, decision),
        name=WORKER,
        image=facts.settings.worker_image,
        command=[contract.START_WORKER],
        ports=_worker_ports(decision),
        lifecycle=_stop_after_leader(PRE_STOP_SECONDS + whole_seconds(facts.settings.drain)),
    )
    return _template(facts, decision, WORKER, container)


def _template(facts: Facts, decision: Decision, role: str, container: V1Container) -> V1PodTemplateSpec:
    identity, settings = facts.identity, facts.settings
    labels = standard_labels("inference", identity.name, facts.spec.model.name) | pod_labels(identity, role)
    labels |= {SERVICE_KEY_LABEL: service_key(identity)}
    labels |= {CLAIM_LABEL: label_value(decision.claim_of_one_node)} if decision.claim_of_one_node else {}
    return V1PodTemplateSpec(
        metadata=V1ObjectMeta(labels=labels),
        spec=V1PodSpec(
            init_containers=fetchers(decision.store, settings) or None,
            containers=[container],
            volumes=_volumes(facts, decision),
            node_selector=dict(sorted(settings.node_selector.items())) or None,
            tolerations=[V1Toleration(**toleration.model_dump()) for toleration in settings.tolerations] or None,
            affinity=build_affinity(facts, decision),
            scheduling_gates=[V1PodSchedulingGate(name=PLACEMENT_GATE)] if decision.grant.gated else None,
            security_context=restricted_pod(groups=settings.supplemental_groups),
            automount_service_account_token=False,
            enable_service_links=False,
            termination_grace_period_seconds=PRE_STOP_SECONDS + whole_seconds(settings.drain) + STOP_MARGIN_SECONDS,
        ),
    )


def _container(facts: Facts, decision: Decision) -> dict[str, object]:
    """What leader and worker containers share."""
    return {
        "image_pull_policy": facts.settings.image_pull_policy,
        "args": [literal(argument) for argument in decision.command.arguments],
        "env": _environment(facts, decision),
        "resources": _resources(facts),
        "volume_mounts": _mounts(facts, decision),
        "security_context": restricted_container(),
        "termination_message_policy": "FallbackToLogsOnError",
    }


def _environment(facts: Facts, decision: Decision) -> list[V1EnvVar]:
    """Ours first, then the user's, each name once; the user's value wins where both have one."""
    kept = contract.COMPILE_VARIABLES if facts.spec.storage.compile_cache_claim else {}
    launch = _launch_variables(facts, decision)
    values = contract.CACHE_VARIABLES | kept | launch | dict(decision.command.environment)
    own_address = V1EnvVarSource(field_ref=V1ObjectFieldSelector(api_version="v1", field_path="status.podIP"))
    grouped = decision.launch is not contract.LaunchMode.SINGLE
    address = [V1EnvVar(name=contract.HOST_IP, value_from=own_address)] if grouped else []
    return address + [V1EnvVar(name=name, value=literal(value)) for name, value in sorted(values.items())]


def _launch_variables(facts: Facts, decision: Decision) -> dict[str, str]:
    """The deadlines are parts of the start budget, so that a script says what was missing before the probe ends it."""
    budget = whole_seconds(facts.settings.start_budget)
    variables = {
        contract.LAUNCH_MODE: decision.launch.value,
        contract.GPUS: str(facts.spec.gpus_per_node),
        contract.HTTP_PORT_VARIABLE: str(contract.HTTP_PORT),
        contract.START_SECONDS: str(budget),
    }
    if decision.store:
        model_seconds = str(max(1, budget // 4))
        variables |= {
            contract.MODEL_PATH: decision.store.folder,
            contract.MODEL_SECONDS: model_seconds,
            "HF_HUB_OFFLINE": "1",
        }
    if decision.launch is contract.LaunchMode.SINGLE:
        return variables
    variables |= {
        # The one interface every CNI gives a pod; users may name another (RDMA) in envVars.
        "GLOO_SOCKET_IFNAME": "eth0",
        "NCCL_SOCKET_IFNAME": "eth0",
        contract.MASTER_PORT_VARIABLE: str(contract.MASTER_PORT),
        contract.JOIN_SECONDS: str(max(1, budget // 2)),
    }
    if decision.launch is contract.LaunchMode.NATIVE:
        variables[contract.JOIN_PORT_VARIABLE] = str(contract.JOIN_PORT)
    if decision.launch is contract.LaunchMode.RAY:
        variables[contract.RAY_PORT_VARIABLE] = str(contract.RAY_PORT)
    if decision.launch is contract.LaunchMode.MPI:
        variables[contract.SSH_PORT_VARIABLE] = str(contract.SSH_PORT)
        variables[contract.JOIN_SECONDS] = str(facts.spec.distributed.mpi.timeout)
    return variables


def _resources(facts: Facts) -> V1ResourceRequirements:
    """GPUs as limit and request alike (the API server wants that of extended resources); CPU and memory as requests
    only: a memory limit would count /dev/shm and kill a server that fills it."""
    spec = facts.spec
    gpus = {spec.gpu_resource(facts.settings.gpu_resource): str(spec.gpus_per_node)}
    requests = {"cpu": spec.resources.cpu_request, "memory": spec.resources.memory_request}
    return V1ResourceRequirements(limits=gpus, requests=gpus | {k: v for k, v in requests.items() if v})


def _ports(decision: Decision) -> list[V1ContainerPort]:
    http = V1ContainerPort(name="http", container_port=contract.HTTP_PORT, protocol="TCP")
    if decision.launch is contract.LaunchMode.SINGLE:
        return [http]
    master = V1ContainerPort(name="master", container_port=contract.MASTER_PORT, protocol="TCP")
    ray = V1ContainerPort(name="ray", container_port=contract.RAY_PORT, protocol="TCP")
    return [http, master] + ([ray] if decision.launch is contract.LaunchMode.RAY else [])


def _worker_ports(decision: Decision) -> list[V1ContainerPort] | None:
    if decision.launch is not contract.LaunchMode.MPI:
        return None
    return [V1ContainerPort(name="ssh", container_port=contract.SSH_PORT, protocol="TCP")]


def _probes_in(budget: str) -> int:
    """The API server takes no probe that fails after none."""
    return max(1, -(-whole_seconds(budget) // contract.PROBE_PERIOD_SECONDS))


def _stop_after_leader(seconds: int) -> V1Lifecycle:
    hook = {"exec": {"command": [contract.DRAIN_WORKER, str(seconds)]}}
    return V1Lifecycle(pre_stop=V1LifecycleHandler.model_validate(hook))


def _health_check(probe: str, failures: int) -> V1Probe:
    """The image's own checks, which leave the failing one's name in the termination message."""
    action = V1ExecAction(command=[contract.HEALTH_CHECK, f"--probe={probe}"])
    timing = {
        "periodSeconds": contract.PROBE_PERIOD_SECONDS,
        "timeoutSeconds": contract.PROBE_TIMEOUT_SECONDS,
        "successThreshold": 1,
    }
    # by its own name, for the constructor drops a field that is called as a word of the language
    return V1Probe.model_validate({"exec": action, "failureThreshold": failures} | timing)


def _health(failures: int, timeout: int) -> V1Probe:
    """What ends a container hangs on as little as possible: on vLLM's answer, not on a process that must be started."""
    return V1Probe(
        http_get=V1HTTPGetAction(path="/health", port="http", scheme="HTTP"),
        period_seconds=contract.PROBE_PERIOD_SECONDS,
        timeout_seconds=timeout,
        success_threshold=1,
        failure_threshold=failures,
    )


def _volumes(facts: Facts, decision: Decision) -> list[V1Volume]:
    """The cache has room for a whole model, because without a ModelCache vLLM fetches it there."""
    spec = facts.spec
    shared_memory = V1EmptyDirVolumeSource(medium="Memory", size_limit=spec.storage.shared_memory)
    compiled = spec.storage.compile_cache_claim
    return [
        *store_volumes(decision.store, spec.storage.read_only),
        *([_claim_volume("compile-cache", compiled)] if compiled else []),
        V1Volume(name="shared-memory", empty_dir=shared_memory),
        V1Volume(name="cache", empty_dir=V1EmptyDirVolumeSource(size_limit="2Ti")),
        V1Volume(name="tmp", empty_dir=V1EmptyDirVolumeSource(size_limit="16Gi")),
        *([_keys_volume(keys_secret(facts.identity.name, spec))] if decision.launch is contract.LaunchMode.MPI else []),
    ]


def _claim_volume(name: str, claim: str) -> V1Volume:
    return V1Volume(name=name, persistent_volume_claim=V1PersistentVolumeClaimVolumeSource(claim_name=claim))


def _keys_volume(secret: str) -> V1Volume:
    """Readable for the pod's group, which is how a non-root user gets at a Secret's files; the scripts copy the key,
    for ssh takes none that a group may read."""
    item = V1KeyToPath(key=contract.SSH_KEY, path=contract.SSH_KEY)
    return V1Volume(name="ssh-keys", secret=V1SecretVolumeSource(secret_name=secret, default_mode=0o440, items=[item]))


def _mounts(facts: Facts, decision: Decision) -> list[V1VolumeMount]:
    storage = facts.spec.storage
    # a folder a service, so that services may share one claim
    compiled = V1VolumeMount(name="compile-cache", mount_path=contract.COMPILE_CACHE, sub_path=facts.identity.name)
    keys = V1VolumeMount(name="ssh-keys", mount_path=contract.SSH_FOLDER, read_only=True)
    return [
        *store_mounts(decision.store, storage.read_only),
        V1VolumeMount(name="shared-memory", mount_path="/dev/shm"),
        V1VolumeMount(name="cache", mount_path=contract.CACHE_HOME),
        *([compiled] if storage.compile_cache_claim else []),
        V1VolumeMount(name="tmp", mount_path="/tmp"),
        *([keys] if decision.launch is contract.LaunchMode.MPI else []),
    ]
