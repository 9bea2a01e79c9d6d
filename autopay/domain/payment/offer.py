"""What a seller asks (`Challenge`), and what we agree to pay (`Offer`) or why not (`Refused`). Pure.

Nothing here signs, sends or remembers. The choice looks at the parsed fields only: whatever else the seller says
(an `error` text, a `currency` beside `asset`) is data to show, never an instruction.
"""

import re
import unicodedata
from typing import Literal

from autopay.domain.money import MAX_ATOMIC, Currency, show
from autopay.domain.network import Network, wire_name
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.values import Value

MAX_MEMO_BYTES = 256  # x402 SVM exact scheme, extra.memo
MAX_ACCEPTED_BYTES = 6_500
"""Of an entry of `accepts` in v2, which is echoed whole: the payment's header stays below the 16 kB that servers take
of all headers (Node.js; others of one header)."""

_ADDRESS = re.compile(r"[1-9A-HJ-NP-Za-km-z]{32,44}")
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_JOINERS, _EMOJI = "\u200c\u200d", range(0x1F000, 0x1FB00)
_AMOUNT = re.compile(r"[1-9][0-9]{0,19}", re.ASCII)


class Option(Value):
    """One entry of `accepts`, its fields read but not yet believed; `raw` is the entry as it came (JSON text)."""

    scheme: str
    network: str
    asset: str
    amount: str
    pay_to: str
    fee_payer: str | None
    memo: str | None
    raw: str


class Challenge(Value):
    """A 402 answer: what the seller would accept. JSON texts are kept as they came, to be echoed verbatim.

    `resource_url` is what the seller says that it sells, to be shown only: what is paid, known and limited by is the
    origin that was asked.
    """

    kind: Literal["challenge"] = "challenge"
    version: Literal[1, 2]
    options: tuple[Option, ...]
    resource_url: str | None = None
    resource_raw: str | None = None
    extensions_raw: str | None = None
    offers_payment_identifier: bool = False

    def addresses(self) -> frozenset[str]:
        """The payees and fee payers that its options name, as far as they are addresses at all."""
        named = (each for option in self.options for each in (option.pay_to, option.fee_payer))
        return frozenset(each for each in named if each is not None and _is_address(each))


class Offer(Value):
    """The option that we chose, believed: what is decided here is exactly what will be signed."""

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


class BuyerLimits(Value):
    """What the buyer brings to the choice: its limits, the currencies that it can pay in and what is left of each.

    `own_keys`: addresses of ours, in whatever currency, which may neither be paid nor pay the fees. `fee_payers`: when
    given, no other may pay the fees.
    """

    network: Network
    mints: dict[Currency, str]
    max_price_atomic: int | None = None
    budgets: dict[Currency, int] = {}
    own_keys: frozenset[str] = frozenset()
    fee_payers: frozenset[str] | None = None


def choose(challenge: Challenge, wants: BuyerLimits) -> Offer | Refused:
    """The cheapest option that every rule allows; ties go to the seller's order.

    When none is left, the refusal of the option that came furthest is returned, as it tells the caller most.
    """
    if not challenge.options:
        return Refused(reason=RefusalReason.OFFER_EMPTY, message="the seller's 402 names no way to pay")
    judged = [_judge(option, challenge, wants) for option in challenge.options]
    offers = [verdict for verdict in judged if isinstance(verdict, Offer)]
    if offers:
        return min(offers, key=lambda offer: offer.amount_atomic)
    refusals = [verdict for verdict in judged if isinstance(verdict, Refused)]
    return max(refusals, key=lambda refusal: _STAGES.index(refusal.reason))


_STAGES = (
    RefusalReason.UNSUPPORTED_SCHEME,
    RefusalReason.UNSUPPORTED_NETWORK,
    RefusalReason.UNSUPPORTED_ASSET,
    RefusalReason.AMOUNT_INVALID,
    RefusalReason.PAYEE_INVALID,
    RefusalReason.FEE_PAYER_INVALID,
    RefusalReason.MEMO_INVALID,
    RefusalReason.OFFER_TOO_LARGE,
    RefusalReason.PRICE_ABOVE_MAXIMUM,
    RefusalReason.ALLOWANCE_EXHAUSTED,
)


def _judge(option: Option, challenge: Challenge, wants: BuyerLimits) -> Offer | Refused:
    def refuse(reason: RefusalReason, message: str) -> Refused:
        return Refused(reason=reason, message=message)

    network = wire_name(wants.network, challenge.version)
    currency = next((name for name, mint in wants.mints.items() if mint == option.asset), None)
    if option.scheme != "exact":
        return refuse(RefusalReason.UNSUPPORTED_SCHEME, f"only scheme 'exact' is paid, not {option.scheme[:40]!r}")
    if option.network != network:
        return refuse(RefusalReason.UNSUPPORTED_NETWORK, f"we pay on {network}, not on {option.network[:60]!r}")
    if currency is None:
        known = ", ".join(wants.mints) or "none"
        return refuse(
            RefusalReason.UNSUPPORTED_ASSET, f"asset {option.asset[:60]!r} is none that we can pay in ({known})"
        )
    if not _AMOUNT.fullmatch(option.amount) or int(option.amount) > MAX_ATOMIC:
        return refuse(RefusalReason.AMOUNT_INVALID, f"{option.amount[:40]!r} is not a whole amount within u64, above 0")
    if not _is_address(option.pay_to) or option.pay_to in wants.own_keys:
        return refuse(RefusalReason.PAYEE_INVALID, f"{option.pay_to[:60]!r} cannot be paid")
    if option.fee_payer is None or not _is_address(option.fee_payer) or option.fee_payer in wants.own_keys:
        return refuse(RefusalReason.FEE_PAYER_INVALID, "extra.feePayer must be the facilitator's address")
    if wants.fee_payers is not None and option.fee_payer not in wants.fee_payers:
        message = f"the offer's fee payer {option.fee_payer} is none of the facilitators' in AUTOPAY_FACILITATOR_URLS"
        return refuse(RefusalReason.FEE_PAYER_INVALID, message)
    if option.memo is not None and not _is_memo(option.memo):
        return refuse(RefusalReason.MEMO_INVALID, f"extra.memo must be printable and have 1 to {MAX_MEMO_BYTES} bytes")
    if challenge.version == 2 and len(option.raw) > MAX_ACCEPTED_BYTES:
        message = f"the entry of accepts would not fit into a payment header: it has over {MAX_ACCEPTED_BYTES} bytes"
        return refuse(RefusalReason.OFFER_TOO_LARGE, message)
    amount_atomic = int(option.amount)
    if wants.max_price_atomic is not None and amount_atomic > wants.max_price_atomic:
        price, cap = show(amount_atomic, currency), show(wants.max_price_atomic, currency)
        return refuse(RefusalReason.PRICE_ABOVE_MAXIMUM, f"{price} is asked, the maximum is {cap}")
    if currency in wants.budgets and amount_atomic > wants.budgets[currency]:
        price, left = show(amount_atomic, currency), show(wants.budgets[currency], currency)
        return refuse(RefusalReason.ALLOWANCE_EXHAUSTED, f"{price} is asked, {left} is left of the session's allowance")
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
    """Fit to be stored and shown, and no longer than the scheme allows.

    Printable, or one of the others that scripts and emoji need: spaces, joiners, and emoji that are newer than this
    Python. Not: controls, line ends, and what turns text around or is invisible.
    """
    return all(map(_is_shown, text)) and 0 < len(text.encode()) <= MAX_MEMO_BYTES


def _is_shown(char: str) -> bool:
    return char.isprintable() or char in _JOINERS or unicodedata.category(char) == "Zs" or ord(char) in _EMOJI
