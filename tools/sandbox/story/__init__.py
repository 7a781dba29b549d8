"""What people do with the operator, on a real node, step by step: tests assert it, `make demo REAL=1` shows it."""
