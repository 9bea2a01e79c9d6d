"""Why something is not paid: an expected outcome, and its stable names."""

from enum import StrEnum
from typing import Literal

from autopay.domain.values import Value


class RefusalReason(StrEnum):
    """Why a request is refused before anything is paid; stable names for programs.

    `offers_disagree` and `origin_mismatch` are in ledgers of before; nothing is refused for these any more.
    """

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


class Refused(Value):
    """A decision not to pay; an expected outcome, not an error."""

    kind: Literal["refused"] = "refused"
    reason: RefusalReason
    message: str
