"""Where the agent meets the world: requests, watches, the lease, the clock, signals and its own HTTP port."""
