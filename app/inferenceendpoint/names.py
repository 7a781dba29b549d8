"""Names of an InferenceEndpoint's children."""


def service_name(endpoint: str) -> str:
    return f"{endpoint}-endpoint"
