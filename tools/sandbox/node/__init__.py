"""A real node on this machine: containerd, kubelet, kube-proxy and CoreDNS in namespaces of their own.

The node is a machine within the machine. Its processes, mounts, interfaces and iptables chains live in namespaces that
end with their first process, and that ends with us, however we end. What is left then, a folder and empty cgroups, is
removed when we stop, by the next start, or by `python -m tools.sandbox clean`.
"""
