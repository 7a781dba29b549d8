"""What speaks against a fit, in chains of small checks: hardware, then layout; warnings are about what fits."""
