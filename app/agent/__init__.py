"""The agent: counts what pods hold, says why pods are not ready, and gives gated pods their nodes.

Objects -> snapshot.py -> Snapshot -> ungate.py, evict_misplaced.py, gpu_usage.py, request_status.py, devices.py,
heartbeat.py -> patches. All of these are pure. Watches, writes, the lease and the clock are in io/, where session.py
composes the decisions. Nothing is remembered that a new process could not read from the API server, so a new leader
begins with empty hands.
"""
