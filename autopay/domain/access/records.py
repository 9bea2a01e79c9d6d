"""What the ledger knows of callers: tokens, logins of the page, and what was ordered."""

import re
from datetime import datetime
from typing import Any
from uuid import UUID

from autopay.domain.values import Value

TOKEN_NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}"  # noqa: S105 - a pattern

RESERVED_NAMES = frozenset({"local", "nobody", "schedule"})
"""Names of callers without a token, which no token has."""


def check_token_name(name: str) -> str:
    """The name, when a token may have it.

    Raises:
        ValueError: it may not.
    """
    if not re.fullmatch(TOKEN_NAME_PATTERN, name, re.ASCII):
        raise ValueError(f"{name[:60]!r} is not a token's name: up to 60 letters, digits, '.', '_' and '-'")
    if name.lower() in RESERVED_NAMES:
        raise ValueError(f"{name!r} is what a caller without a token is called: give the token another name")
    return name


class TokenRecord(Value):
    """A token, without its secret. `last_used_at` is right to the hour only."""

    token_id: UUID
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    def state_at(self, now: datetime) -> str:
        """`live`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "live" if self.expires_at is None or now < self.expires_at else "expired"


class LoginRecord(Value):
    """A browser that has logged in, and the token that it did it by."""

    login_id: UUID
    token: TokenRecord
    created_at: datetime
    expires_at: datetime


class ActionRecord(Value):
    """What a caller ordered. `outcome` is done, refused or failed; None while it is under way or was interrupted."""

    action_id: UUID
    actor: str
    via: str
    action: str
    agent: str | None
    target: str | None
    details: dict[str, Any]
    created_at: datetime
    outcome: str | None
    error: str | None
    ended_at: datetime | None
