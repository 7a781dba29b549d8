"""The objects of the handshake between services, pools and the agent: GPUNode, GPURequest, GPUAllocation.

Several kinds read and write them, so their schemas stand below all kinds. A service writes one GPURequest (its need), a
pool one GPUAllocation for it (the decision), the node decorator one GPUNode for each AMD node (the facts), and the
agent the status of GPUNodes and GPURequests (what is bound where). What Metacontroller writes is always `.spec`.
"""
