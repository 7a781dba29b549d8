"""The operator as deploy/ installs it, on a cluster of its own containers (kind) or on one with AMD GPUs."""
