"""`Access`: who may call one server, put together from what it listens on and the ledger's tokens."""

import secrets
from collections.abc import Iterable

from autopay.adapters.postgres import PostgresLedger
from autopay.api.access.callers import Callers
from autopay.api.access.gate import AccessGate, App
from autopay.api.access.limits import RateLimits, Rates
from autopay.api.access.sites import AllowedHosts
from autopay.domain.policy.reach import is_loopback_name

SECRET_BYTES = 32


class Access:
    """What guards an application: `gate(app)` is what is to be served.

    Args:
        ledger: has the tokens, and records logins; as a role that may write (`autopay_work`).
        hosts: by which names the server may be asked.
        tokens_required: whether every caller needs a token; else those on this machine act as `local`.
        rates: how often callers may ask.
        secret: what CSRF tokens on loopback are made of. The same one over restarts keeps open pages working.

    Raises:
        ValueError: without tokens, it would let anybody in.
    """

    def __init__(
        self,
        ledger: PostgresLedger,
        hosts: AllowedHosts,
        *,
        tokens_required: bool,
        rates: Rates | None = None,
        secret: bytes | None = None,
    ) -> None:
        if not tokens_required and not hosts.is_only_loopback:
            raise ValueError("a server that is not asked on loopback only needs tokens")
        self.ledger = ledger
        self.hosts = hosts
        self.tokens_required = tokens_required
        self.limits = RateLimits(rates or Rates())
        made_of = secret or secrets.token_bytes(SECRET_BYTES)
        self.callers = Callers(ledger.tokens, self.limits, made_of, tokens_required=tokens_required)

    @classmethod
    def of(
        cls,
        ledger: PostgresLedger,
        listen: str,
        allow_hosts: Iterable[str] = (),
        *,
        tokens_wanted: bool = False,
        secret: bytes | None = None,
    ) -> "Access":
        """For a server that listens at that address, and may be asked by these names as well.

        Tokens are required as soon as another machine may reach it: by its address, or by a name of its own, as a
        proxy has it.

        Raises:
            ValueError: one of the names is none.
        """
        elsewhere = not is_loopback_name(listen)
        hosts = AllowedHosts.of(allow_hosts, any_address=elsewhere)
        required = tokens_wanted or elsewhere or not hosts.is_only_loopback
        return cls(ledger, hosts, tokens_required=required, secret=secret)

    def gate(self, app: App) -> AccessGate:
        """The application behind this guard."""
        return AccessGate(app, self.hosts, self.callers, self.limits)
