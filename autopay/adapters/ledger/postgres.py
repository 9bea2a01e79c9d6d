"""`PostgresLedger`: every part of the ledger in one class, on one pool of connections."""

from autopay.adapters.database import open_engine
from autopay.adapters.ledger.agents import Agents
from autopay.adapters.ledger.answers import Answers
from autopay.adapters.ledger.attempts import Attempts
from autopay.adapters.ledger.fences import Fences
from autopay.adapters.ledger.fleet import Fleet
from autopay.adapters.ledger.grants import Grants
from autopay.adapters.ledger.policies import Policies
from autopay.adapters.ledger.reports import Reports
from autopay.adapters.ledger.requests import Requests
from autopay.adapters.ledger.seed import Seed
from autopay.adapters.ledger.sessions import Sessions


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
