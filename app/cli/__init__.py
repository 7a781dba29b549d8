"""`kubectl inference`: the reconciler's own code, run before anything is applied.

documents.py, batch.py, live.py     files, lines or a cluster -> Scenario; cluster.py alone talks to its API server
inputs.py                           what is given beside objects, and what admission would refuse
decide.py                           Scenario -> PlanResult: service and pool answer in turns until they are settled
explain/                            what a PlanResult means, and what it would do to pods that run
report.py, render.py                the same for programs, and for people
replay.py                           a recorded sync request -> what the hook answers today
main.py                             arguments and exit codes
"""
