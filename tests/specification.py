"""What the specification shows, word for word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STATUSES: Mapping[str, Any] = {
    "InferenceService": {
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "lastTransitionTime": "2025-01-01T00:00:00Z",
                "reason": "InferenceReady",
                "message": "Inference service is ready and accepting requests",
            }
        ],
        "replicas": 2,
        "readyReplicas": 2,
        "endpoints": {
            "internal": "http://llama2-7b-service.inference-system.svc:8000",
            "external": "https://llama2.example.com",
        },
        "resourceUsage": {"gpuUtilization": 75, "memoryUsage": "12Gi"},
        "modelStatus": {"loaded": True, "loadTime": "45s", "version": "v1.0.0"},
    },
    "ModelCache": {
        "phase": "Ready",
        "downloadProgress": 100,
        "sizeOnDisk": "47Gi",
        "lastUpdated": "2025-01-01T00:00:00Z",
        "conditions": [{"type": "Downloaded", "status": "True", "message": "Model successfully downloaded and cached"}],
    },
    "InferenceEndpoint": {
        "endpoints": [
            {"name": "http-api", "url": "http://llama2.example.com:8000", "status": "Ready"},
            {"name": "grpc-api", "url": "grpc://llama2.example.com:8001", "status": "Ready"},
        ],
        "conditions": [{"type": "Available", "status": "True", "message": "Endpoint is accessible and healthy"}],
    },
}
"""The status of each kind, as an example of the specification has it."""
