"""`kubectl inference`: the reconcilers' own code at home, on files or on what a cluster shows. It writes nothing."""
