"""The GPU planner: pure functions over plain values; it knows neither Kubernetes nor pydantic."""
