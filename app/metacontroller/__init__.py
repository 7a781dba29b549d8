"""Metacontroller's hook protocol, and answers that change nothing."""
