"""Names of an InferenceEndpoint's children, and its limit."""

# the Service <name>-endpoint is a DNS label of 63 characters at most
NAME_LIMIT = 54


def service_name(endpoint: str) -> str:
    return f"{endpoint}-endpoint"
