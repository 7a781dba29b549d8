"""What the operator and its images agree on. The images copy these modules: standard library only."""
