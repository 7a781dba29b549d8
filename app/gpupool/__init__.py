"""GPUPool: the single allocator of a set of GPU nodes."""
