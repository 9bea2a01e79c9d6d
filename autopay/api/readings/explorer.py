"""Where people look at what is told: a Solana explorer for transactions, the Temporal UI for workflows."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from autopay.domain.network import Network

if TYPE_CHECKING:
    from autopay.settings import Settings

_EXPLORER = "https://explorer.solana.com/tx"


def explorer_url(settings: Settings, transaction: str | None, network: Network) -> str | None:
    """The page of a Solana explorer for the transaction; none knows those of the embedded chain."""
    if transaction is None or settings.on_localnet:
        return None
    cluster = "" if network is Network.MAINNET else "?cluster=devnet"
    return f"{_EXPLORER}/{quote(transaction, safe='')}{cluster}"


def workflow_url(settings: Settings, workflow_id: str) -> str | None:
    """The workflow's page in the embedded stack's Temporal UI; elsewhere nobody knows where that is."""
    if settings.stack is None:
        return None
    return f"{settings.stack.temporal_ui}/namespaces/default/workflows/{quote(workflow_id, safe='')}"
