"""Every fault that Autopay raises: one tree, transient or permanent.

A fault is what nobody decided; an expected outcome (a refusal, a failed payment) is a value, not an exception.
Temporal matches non-retryable error types by exact name, so `permanent_names` lists the leaves.
"""

from typing import ClassVar

from autopay.domain.text.command_line import command_line


class Fault(Exception):
    """Something that was not decided went wrong; the docstring of a leaf is its message.

    `remedy` is the command that would help, which the message names at its end. `names_servers`: the detail is what a
    driver says, and may name hosts, roles and tables of ours.
    """

    remedy: ClassVar[tuple[str, ...]] = ()
    names_servers: ClassVar[bool] = False

    def __init__(self, detail: str = "") -> None:
        super().__init__(self._message(detail))

    @property
    def told(self) -> str:
        """The message for callers from elsewhere: without a detail that may name servers."""
        return self._message("") if self.names_servers else str(self)

    def _message(self, detail: str) -> str:
        lead = (type(self).__doc__ or "").strip().split("\n")[0].rstrip(".")
        said = f"{lead}: {detail}" if detail else lead
        return f"{said}; run: {command_line(*self.remedy)}" if self.remedy else said


class SettingsError(Exception):
    """A setting is missing, unknown or impossible; the message is one line that names it."""


class TransientFault(Fault):
    """May work when tried again; Temporal retries it with backoff."""


class PermanentFault(Fault):
    """Will not work however often it is tried; fails at once."""


class ChainUnavailable(TransientFault):
    """The Solana RPC node of AUTOPAY_SOLANA_RPC_URL does not answer, or not what it was asked for."""

    names_servers = True


class NodeBehind(TransientFault):
    """The Solana RPC node has not reached the slot that the question is about."""


class LedgerUnavailable(TransientFault):
    """The ledger's database (AUTOPAY_DATABASE_URL) does not answer."""

    names_servers = True


class LedgerForbids(TransientFault):
    """The role of AUTOPAY_DATABASE_URL may not do this: commands need the owner of the tables, workers `db roles`."""

    names_servers = True


class LedgerFenced(TransientFault):
    """The ledger was restored and may have forgotten payments."""

    remedy = ("ledger", "reconcile", "--book")


class SellerUnavailable(TransientFault):
    """The seller does not answer, or is overloaded."""

    def __init__(self, detail: str = "", retry_after_ms: int | None = None) -> None:
        super().__init__(detail)
        self.retry_after_ms = retry_after_ms


class FacilitatorUnavailable(TransientFault):
    """A facilitator of AUTOPAY_FACILITATOR_URLS does not answer."""

    names_servers = True


class WrongNetwork(PermanentFault):
    """The RPC node belongs to another network than AUTOPAY_NETWORK says."""


class UnknownAgent(PermanentFault):
    """There is no agent of that name."""

    remedy = ("agents",)


class UnknownRequest(PermanentFault):
    """The ledger has no such request."""


class OrderDiffers(PermanentFault):
    """What a payment was started with is not what the ledger has recorded of the request."""


class CursorLost(PermanentFault):
    """The ledger has no event at that cursor: it was restored from a backup since. Read it from its start."""


class ContentPruned(PermanentFault):
    """What was bought was thrown away by `ledger prune`; it stays paid, and its hash is kept."""


class NotMigrated(PermanentFault):
    """The database is not at this version's schema."""

    names_servers = True

    remedy = ("db", "upgrade")


class DatabaseUrlWrong(PermanentFault):
    """AUTOPAY_DATABASE_URL cannot be used."""

    names_servers = True


class PoolerInBetween(PermanentFault):
    """This needs the PostgreSQL server itself, and a connection pooler answers; give the server's own address."""

    names_servers = True


class SecretUnreadable(PermanentFault):
    """A sealed secret cannot be opened with the keyring at hand; check AUTOPAY_KEYRING."""


class PaymentMisbuilt(PermanentFault):
    """A built payment, decoded again, is not what was decided; it was not recorded and has not left."""


class IllegalTransition(PermanentFault):
    """The ledger refuses to move a payment to that status."""


def _leaves(root: type[Fault]) -> list[type[Fault]]:
    children = root.__subclasses__()
    return [leaf for child in children for leaf in _leaves(child)] if children else [root]


def stable_name(type_name: str) -> str:
    """The name by which programs know a fault: its type's, in snake_case."""
    return "".join("_" + c.lower() if c.isupper() else c for c in type_name).lstrip("_")


def permanent_names() -> list[str]:
    """The exact type names that Temporal must never retry."""
    return sorted(leaf.__name__ for leaf in _leaves(PermanentFault))
