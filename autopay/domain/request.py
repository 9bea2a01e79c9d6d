"""What a caller asks for, and what it is told: `RequestSpec` in, `RequestResult` out."""

import hashlib
import json
import re
from datetime import datetime
from enum import StrEnum
from typing import Literal, Self
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator

from autopay.domain.money import MAX_ATOMIC, Currency, UnitsAsText, units_text
from autopay.domain.text.hosts import check_url
from autopay.domain.values import Value

Method = Literal["GET", "POST"]
REQUEST_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:@-]{0,119}$"
AGENT_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$"


MAX_AGE_S = 31_536_000
"""A year: how old what was bought before may be."""


def x402_request_id(agent: str, request_id: str) -> str:
    """The id that a seller sees as payment-identifier, and the ledger's key: `ap_` and 48 hex digits."""
    return "ap_" + hashlib.sha256(f"{agent}/{request_id}".encode()).hexdigest()[:48]


def is_request_id(text: str) -> bool:
    """Whether a request can have that id."""
    return re.fullmatch(REQUEST_ID_PATTERN, text) is not None


STORABLE = r"^[^\x00]*$"
"""Text that PostgreSQL keeps: without NUL."""


class RequestSpec(Value):
    """One request for paid data, as its caller wants it.

    `request_id` is the caller's idempotency key: the same id of the same agent never pays twice. Prices are in
    base units of whichever currency is paid. `sealed_extras` holds headers and body, sealed by the caller's
    vault, so that secrets never travel through workflow history in clear; `body_hash` binds them to the terms.
    What the agent has bought before and is not older than `max_age_s` is answered as FRESH, without paying; 0 always
    buys, None takes the freshness window of the agent's watch of the same data, if there is one.
    """

    request_id: str = Field(pattern=REQUEST_ID_PATTERN)
    url: str = Field(min_length=8, max_length=2048)
    method: Method = "GET"
    max_price_atomic: int | None = Field(None, gt=0, le=MAX_ATOMIC)
    currency: Currency | None = None
    body_hash: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    sealed_extras: str | None = Field(None, max_length=400_000, pattern=STORABLE)
    watch: str | None = Field(None, max_length=120, pattern=STORABLE)
    max_age_s: int | None = Field(None, ge=0, le=MAX_AGE_S)

    @model_validator(mode="after")
    def _askable(self) -> Self:
        check_url(self.url)
        return self

    def terms_hash(self) -> str:
        """SHA-256 over what makes two requests the same: method, URL, body, limits. Headers may differ."""
        cap = str(self.max_price_atomic) if self.max_price_atomic is not None else None
        terms = [self.method, self.url, self.body_hash, cap, self.currency]
        return hashlib.sha256(json.dumps(terms).encode()).hexdigest()

    def differs_from(self, other: "RequestSpec") -> str:
        """The terms of this one that another does not have, in words: `another method (GET, not POST)`."""
        pairs: dict[str, tuple[object, object]] = {
            "method": (self.method, other.method),
            "URL": (self.url, other.url),
            "body": (self.body_hash, other.body_hash),
            "maximum price": (_priced(self.max_price_atomic), _priced(other.max_price_atomic)),
            "currency": (self.currency or "any", other.currency or "any"),
        }
        differ = [
            f"another {name}" + (f" ({mine}, not {theirs})" if name != "body" else "")
            for name, (mine, theirs) in pairs.items()
            if mine != theirs
        ]
        return " and ".join(differ) or "other terms"


def _priced(amount_atomic: int | None) -> str:
    return "none" if amount_atomic is None else units_text(amount_atomic)


class RequestStatus(StrEnum):
    """What became of a request, as its caller sees it."""

    WAITING = "waiting"  # accepted, not yet answered
    UNRESOLVED = "unresolved"  # a payment is out whose fate is not yet known
    DELIVERED = "delivered"  # paid, and the content is stored
    FREE = "free"  # the seller asked for nothing
    FRESH = "fresh"  # served from the ledger, nothing was bought
    REFUSED = "refused"  # policy or terms said no; nothing was paid
    FAILED = "failed"  # no content, and it is proven that nothing was paid
    UNDELIVERED = "undelivered"  # paid, and the seller did not deliver


CLOSED = frozenset(RequestStatus) - {RequestStatus.WAITING, RequestStatus.UNRESOLVED}

WITHOUT_CONTENT = frozenset({RequestStatus.REFUSED, RequestStatus.FAILED, RequestStatus.UNDELIVERED})
"""Ends of a request without what was asked for."""


class RequestError(Value):
    """Why a request was refused or failed: a name for programs, a sentence for people."""

    type: str
    message: str


class RequestResult(Value):
    """What `request --json` prints and `PaidRequest` ends with (autopay/temporal/outcome.py).

    `price_atomic` is `price` in JSON, a decimal text in token units. `transaction` is the settlement's signature on
    chain, `content_of` the earlier request whose content answers this one (status FRESH). `content_complete` is False
    when the end of the content is missing, `content_encoding` names codings that could not be undone, and
    `content_location` is where a paid answer redirected to and nothing could be fetched from.
    """

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    request_id: str
    status: RequestStatus
    http_status: int | None = None
    price_atomic: UnitsAsText | None = Field(None, alias="price")
    currency: Currency | None = None
    transaction: str | None = None
    pay_to: str | None = None
    attempts: int = 0
    workflow_id: str
    error: RequestError | None = None
    content_of: str | None = None
    content_complete: bool | None = None
    content_encoding: str | None = None
    content_location: str | None = None


def payment_workflow_id(agent: str, request_id: str) -> str:
    """The id of the workflow that pays a request: `pay/{agent}/{request_id}`."""
    return f"pay/{agent}/{request_id}"


def agent_workflow_id(agent: str) -> str:
    """The id of an agent's workflow: `agent/{name}`."""
    return f"agent/{agent}"


class RequestRecord(Value):
    """A request as the ledger has it: what was asked, how it stands; `closed` once nothing can change any more.

    `ended_at` is when that was, or when its content came.
    """

    request_key: str
    agent_id: UUID
    agent: str
    spec: RequestSpec
    result: RequestResult
    closed: bool = False
    ended_at: datetime | None = None


class HttpMethod(StrEnum):
    """`api_request_logs.method`."""

    GET = "GET"
    POST = "POST"
