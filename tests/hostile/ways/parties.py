"""Offers that name the wrong people: payees, fee payers, and memos to confuse payments with each other."""

from autopay.domain.refusal import RefusalReason
from tests.hostile.accounts import USDC
from tests.hostile.asking import GONE, asks, lists
from tests.hostile.scene import FACILITATOR, PRICE, Scene, its
from tests.hostile.way import DELIVERED, UNSETTLED, Way, refused

EVM = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"


def _spaced(scene: Scene) -> str:
    return f"{scene.address('payee')} "


def _twice(scene: Scene) -> str:
    return scene.address("payee") * 2


_PAYEES = [
    Way(name=f"payee {name}", does=does, plain=asks(payTo=payee), ends=(refused(reason),))
    for name, does, payee, reason in (
        ("our own wallet", "wants us to pay ourselves", its("owner"), RefusalReason.PAYEE_INVALID),
        ("our session key", "wants us to pay our session key", its("session"), RefusalReason.PAYEE_INVALID),
        ("our source account", "wants us to pay our own account", its("source"), RefusalReason.PAYEE_INVALID),
        ("our other wallet", "wants us to pay the wallet of our other currency", its("other owner"),
         RefusalReason.PAYEE_INVALID),
        ("our other session key", "wants us to pay the key of our other currency", its("other session"),
         RefusalReason.PAYEE_INVALID),
        ("our other source account", "wants us to pay our account of the other currency", its("other source"),
         RefusalReason.PAYEE_INVALID),
        ("without an account", "cannot be paid at all", its("nobody"), RefusalReason.PAYEE_ACCOUNT_MISSING),
        ("a token account", "names an account for a wallet", lambda scene: str(scene.account_of("payee")),
         RefusalReason.PAYEE_ACCOUNT_MISSING),
        ("a program", "names the token program", str(USDC.program), RefusalReason.PAYEE_ACCOUNT_MISSING),
    )
] + [
    Way(
        name="payees that are no address",
        does="lists payees of another chain, a domain, junk, and a good address with something around it",
        plain=lists(2, *({"payTo": each} for each in (EVM, "seller.sol", "", "0OIl", "1" * 31, _spaced, _twice))),
        ends=(refused(RefusalReason.PAYEE_INVALID),),
    ),
]  # fmt: skip

_FEE_PAYERS = [
    Way(
        name=f"fee payer {name}",
        does="wants us to pay the fees",
        plain=asks(extra={"feePayer": payer}),
        ends=(refused(RefusalReason.FEE_PAYER_INVALID),),
    )
    for name, payer in (
        ("our own wallet", its("owner")),
        ("our session key", its("session")),
        ("our source account", its("source")),
        ("our other wallet", its("other owner")),
        ("our other session key", its("other session")),
        ("our other source account", its("other source")),
        ("our associated account", lambda scene: str(scene.account_of("owner"))),
    )
] + [
    Way(
        name="fee payers that are none",
        does="lists fee payers that are junk, of another type, or missing",
        plain=lists(2, *({"extra": {"feePayer": each}} for each in ("0OIl", "", 7, None, ["x"], EVM, GONE))),
        ends=(refused(RefusalReason.FEE_PAYER_INVALID),),
    ),
    Way(
        name="fee payer that cannot sign",
        does="names the mint as fee payer: the payment stays a piece of paper",
        plain=asks(extra={"feePayer": lambda scene: str(scene.mint.address)}),
        ends=(UNSETTLED,),
        signs=3,
    ),
]

_MEMOS = [
    Way(
        name="memos that cannot be shown",
        does="lists memos of 10 kB, of 257 bytes, with control characters, or that turn text around",
        plain=lists(
            2,
            *(
                {"extra": {"feePayer": str(FACILITATOR.pubkey()), "memo": memo}}
                for memo in (
                    *("x" * 10_000, "x" * 257, "\u6f22" * 86, "a\0\x1b[2Jb", "paid\nrefunded", "paid \u202e dnufer"),
                    *("paid\u2028refunded", "paid\u200b", "paid\U000e0067", "\ud83d"),
                )
            ),
        ),
        ends=(refused(RefusalReason.MEMO_INVALID),),
    ),
    Way(
        name="one memo for two payments",
        does="wants the same memo twice: neither payment passes for the other",
        plain=asks(extra={"memo": "invoice-7"}),
        ends=(DELIVERED, DELIVERED),
        moves=2 * PRICE,
    ),
    Way(
        name="memo as long as may be",
        does="wants 256 bytes of memo",
        plain=asks(extra={"memo": "x" * 256}),
        ends=(DELIVERED,),
        moves=PRICE,
    ),
    *(
        Way(
            name=f"memo of {name}",
            does="wants a memo that costs far more compute than its bytes",
            plain=asks(extra={"memo": memo}),
            ends=(DELIVERED,),
            moves=PRICE,
        )
        for name, memo in (
            ("emoji", "order \U0001f680 \u00e9 7"),
            ("64 emoji", "\U0001f680" * 64),
            ("85 Han characters", "\u6f22" * 85),
            ("the dearest character there is", "\ufffd" * 85),
        )
    ),
]

WAYS = [*_PAYEES, *_FEE_PAYERS, *_MEMOS]
