"""What a PlanResult means, in sentences and numbers."""
