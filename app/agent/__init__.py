"""The agent: counts what pods hold, says why pods are not ready, and gives gated pods their nodes.

Objects -> facts.py -> World -> observe.py, report.py, bind.py, heartbeat.py -> patches. All of these are pure, and
decide.py composes them. Watches, patches, the lease and the clock are in edge/. Nothing is remembered that a new
process could not read from the API server, so a new leader begins with empty hands.
"""
