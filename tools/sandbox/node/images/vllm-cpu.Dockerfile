# vLLM for processors, in the place of vLLM's ROCm image: what images/runtime takes as its base on a machine without GPUs.
ARG BASE
FROM ${BASE}
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgomp1 libnuma1 libgl1 \
 && rm -rf /var/lib/apt/lists/*
COPY install_vllm.py /tmp/install_vllm.py
RUN python3 /tmp/install_vllm.py && rm /tmp/install_vllm.py
# There is no compiler, and none is needed for a model this small. Settings for a machine with few processors and little
# memory; users' own go into spec.vllm.envVars.
ENV TORCHDYNAMO_DISABLE=1 \
    VLLM_CPU_KVCACHE_SPACE=1 \
    VLLM_CPU_OMP_THREADS_BIND=nobind \
    OMP_NUM_THREADS=1
