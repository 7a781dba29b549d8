"""vLLM's command line and environment, checked against its own argument table: pure, standard library only."""
