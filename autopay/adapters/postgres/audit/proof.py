"""`ProofLedger`: what proves the ledger, for those who check or anchor it. It writes nothing but anchors."""

from autopay.adapters.postgres.audit.anchors import Anchors
from autopay.adapters.postgres.audit.events import Events
from autopay.adapters.postgres.database import open_engine


class ProofLedger(Events, Anchors):
    """Events and anchors on one pool of connections."""


def open_proof(database_url: str) -> ProofLedger:
    """The proof of that database's ledger; connects when first used. End it with `dispose()`.

    Raises:
        ValueError: not a PostgreSQL URL.
    """
    return ProofLedger(open_engine(database_url))
