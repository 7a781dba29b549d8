"""Which GPUs of which nodes each service gets: requests x nodes -> allocations. Pure; standard library only."""
