"""Amounts that are none, or that two readers could read differently: all in one offer, as one that passed is paid."""

from typing import Any

from autopay.domain.refusal import RefusalReason
from tests.hostile.asking import GONE, asks, lists
from tests.hostile.way import Way, refused

_TEXTS = (
    str(2**64), "1" + "0" * 40, "9" * 10_000, "0", "-1000", "+1000", "1000.0", "1e3", "0x3e8", "0001000", "1_000",
    "1,000", " 1000", "1000 ", "1000\n", "1000\0", "1000\u200b", "１０００", "١٠٠٠", "10²", "Infinity", "NaN", "",
    "1000*1", "'1000'", "0b1111101000", "\u22121000",
)  # fmt: skip

_VALUES: tuple[Any, ...] = (1000, 1000.5, 10**40, None, True, ["1000"], {"amount": "1000"}, GONE)

WAYS = [
    Way(
        name="amounts that are none",
        does=f"lists {len(_TEXTS)} amounts: beyond u64, signed, broken, in other digits or notations",
        plain=lists(2, *({"amount": text} for text in _TEXTS)),
        ends=(refused(RefusalReason.AMOUNT_INVALID),),
        most=None,
    ),
    Way(
        name="amounts that are none in v1",
        does="the same in the old protocol",
        plain=lists(1, *({"maxAmountRequired": text} for text in _TEXTS)),
        ends=(refused(RefusalReason.AMOUNT_INVALID),),
        most=None,
    ),
    Way(
        name="amounts that are no text",
        does="gives the amount as a number, null, a list, an object, or not at all",
        plain=lists(2, *({"amount": value} for value in _VALUES)),
        ends=(refused(RefusalReason.OFFER_MALFORMED),),
        most=None,
    ),
    *(
        Way(
            name=f"amount {name}",
            does=f"asks for {amount!r}",
            plain=asks(amount=amount),
            ends=(refused(RefusalReason.AMOUNT_INVALID),),
            most=None,
        )
        for name, amount in (("2^64", str(2**64)), ("zero", "0"), ("negative", "-1"), ("1e3", "1e3"))
    ),
]
