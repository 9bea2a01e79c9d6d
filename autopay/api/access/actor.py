"""Who calls the API or acts on the page, and what that caller may do."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class Scope(StrEnum):
    """What a caller may do; one does not contain the other."""

    READ = "read"
    """See agents, payments, balances, approvals and events."""
    ACT = "act"
    """Pause, resume and stop agents, make requests, approve and deny, ask again, revoke sessions."""


class Via(StrEnum):
    """How the caller was recognised."""

    LOCAL = "local"
    """A program or a browser on this machine, where no token is needed."""
    TOKEN = "token"  # noqa: S105 - a word
    """A token in the header `Authorization: Bearer`."""
    PAGE = "page"
    """A session of the page: a cookie, after a login by a token."""
    COMMAND = "command"
    """A command, by somebody who has the database's password anyway."""


@dataclass(frozen=True)
class Actor:
    """A caller that was recognised: the name of its token, or `local`."""

    name: str
    scopes: frozenset[Scope]
    via: Via = Via.TOKEN
    token_id: UUID | None = None

    def may(self, scope: Scope) -> bool:
        """Whether its scopes allow that."""
        return scope in self.scopes


LOCAL = Actor("local", frozenset(Scope), Via.LOCAL)
"""The one caller of an API that listens on loopback only and has no tokens."""
