"""What runs in the images of leaders and workers before, beside and around vLLM: the standard library only.

launch -> model, rendezvous -> command -> supervise; for MPI also keys, sshd and session. health and gpu answer the
probes.
"""
