"""Version v1alpha1: specs, statuses, columns and CEL rules of all seven kinds, read and written by everybody.

Users write InferenceService, ModelCache and InferenceEndpoint, administrators GPUPool. Three more are the handshake
between services, pools and the agent: a service writes one GPURequest (its need), a pool one GPUAllocation for it (the
decision), the node decorator one GPUNode for each AMD node (the facts), and the agent the status of GPUNodes and
GPURequests (what is bound where). What Metacontroller writes is always `.spec`.
"""
