"""`kubectl inference`: the reconciler's own code, run before anything is applied.

    documents.py, batch.py, live.py         files, lines or a cluster -> Case; cluster.py alone talks to its API server
decide.py                               Case -> Verdict: service and pool answer in turns until they are settled
outcome.py, shown.py, exclusions.py     what a Verdict means
restarts.py                             what it would do to pods that run
answer.py, table.py                     the same for programs, and for people
replay.py                               a recorded sync request -> what the hook answers today
main.py                                 arguments and exit codes
"""
