"""What is granted, what the owner is to sign, and what became of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from autopay.api.models.base import Model, Money
from autopay.domain.money import Currency
from autopay.domain.request import AGENT_NAME_PATTERN
from autopay.domain.session import MAX_TX_LIMIT

SESSION = "0191f0c4-6f1e-7c6b-8a51-0f3d2b1c9e77"
WALLET = "7YqEwsdGLHFZ3NNyWQ6MPcXxuTgEoKqXWGzMAuK5Mwzt"
MOST_HOSTS = 50
MOST_TRANSACTION_CHARS = 2_000
"""In base64; a transaction has 1,232 bytes at most."""


class Order(Model):
    """What a caller sends; a field that is not known is a mistake."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, extra="forbid")


class NewGrant(Order):
    """What a session is to allow, and whose wallet signs it."""

    agent: Annotated[str, Field(pattern=AGENT_NAME_PATTERN, examples=["trader"])]
    """Who may spend it; made if there is none of that name."""
    owner: Annotated[str, Field(min_length=32, max_length=44, pattern=r"^[1-9A-HJ-NP-Za-km-z]+$", examples=[WALLET])]
    """The address of the wallet that the money comes from, and that signs."""
    allowance: Annotated[str, Field(max_length=40, examples=["5"])]
    """The most that the session can spend, in token units."""
    currency: Currency = Currency.USDC
    tx_limit: Annotated[int | None, Field(ge=1, le=MAX_TX_LIMIT, examples=[500])] = None
    """How many payments it allows; what suits the agent's phase if nothing is given."""
    duration: Annotated[str | None, Field(max_length=40, examples=["24h"])] = None
    """How long it lasts from the grant on; what suits the agent's phase if nothing is given."""
    hosts: Annotated[list[Annotated[str, Field(max_length=260)]], Field(max_length=MOST_HOSTS)] = Field(
        default=[], examples=[["api.example.com", "*.data.example"]]
    )
    """Whom it may pay; nobody else if there is one, anybody if there is none."""


class RevokeOrder(Order):
    """Which session is to end."""

    session_id: Annotated[UUID, Field(examples=[SESSION])]


class SignedOrder(Order):
    """What the wallet gave back."""

    transaction: Annotated[str | None, Field(max_length=MOST_TRANSACTION_CHARS)] = None
    """The signed transaction in base64. Without it, the chain is asked whether it has landed already."""


class ToSign(Model):
    """What the owner is to sign, and can sign until about `valid_until`."""

    state: Literal["to_sign"] = "to_sign"
    does: Literal["grant", "revoke"]
    session_id: Annotated[UUID, Field(examples=[SESSION])]
    agent: Annotated[str, Field(examples=["trader"])]
    owner: Annotated[str, Field(examples=[WALLET])]
    """The wallet that has to sign."""
    words: tuple[str, ...]
    """What the transaction does and costs, to be read before it is signed."""
    transaction: str
    """Unsigned, in base64."""
    chain: Annotated[str, Field(examples=["solana:devnet"])]
    """The chain's name among wallets."""
    valid_until: datetime
    notice: str | None = None
    """What else is to be known, like an allowance that is too small for the agent."""


class Granted(Model):
    """A session that pays."""

    state: Literal["granted"] = "granted"
    session_id: Annotated[UUID, Field(examples=[SESSION])]
    agent: Annotated[str, Field(examples=["trader"])]
    allowance: Money
    source_account: Annotated[str, Field(examples=[WALLET])]
    """The account that the allowance is locked in."""
    tx_limit: int
    hosts: tuple[str, ...]
    expires_at: datetime
    transaction: str | None
    """The owner's transaction; none when it had landed before."""
    notice: str | None = None


class Revoked(Model):
    """A session that is over."""

    state: Literal["revoked"] = "revoked"
    session_id: Annotated[UUID, Field(examples=[SESSION])]
    agent: Annotated[str, Field(examples=["trader"])]
    brought_back: Money
    transaction: str | None
    """The owner's transaction; none when there was nothing on chain, or it had landed before."""
    notice: str | None = None


ToSignOrRevoked = Annotated[ToSign | Revoked, Field(discriminator="state")]
"""A session that was never on chain is over without a signature."""

GrantedOrRevoked = Annotated[Granted | Revoked, Field(discriminator="state")]
