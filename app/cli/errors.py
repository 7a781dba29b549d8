"""What a user did or has that stops a command: one sentence, never a traceback."""

from __future__ import annotations


class CliError(Exception):
    """The message is a sentence for the user; the exit code is that of wrong use."""
