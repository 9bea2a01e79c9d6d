"""`PostgresLedger`: every part of the ledger in one class, on one pool of connections."""

from autopay.adapters.postgres.agents.agents import Agents
from autopay.adapters.postgres.agents.fleet import Fleet
from autopay.adapters.postgres.audit.fences import Fences
from autopay.adapters.postgres.database import open_engine
from autopay.adapters.postgres.maintenance.seed import Seed
from autopay.adapters.postgres.payments.answers import Answers
from autopay.adapters.postgres.payments.attempts import Attempts
from autopay.adapters.postgres.payments.policies import Policies
from autopay.adapters.postgres.payments.requests import Requests
from autopay.adapters.postgres.reports.reports import Reports
from autopay.adapters.postgres.sessions.grants import Grants
from autopay.adapters.postgres.sessions.sessions import Sessions


class PostgresLedger(Agents, Fleet, Sessions, Grants, Policies, Fences, Requests, Attempts, Answers, Reports, Seed):
    """The ledger port on PostgreSQL. Every method is one transaction, committed when it returns.

    Locks are taken in one order everywhere, so that they cannot deadlock: agent, session, attempt, request.
    """


def open_ledger(database_url: str) -> PostgresLedger:
    """A ledger on that database; connects when first used. End it with `dispose()`.

    Raises:
        ValueError: not a PostgreSQL URL.
    """
    return PostgresLedger(open_engine(database_url))
