"""A Kubernetes control plane on this machine, without containers or root.

Real etcd, kube-apiserver, controller manager and scheduler run as plain processes on loopback. KWOK plays nodes and
pods, so eight-GPU AMD nodes exist as far as the API goes. Tests and `make demo` run the operator against it.
"""
