"""Load for any endpoint that speaks OpenAI's API: throughput, latency and resource usage, as numbers and as a plot."""
