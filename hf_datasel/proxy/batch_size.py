"""How many tokens go through the proxy at once. No torch here: specs import it."""

from __future__ import annotations

import os


def max_tokens() -> int:
    """Padded tokens a batch. An environment variable, since a field would change datasets' fingerprint."""
    return int(os.environ.get("HF_DATASEL_MAX_TOKENS", "2048"))
