"""A small client of the Kubernetes API server, for whoever is no hook: agent, command line, downloader, sandbox.

Plain JSON in and out; the kubernetes library reads kubeconfigs and nothing else.
"""

JSON_TYPE = "application/json"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
