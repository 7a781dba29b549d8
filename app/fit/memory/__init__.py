"""Memory of one GPU: weights + KV cache + overhead -> an estimate; module `estimate` puts the parts together."""
