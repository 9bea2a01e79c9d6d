"""`PostgresLedger`: the parts of the ledger, on one pool of connections."""

from functools import cached_property
from typing import TYPE_CHECKING

from autopay.adapters.postgres.agents.agents import Agents
from autopay.adapters.postgres.database.connection import open_engine
from autopay.adapters.postgres.database.transaction import Database
from autopay.adapters.postgres.maintenance.keys import KeyChecks
from autopay.adapters.postgres.payments.fence import Fence
from autopay.adapters.postgres.payments.payments import Payments
from autopay.adapters.postgres.payments.policies import Policies
from autopay.adapters.postgres.payments.requests import Requests
from autopay.adapters.postgres.reports.events import Events
from autopay.adapters.postgres.sessions.sessions import Sessions

if TYPE_CHECKING:
    from autopay.adapters.postgres.access.actions import OperatorActions
    from autopay.adapters.postgres.access.tokens import Tokens
    from autopay.adapters.postgres.audit.audit import Audit
    from autopay.adapters.postgres.audit.reconciliation import Reconciliation
    from autopay.adapters.postgres.maintenance.maintenance import Maintenance
    from autopay.adapters.postgres.maintenance.reseal import SealedColumns
    from autopay.adapters.postgres.reports.lists import Lists
    from autopay.adapters.postgres.reports.reports import Reports
    from autopay.adapters.postgres.webhooks.webhooks import Webhooks


class PostgresLedger:
    """The port `AgentLedger` on PostgreSQL, and what people ask of the ledger. Every method of a part is one
    transaction, committed when it returns.

    What payments and agents do not need is imported when it is used first: a command is not to wait for it.

    Locks are taken in one order everywhere, so that they cannot deadlock: agent, session, attempt, request.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.requests = Requests(database)
        self.payments = Payments(database)
        self.policies = Policies(database)
        self.sessions = Sessions(database)
        self.agents = Agents(database)
        self.fence = Fence(database)
        self.events = Events(database)
        self.keys = KeyChecks(database)

    @cached_property
    def tokens(self) -> "Tokens":
        """Tokens of the API, and browsers that have logged in by one."""
        from autopay.adapters.postgres.access.tokens import Tokens  # noqa: PLC0415

        return Tokens(self.database)

    @cached_property
    def operator_actions(self) -> "OperatorActions":
        """Who ordered what."""
        from autopay.adapters.postgres.access.actions import OperatorActions  # noqa: PLC0415

        return OperatorActions(self.database)

    @cached_property
    def webhooks(self) -> "Webhooks":
        """Where events are sent to, and what became of each."""
        from autopay.adapters.postgres.webhooks.webhooks import Webhooks  # noqa: PLC0415

        return Webhooks(self.database)

    @cached_property
    def reconciliation(self) -> "Reconciliation":
        """What `ledger reconcile` compares with the chain."""
        from autopay.adapters.postgres.audit.reconciliation import Reconciliation  # noqa: PLC0415

        return Reconciliation(self.database)

    @cached_property
    def audit(self) -> "Audit":
        """The chains of events, as an auditor reads them."""
        from autopay.adapters.postgres.audit.audit import Audit  # noqa: PLC0415

        return Audit(self.database)

    @cached_property
    def reports(self) -> "Reports":
        """Lists and sums for people."""
        from autopay.adapters.postgres.reports.reports import Reports  # noqa: PLC0415

        return Reports(self.database)

    @cached_property
    def lists(self) -> "Lists":
        """Requests, sessions, balances and sellers in pages."""
        from autopay.adapters.postgres.reports.lists import Lists  # noqa: PLC0415

        return Lists(self.database)

    @cached_property
    def maintenance(self) -> "Maintenance":
        """What operators do: the schema, sample rows, old content."""
        from autopay.adapters.postgres.maintenance.maintenance import Maintenance  # noqa: PLC0415

        return Maintenance(self.database)

    @cached_property
    def sealed(self) -> "SealedColumns":
        """Every sealed column, for a new key."""
        from autopay.adapters.postgres.maintenance.reseal import SealedColumns  # noqa: PLC0415

        return SealedColumns(self.database)

    async def dispose(self) -> None:
        """Close every connection."""
        await self.database.dispose()


def open_ledger(database_url: str, *, reads_only: bool = False) -> PostgresLedger:
    """A ledger on that database; connects when first used. End it with `dispose()`.

    With `reads_only` it writes nothing and reads nothing that is sealed: the role `autopay_read` is enough.

    Raises:
        ValueError: not a PostgreSQL URL.
    """
    return PostgresLedger(Database(open_engine(database_url, reads_only=reads_only), reads_only=reads_only))
