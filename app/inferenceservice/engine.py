"""Spec + the GPUs that were granted -> vLLM's command line, and how a group's processes are started."""

from __future__ import annotations

from app.api.v1alpha1.inferenceservice import InferenceServiceSpec
from app.contracts.runtime import HTTP_PORT, LaunchMode
from app.contracts.sources import hub_id
from app.inferenceservice.facts import Facts
from app.inferenceservice.grant import Grant
from app.inferenceservice.length import find_limit
from app.inferenceservice.model_volume import Store
from app.kube.duration import whole_seconds
from app.vllm.command import CommandLine, EngineSpec, build_command_line


def launch_mode(spec: InferenceServiceSpec) -> LaunchMode:
    if not spec.distributed.enabled:
        return LaunchMode.SINGLE
    if spec.distributed.mpi.enabled:
        return LaunchMode.MPI
    return LaunchMode.RAY if spec.uses_ray else LaunchMode.NATIVE


def command_line(facts: Facts, grant: Grant, store: Store | None) -> CommandLine:
    """vLLM's command line: the model is a folder of the volume, else the id that vLLM fetches itself."""
    spec, sizes = facts.spec, grant.parallelism
    repository, revision = hub_id(spec.model.name)
    stored = facts.model.quantization if facts.model else None
    return build_command_line(
        EngineSpec(
            model=store.folder if store else repository,
            revision="" if store else revision,
            served_name=spec.model.name,
            precision=spec.model.precision,
            stored=stored.format if stored else "",
            max_tokens=spec.model.max_tokens or grant.max_model_len,
            longest=find_limit(spec, facts.model),
            temperature=spec.model.temperature,
            parallelism=sizes,
            nodes=spec.nodes,
            engine_args=spec.engine_args,
            env=spec.vllm.env_vars,
            allowed_variables=facts.settings.allowed_variables,
            trusts_code=facts.settings.trust_remote_code,
            port=HTTP_PORT,
            drain_seconds=whole_seconds(facts.settings.drain),
        )
    )
