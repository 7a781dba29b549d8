"""Which hook answers for which kind, and the last look at its answers."""
