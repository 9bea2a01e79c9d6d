"""`PostgresLedger`: the parts of the ledger, on one pool of connections."""

from autopay.adapters.postgres.agents.agents import Agents
from autopay.adapters.postgres.audit.audit import Audit
from autopay.adapters.postgres.audit.reconciliation import Reconciliation
from autopay.adapters.postgres.database.connection import open_engine
from autopay.adapters.postgres.database.transaction import Database
from autopay.adapters.postgres.maintenance.keys import KeyChecks
from autopay.adapters.postgres.maintenance.maintenance import Maintenance
from autopay.adapters.postgres.maintenance.reseal import SealedColumns
from autopay.adapters.postgres.payments.fence import Fence
from autopay.adapters.postgres.payments.payments import Payments
from autopay.adapters.postgres.payments.policies import Policies
from autopay.adapters.postgres.payments.requests import Requests
from autopay.adapters.postgres.reports.events import Events
from autopay.adapters.postgres.reports.reports import Reports
from autopay.adapters.postgres.sessions.sessions import Sessions


class PostgresLedger:
    """The port `AgentLedger` on PostgreSQL, and what people ask of the ledger. Every method of a part is one
    transaction, committed when it returns.

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
        self.reconciliation = Reconciliation(database)
        self.audit = Audit(database)
        self.reports = Reports(database)
        self.events = Events(database)
        self.maintenance = Maintenance(database)
        self.sealed = SealedColumns(database)
        self.keys = KeyChecks(database)

    async def dispose(self) -> None:
        """Close every connection."""
        await self.database.dispose()


def open_ledger(database_url: str) -> PostgresLedger:
    """A ledger on that database; connects when first used. End it with `dispose()`.

    Raises:
        ValueError: not a PostgreSQL URL.
    """
    return PostgresLedger(Database(open_engine(database_url)))
