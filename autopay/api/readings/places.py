"""Names and addresses that several readings tell: sellers, explorers, workflows, content."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from autopay.domain.network import Network
from autopay.domain.text.hosts import host_and_port, origin

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


def seller_of(url: str | None) -> str | None:
    """The seller that a URL names: host and port, without the port of https."""
    return None if url is None or origin(url) is None else seller_name(host_and_port(url))


def seller_name(host: str | None) -> str | None:
    """The seller at that host and port."""
    return None if host is None else host.removesuffix(":443")


def seller_host(seller: str) -> str:
    """Host and port of a seller."""
    has_port = seller.rpartition(":")[2].isdigit()
    return seller if has_port else f"{seller}:443"


def request_path(agent: str, request_id: str) -> str:
    """Where all that is known of a request is."""
    return f"/api/requests/{quote(request_id, safe='')}?agent={quote(agent, safe='')}"


def content_path(agent: str, request_id: str) -> str:
    """Where the content of a request is."""
    return f"/api/requests/{quote(request_id, safe='')}/content?agent={quote(agent, safe='')}"
