"""Which error of a library an `AutopayError` becomes, and what that one tells of it."""

from enum import Enum

from autopay.client.errors import (
    AutopayError,
    InvalidCall,
    Misconfigured,
    NotBought,
    PurchaseFailed,
    PurchaseRefused,
    PurchaseUndelivered,
    PurchaseUnfinished,
    TermsDiffer,
    Unreachable,
)
from autopay.client.values import Purchase


class Ending(Enum):
    """How a call ends without an answer; each library has a class for each."""

    REFUSED = "refused"
    FAILED = "failed"
    UNDELIVERED = "undelivered"
    UNFINISHED = "unfinished"
    UNREACHABLE = "unreachable"
    INVALID = "invalid"
    OTHER = "other"


_ENDINGS: tuple[tuple[type[AutopayError], Ending], ...] = (
    (PurchaseRefused, Ending.REFUSED),
    (PurchaseFailed, Ending.FAILED),
    (PurchaseUndelivered, Ending.UNDELIVERED),
    (PurchaseUnfinished, Ending.UNFINISHED),
    (Unreachable, Ending.UNREACHABLE),
    (InvalidCall, Ending.INVALID),
    (Misconfigured, Ending.INVALID),
)


def ending_of(error: AutopayError) -> Ending:
    """What that error is to a library."""
    return next((ending for kind, ending in _ENDINGS if isinstance(error, kind)), Ending.OTHER)


def nothing_is_owed(error: AutopayError) -> bool:
    """Whether it is certain that the call has bought nothing and will buy nothing: another one may begin anew."""
    return isinstance(error, PurchaseRefused | PurchaseFailed | InvalidCall | Misconfigured)


class NamedCause(Exception):
    """Part of every error of the transports: its cause, in names for programs."""

    @property
    def error(self) -> AutopayError:
        """The error of `autopay.client.errors` that it was raised from."""
        assert isinstance(self.__cause__, AutopayError)
        return self.__cause__

    @property
    def type(self) -> str:
        """A stable name: the rule that refused, `unreachable`, `terms_differ`, …"""
        return self.error.type

    @property
    def purchase(self) -> Purchase | None:
        """How the purchase stands; None when there is none."""
        return self.error.purchase if isinstance(self.error, NotBought | TermsDiffer) else None

    @property
    def request_id(self) -> str | None:
        """The id to ask again with, as an idempotency key; None when nothing has been begun."""
        return self.purchase.id if self.purchase is not None else self.error.request_id
