"""Text for a message or a log, without the passwords of addresses."""

from __future__ import annotations

import re


def without_password(text: str) -> str:
    """Replace the password of every address in a text, such as that of postgresql://user:password@host/db."""
    return re.sub(r"(\w+://[^:/@\s]*):[^@\s]+@", r"\1:***@", text)
