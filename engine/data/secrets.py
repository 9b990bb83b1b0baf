"""Secrets and e-mail addresses in text, by the shapes that are commonly known.

A hint for people, not a guarantee: what has no known shape is not found. Every pattern looks at a bounded stretch, so
that no text can ask for endless work. Knows nothing about rows.
"""

import re

_SECRETS = re.compile(
    r"-----BEGIN (?:[A-Z]{2,12} ){0,2}PRIVATE KEY-----"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"  # Amazon
    r"|\bgh[pousr]_[0-9A-Za-z]{36}"  # GitHub
    r"|\bgithub_pat_[0-9A-Za-z_]{22,255}"
    r"|\bglpat-[0-9A-Za-z_-]{20}"  # GitLab
    r"|\bhf_[0-9A-Za-z]{34}\b"  # Hugging Face
    r"|\bsk-(?:[a-z]{2,10}-){0,2}[0-9A-Za-z_-]{20,200}"  # OpenAI, Anthropic and others
    r"|\bAIza[0-9A-Za-z_-]{35}"  # Google
    r"|\bxox[abeoprs]-[0-9A-Za-z-]{10,200}"  # Slack
    r"|\b[rs]k_live_[0-9A-Za-z]{20,100}"  # Stripe
    r"|\beyJ[0-9A-Za-z_-]{10,500}\.eyJ[0-9A-Za-z_-]{10,2000}\.[0-9A-Za-z_-]{10,500}"  # JSON web tokens
)
_BEGINNINGS = (
    "PRIVATE KEY",
    "AKIA",
    "ASIA",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "hf_",
    "sk-",
    "AIza",
    "xox",
    "k_live_",
    "eyJ",
)
_EMAIL = re.compile(r"[\w.%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,8}\.[A-Za-z]{2,24}\b")

MOST_LOOKED_AT = 1000


def has_secret(text: str) -> bool:
    """Whether something in `text` has the shape of a key, a token or a private key."""
    return any(beginning in text for beginning in _BEGINNINGS) and _SECRETS.search(text) is not None


def has_email(text: str) -> bool:
    """Whether there is an e-mail address in `text`. Only the first MOST_LOOKED_AT signs of one are looked at."""
    at = -1
    for _ in range(MOST_LOOKED_AT):
        at = text.find("@", at + 1)
        if at < 0:
            return False
        if _EMAIL.search(text, max(0, at - 64), at + 190):
            return True
    return False
