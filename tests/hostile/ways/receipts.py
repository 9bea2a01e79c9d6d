"""Receipts that lie: the goods or a refusal come with a claim, and only the chain is believed."""

from typing import Any

from tests.hostile.asking import asks
from tests.hostile.conduct import GOODS, RECEIPT_HEADERS, delivers, in_turn, receipt_of, says, settles
from tests.hostile.scene import PRICE, Scene, key
from tests.hostile.way import DELIVERED, UNDELIVERED, UNSETTLED, Way

MADE_UP = str(key("made up").sign_message(b"never sent"))


def _earlier(scene: Scene) -> dict[str, Any]:
    return next(iter(scene.receipts.values()))


def _strangers(scene: Scene) -> dict[str, Any]:
    return receipt_of(scene.places.stranger)


_UNPAID = [
    Way(
        name=f"goods with {name}",
        does=f"delivers without settling, with {name}: the money stays ours, and is booked as not spent",
        plain=asks(),
        paid=delivers(receipt=receipt),
        ends=(DELIVERED,),
        signs=1,
    )
    for name, receipt in (
        ("no receipt", None),
        ("a made-up receipt", receipt_of(MADE_UP)),
        ("a receipt without a transaction", receipt_of(None)),
        ("a stranger's receipt", _strangers),
        ("a receipt of noise", receipt_of("\x1b[2J" + "x" * 20_000)),
        ("a receipt of numbers", {"success": 1, "transaction": 7, "network": None}),
        ("a nested receipt", receipt_of(MADE_UP, extensions={"a": [[[[1e300]]]], "\u0000": "\ud800"})),
    )
]

_RAW = [
    Way(
        name=f"goods with a receipt that is {name}",
        does="delivers without settling, with a receipt that cannot be read",
        plain=asks(),
        paid=says(200, [("PAYMENT-RESPONSE", value)], GOODS),
        ends=(DELIVERED,),
        signs=1,
    )
    for name, value in (("no base64", "%%%"), ("null", "bnVsbA=="), ("90 kB", "A" * 90_000))
]

WAYS = [
    *_UNPAID,
    *_RAW,
    Way(
        name="replayed receipt",
        does="is paid once, and shows that receipt for the second payment, which it does not settle",
        plain=asks(),
        paid=in_turn(settles(delivers()), delivers(receipt=_earlier)),
        ends=(DELIVERED, DELIVERED),
        moves=PRICE,
    ),
    Way(
        name="replayed receipt under one memo",
        does="the same, with a memo that both payments share",
        plain=asks(extra={"memo": "invoice-7"}),
        paid=in_turn(settles(delivers()), delivers(receipt=_earlier)),
        ends=(DELIVERED, DELIVERED),
        moves=PRICE,
    ),
    Way(
        name="no goods with a made-up receipt",
        does="says to every payment that it has settled, and asks for another",
        plain=asks(),
        paid=delivers(status=402, receipt=receipt_of(MADE_UP)),
        ends=(UNSETTLED,),
        signs=3,
    ),
    Way(
        name="pending for ever",
        does="says to every payment that it was sent, as a stranger's transaction, and delivers nothing",
        plain=asks(),
        paid=delivers(
            status=402,
            receipt=lambda scene: receipt_of(scene.places.stranger, success=False, errorReason="settlement_pending"),
        ),
        ends=(UNSETTLED,),
        signs=3,
    ),
    Way(
        name="settled and denied",
        does="settles, and says in its receipt that it failed",
        plain=asks(),
        paid=settles(delivers(status=402, receipt=receipt_of(None, success=False, errorReason="insufficient_funds"))),
        ends=(UNDELIVERED,),
        moves=PRICE,
    ),
    Way(
        name="settled with a stranger's receipt",
        does="settles and delivers, and names another transaction",
        plain=asks(),
        paid=settles(delivers(receipt=_strangers)),
        ends=(DELIVERED,),
        moves=PRICE,
    ),
    Way(
        name="v1 settled with the receipt of v2",
        does="settles and delivers under v1, with both receipts' headers at odds",
        plain=asks(version=1),
        paid=settles(
            says(200, [(name, "bnVsbA==") for name in RECEIPT_HEADERS.values()], GOODS),
        ),
        ends=(DELIVERED,),
        moves=PRICE,
    ),
]
