"""A payment in a list."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from autopay.api.models.base import Model, Money
from autopay.domain.network import Network


class Payment(Model):
    """One signed payment, with the request that it was for."""

    id: UUID
    at: datetime
    """When it was signed."""
    agent: Annotated[str, Field(examples=["trader"])]
    request_id: Annotated[str | None, Field(examples=["monday-1"])]
    request_key: Annotated[str, Field(examples=["ap_4f0c6f..."])]
    """Names the request in the whole ledger; a seller sees it as the payment's identifier."""
    url: Annotated[str | None, Field(examples=["https://api.example.com/market-feed"])]
    endpoint: Annotated[str | None, Field(examples=["/market-feed"])]
    seller: Annotated[str | None, Field(examples=["api.example.com"])]
    number: int | None
    """1 is the request's first payment; a new one is signed only when those before it are proven to have failed."""
    sends: int
    """How often it was sent to the seller: always the same signed bytes, which the chain accepts once."""
    status: Annotated[str, Field(examples=["VERIFIED"])]
    """PENDING, RETRYING (not yet known), SUCCESS (confirmed), VERIFIED (final on chain) or FAILED (cost nothing)."""
    delivery: Literal["NONE", "DELIVERED", "UNDELIVERED"] | None
    """Whether the seller delivered, of the request."""
    price: Money
    network: Network
    pay_to: str | None
    transaction: str | None
    """The settlement's signature on chain."""
    explorer: str | None
    """Where a Solana explorer shows it; None on the embedded chain."""
    error_type: str | None
    error_code: str | None
    verification_hash: str | None
    """SHA-256 over the facts on chain: network, signature, slot, payer, payee, mint and amount."""
