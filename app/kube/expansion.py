"""Text that the kubelet hands to a container unchanged.

In command, args and values of env it replaces $(NAME) by the variable of that name, and $$ by $; a $ before anything
else stays. Source: k8s.io/kubernetes/third_party/forked/golang/expansion.
"""

from __future__ import annotations

_MEANS_SOMETHING = ("$$", "$(")


def literal(text: str) -> str:
    """The text to write so that the container gets `text`; the same where the kubelet would change nothing, so that
    templates that need no escape stay as they are."""
    return text.replace("$", "$$") if any(sign in text for sign in _MEANS_SOMETHING) else text
