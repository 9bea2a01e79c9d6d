"""Who calls: by a token, by the cookie of a login, or as somebody on this machine."""

import hashlib
import hmac
from dataclasses import dataclass
from uuid import UUID

from autopay.adapters.postgres.access.tokens import Tokens
from autopay.api.access.actor import LOCAL, Actor, Scope, Via
from autopay.api.access.browsers import csrf_token
from autopay.api.access.denials import Denied, denial
from autopay.api.access.limits import RateLimits
from autopay.api.access.request_head import RequestHead
from autopay.api.access.sites import Site
from autopay.domain.access.records import TokenRecord
from autopay.domain.access.secret_text import Kind, SecretText
from autopay.domain.policy.reach import is_loopback_name

MOST_GOOD = 1_000
"""So many tokens that were right are remembered, by their hashes; each is still looked up at every call."""


@dataclass(frozen=True)
class Caller:
    """A caller and what its page shows with each action; `actor` is None while nobody is recognised.

    `csrf` is empty for callers that have no page to act by: nobody is to learn the one of loopback from a public page.
    """

    actor: Actor | None
    csrf: str
    login_id: UUID | None = None

    @property
    def key(self) -> str:
        """What its calls are counted by, once it is recognised."""
        assert self.actor is not None, "nobody has no key"
        return f"{self.actor.via}/{self.actor.token_id or self.actor.name}"


class Callers:
    """Recognises callers.

    Args:
        tokens: of the ledger.
        limits: counts wrong tokens.
        secret: of this server, which CSRF tokens of callers without a login are made of.
        tokens_required: whether callers on this machine need one as well.
    """

    def __init__(self, tokens: Tokens, limits: RateLimits, secret: bytes, *, tokens_required: bool) -> None:
        self._tokens = tokens
        self._limits = limits
        self._secret = secret
        self.tokens_required = tokens_required
        self._good: dict[bytes, None] = {}

    async def recognise(self, head: RequestHead, site: Site) -> Caller:
        """Who sends this request.

        Raises:
            Denied: it shows a token that is none.
            LedgerUnavailable: the ledger, which knows the tokens, does not answer.
        """
        bearer = head.bearer()
        if bearer is not None:
            return Caller(actor_of(await self.token(head, bearer), Via.TOKEN), "")
        if head.header("authorization") is not None:
            raise Denied(denial(401, "token_wrong", "show a token as Authorization: Bearer TOKEN"))
        cookie = head.cookie(cookie_name(site))
        if cookie is not None:
            login = await self._tokens.find_login(cookie)
            shown = SecretText.parse(Kind.LOGIN, cookie)
            if login is not None and shown is not None:
                return Caller(actor_of(login.token, Via.PAGE), csrf_token(shown.secret), login.login_id)
        if not self.tokens_required and is_loopback_name(head.address) and not head.is_from_proxy:
            return Caller(LOCAL, csrf_token(self._secret))
        return Caller(None, "")

    async def token(self, head: RequestHead, text: str) -> TokenRecord:
        """The token of that text.

        Raises:
            Denied: it is none, or too many that were none came from there.
        """
        shown = hashlib.sha256(text.encode()).digest()
        if shown not in self._good:  # somebody's wrong tokens do not shut out others behind the same proxy
            self._limits.require_few_failures(head.network)
        found = await self._tokens.find(text)
        if found is None:
            self._good.pop(shown, None)
            self._limits.count_failure(head.network)
            raise Denied(denial(401, "token_wrong", "this token is unknown, has expired or was revoked"))
        self._good[shown] = None
        if len(self._good) > MOST_GOOD:
            self._good.pop(next(iter(self._good)))
        return found


def actor_of(token: TokenRecord, via: Via) -> Actor:
    """The caller who has that token; what another release calls a scope is none."""
    known = frozenset(scope for scope in Scope if scope in token.scopes)
    return Actor(token.name, known, via, token.token_id)


def cookie_name(site: Site) -> str:
    """The cookie of a login. Over TLS no other host can set it; without, other ports of this host have other names."""
    return "__Host-autopay" if site.is_https else f"autopay_{site.port}"


def same_caller(one: Caller, other: Caller) -> bool:
    """Whether it is still the same caller, who may still do the same."""
    return one.actor == other.actor and hmac.compare_digest(one.csrf, other.csrf)
