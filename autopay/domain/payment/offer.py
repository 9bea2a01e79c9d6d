"""What a seller asks (`Challenge`), and what we agree to pay (`Offer`) or why not (`Refused`). Pure.

Nothing here signs, sends or remembers. The choice looks at the parsed fields only: whatever else the seller says
(an `error` text, a `currency` beside `asset`) is data to show, never an instruction.
"""

import re
from enum import StrEnum
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from autopay.domain.money import MAX_ATOMIC, Currency, show
from autopay.domain.network import Network, wire_name

MAX_MEMO_BYTES = 256  # x402 SVM exact scheme, extra.memo
MAX_OPTIONS = 32
_ADDRESS = re.compile(r"[1-9A-HJ-NP-Za-km-z]{32,44}")
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_AMOUNT = re.compile(r"[1-9][0-9]{0,19}", re.ASCII)


class Reason(StrEnum):
    """Why a request is refused before anything is paid; stable names for programs."""

    OFFER_EMPTY = "offer_empty"
    OFFER_MALFORMED = "offer_malformed"
    OFFER_TOO_LARGE = "offer_too_large"
    OFFERS_DISAGREE = "offers_disagree"
    UNSUPPORTED_SCHEME = "unsupported_scheme"
    UNSUPPORTED_NETWORK = "unsupported_network"
    UNSUPPORTED_ASSET = "unsupported_asset"
    AMOUNT_INVALID = "amount_invalid"
    PAYEE_INVALID = "payee_invalid"
    FEE_PAYER_INVALID = "fee_payer_invalid"
    MEMO_INVALID = "memo_invalid"
    ORIGIN_MISMATCH = "origin_mismatch"
    INSECURE_TRANSPORT = "insecure_transport"
    ADDRESS_NOT_ALLOWED = "address_not_allowed"
    PRICE_ABOVE_MAXIMUM = "price_above_maximum"
    MINT_UNUSABLE = "mint_unusable"
    SOURCE_ACCOUNT_MISSING = "source_account_missing"
    PAYEE_ACCOUNT_MISSING = "payee_account_missing"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    ALLOWANCE_EXHAUSTED = "allowance_exhausted"
    SESSION_MISSING = "session_missing"
    SESSION_EXPIRED = "session_expired"
    SESSION_TX_LIMIT = "session_tx_limit"
    HOST_NOT_ALLOWED = "host_not_allowed"
    PAYEE_NOT_ALLOWED = "payee_not_allowed"
    CURRENCY_NOT_ALLOWED = "currency_not_allowed"
    PAYEE_CHANGED = "payee_changed"
    PRICE_JUMP = "price_jump"
    ABOVE_REQUEST_LIMIT = "above_request_limit"
    HOST_DAY_LIMIT = "host_day_limit"
    AGENT_DAY_LIMIT = "agent_day_limit"
    APPROVAL_DENIED = "approval_denied"
    APPROVAL_EXPIRED = "approval_expired"
    TERMS_DIFFER = "terms_differ"
    AGENT_STOPPED = "agent_stopped"
    QUEUE_FULL = "queue_full"
    CANCELED = "canceled"


class Refused(BaseModel):
    """A decision not to pay; an expected outcome, not an error."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["refused"] = "refused"
    reason: Reason
    message: str


class Option(BaseModel):
    """One entry of `accepts`, its fields read but not yet believed; `raw` is the entry as it came (JSON text)."""

    model_config = ConfigDict(frozen=True)

    scheme: str
    network: str
    asset: str
    amount: str
    pay_to: str
    fee_payer: str | None
    memo: str | None
    raw: str


class Challenge(BaseModel):
    """A 402 answer: what the seller would accept. JSON texts are kept as they came, to be echoed verbatim."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["challenge"] = "challenge"
    version: Literal[1, 2]
    options: tuple[Option, ...]
    resource_url: str | None = None
    resource_raw: str | None = None
    extensions_raw: str | None = None
    offers_payment_identifier: bool = False


class Offer(BaseModel):
    """The option that we chose, believed: what is decided here is exactly what will be signed."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["offer"] = "offer"
    version: Literal[1, 2]
    network: Network
    currency: Currency
    mint: str
    amount_atomic: int
    pay_to: str
    fee_payer: str
    memo: str | None
    accepted_raw: str
    resource_raw: str | None = None
    extensions_raw: str | None = None
    payment_identifier: bool = False


class Wants(BaseModel):
    """What the buyer brings to the choice: its limits, the currencies that it can pay in and what is left of each."""

    model_config = ConfigDict(frozen=True)

    url: str
    network: Network
    mints: dict[Currency, str]
    max_price_atomic: int | None = None
    budgets: dict[Currency, int] = {}
    own_keys: frozenset[str] = frozenset()


def choose(challenge: Challenge, wants: Wants) -> Offer | Refused:
    """The cheapest option that every rule allows; ties go to the seller's order.

    When none is left, the refusal of the option that came furthest is returned, as it tells the caller most.
    """
    if not challenge.options:
        return Refused(reason=Reason.OFFER_EMPTY, message="the seller's 402 names no way to pay")
    if len(challenge.options) > MAX_OPTIONS:
        return Refused(reason=Reason.OFFER_TOO_LARGE, message=f"the seller lists over {MAX_OPTIONS} ways to pay")
    if challenge.resource_url is not None and origin(challenge.resource_url) != origin(wants.url):
        return Refused(
            reason=Reason.ORIGIN_MISMATCH,
            message=f"the offer is for {challenge.resource_url[:200]!r}, not for what was requested",
        )
    judged = [_judge(option, challenge, wants) for option in challenge.options]
    offers = [verdict for verdict in judged if isinstance(verdict, Offer)]
    if offers:
        return min(offers, key=lambda offer: offer.amount_atomic)
    refusals = [verdict for verdict in judged if isinstance(verdict, Refused)]
    return max(refusals, key=lambda refusal: _STAGES.index(refusal.reason))


_STAGES = (
    Reason.UNSUPPORTED_SCHEME,
    Reason.UNSUPPORTED_NETWORK,
    Reason.UNSUPPORTED_ASSET,
    Reason.AMOUNT_INVALID,
    Reason.PAYEE_INVALID,
    Reason.FEE_PAYER_INVALID,
    Reason.MEMO_INVALID,
    Reason.PRICE_ABOVE_MAXIMUM,
    Reason.ALLOWANCE_EXHAUSTED,
)


def _judge(option: Option, challenge: Challenge, wants: Wants) -> Offer | Refused:
    def refuse(reason: Reason, message: str) -> Refused:
        return Refused(reason=reason, message=message)

    network = wire_name(wants.network, challenge.version)
    currency = next((name for name, mint in wants.mints.items() if mint == option.asset), None)
    if option.scheme != "exact":
        return refuse(Reason.UNSUPPORTED_SCHEME, f"only scheme 'exact' is paid, not {option.scheme[:40]!r}")
    if option.network != network:
        return refuse(Reason.UNSUPPORTED_NETWORK, f"we pay on {network}, not on {option.network[:60]!r}")
    if currency is None:
        known = ", ".join(wants.mints) or "none"
        return refuse(Reason.UNSUPPORTED_ASSET, f"asset {option.asset[:60]!r} is none that we can pay in ({known})")
    if not _AMOUNT.fullmatch(option.amount) or int(option.amount) > MAX_ATOMIC:
        return refuse(Reason.AMOUNT_INVALID, f"{option.amount[:40]!r} is not a whole amount within u64, above 0")
    if not _is_address(option.pay_to) or option.pay_to in wants.own_keys:
        return refuse(Reason.PAYEE_INVALID, f"{option.pay_to[:60]!r} cannot be paid")
    if option.fee_payer is None or not _is_address(option.fee_payer) or option.fee_payer in wants.own_keys:
        return refuse(Reason.FEE_PAYER_INVALID, "extra.feePayer must be the facilitator's address")
    if option.memo is not None and not _is_memo(option.memo):
        return refuse(Reason.MEMO_INVALID, f"extra.memo must be printable and have 1 to {MAX_MEMO_BYTES} bytes")
    amount_atomic = int(option.amount)
    if wants.max_price_atomic is not None and amount_atomic > wants.max_price_atomic:
        price, cap = show(amount_atomic, currency), show(wants.max_price_atomic, currency)
        return refuse(Reason.PRICE_ABOVE_MAXIMUM, f"{price} is asked, the maximum is {cap}")
    if currency in wants.budgets and amount_atomic > wants.budgets[currency]:
        price, left = show(amount_atomic, currency), show(wants.budgets[currency], currency)
        return refuse(Reason.ALLOWANCE_EXHAUSTED, f"{price} is asked, {left} is left of the session's allowance")
    return Offer(
        version=challenge.version,
        network=wants.network,
        currency=currency,
        mint=option.asset,
        amount_atomic=amount_atomic,
        pay_to=option.pay_to,
        fee_payer=option.fee_payer,
        memo=option.memo,
        accepted_raw=option.raw,
        resource_raw=challenge.resource_raw,
        extensions_raw=challenge.extensions_raw,
        payment_identifier=challenge.offers_payment_identifier,
    )


def _is_address(text: str) -> bool:
    """Base58 of exactly 32 bytes, as a Solana public key is written."""
    if not _ADDRESS.fullmatch(text):
        return False
    number = 0
    for char in text:
        number = number * 58 + _BASE58.index(char)
    zeros = len(text) - len(text.lstrip("1"))
    return zeros + (number.bit_length() + 7) // 8 == 32


def _is_memo(text: str) -> bool:
    """Printable, so that it can be stored and shown, and no longer than the scheme allows."""
    return text.isprintable() and 0 < len(text.encode()) <= MAX_MEMO_BYTES


def origin(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of an http(s) URL, default ports filled in; None when it has none (RFC 6454)."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    return parts.scheme, parts.hostname.lower(), port or (443 if parts.scheme == "https" else 80)
