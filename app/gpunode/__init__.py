"""GPUNode: every AMD node of the cluster as compact facts, and two labels on the Node for pods to select.

What wins where the signs disagree:

- GPUs are counted by the device plugin (allocatable and capacity), never by labels.
- The product is told by the PCI device id, else by the product name, else by what an administrator declared.
- The partition mode is told by the resource name, else by the labeller, unless the number of GPUs or their memory
  refutes it: then it is unknown.
- Memory is the smallest amount that any sign allows: a model planned for too little memory still starts.

Every disagreement is also told in spec.contradictions. The product label stays through all of them, the partition
label only while all GPUs of the node are known to have that one mode.
"""

from app.api.v1alpha1.gpunode import KIND
from app.gpunode.sync import sync

__all__ = ["KIND", "sync"]
