"""Sellers that try what a person has not allowed: limits, payees, prices that creep, terms changed after a yes."""

from autopay.domain.money import Currency
from autopay.domain.phase import Phase
from autopay.domain.policy.policy import Policy
from autopay.domain.refusal import RefusalReason
from tests.hostile.asking import asks
from tests.hostile.conduct import delivers, in_turn, settles
from tests.hostile.scene import ALLOWANCE, MOST, PRICE, its, key
from tests.hostile.shop import Act
from tests.hostile.way import DELIVERED, Way, refused

DENIED = refused(RefusalReason.APPROVAL_DENIED)

_LIMITS = [
    Way(
        name="above the limit of a request",
        does="asks for more than policy allows a request",
        plain=asks(),
        ends=(refused(RefusalReason.ABOVE_REQUEST_LIMIT),),
        policy=Policy(per_request_atomic=PRICE - 1),
    ),
    Way(
        name="above a host's day",
        does="asks twice, which is too much for a day at one host",
        plain=asks(),
        ends=(DELIVERED, refused(RefusalReason.HOST_DAY_LIMIT)),
        moves=PRICE,
        policy=Policy(per_host_day_atomic=2 * PRICE - 1),
    ),
    Way(
        name="above an agent's day",
        does="asks twice, which is too much for a day",
        plain=asks(),
        ends=(DELIVERED, refused(RefusalReason.AGENT_DAY_LIMIT)),
        moves=PRICE,
        policy=Policy(per_agent_day_atomic=2 * PRICE - 1),
    ),
    Way(
        name="above the allowance",
        does="asks for one unit more than the session may spend, of which its account has plenty",
        plain=asks(amount=str(ALLOWANCE + 1)),
        ends=(refused(RefusalReason.ALLOWANCE_EXHAUSTED),),
        most=None,
    ),
    Way(
        name="above what is left of the allowance",
        does="takes half of the allowance, and then one unit more than the rest",
        plain=in_turn(asks(amount=str(ALLOWANCE // 2)), asks(amount=str(ALLOWANCE // 2 + 1))),
        ends=(DELIVERED, refused(RefusalReason.ALLOWANCE_EXHAUSTED)),
        moves=ALLOWANCE // 2,
        most=None,
    ),
    Way(
        name="host not allowed",
        does="is none of the hosts that policy allows",
        plain=asks(),
        ends=(refused(RefusalReason.HOST_NOT_ALLOWED),),
        policy=Policy(hosts=("market.example",)),
    ),
    Way(
        name="payee not allowed",
        does="is paid at an address that policy does not list",
        plain=asks(),
        ends=(refused(RefusalReason.PAYEE_NOT_ALLOWED),),
        policy=Policy(payees=(str(key("somebody else").pubkey()),)),
    ),
    Way(
        name="currency not allowed",
        does="asks for a currency that policy does not list",
        plain=asks(),
        ends=(refused(RefusalReason.CURRENCY_NOT_ALLOWED),),
        policy=Policy(currencies=(Currency.CASH,)),
    ),
]

ELSEWHERE = {"resource": {"url": "https://market.example/data"}}

_NAMES = [
    Way(
        name="resource of an allowed host",
        does="calls itself by the name of the only host that policy allows",
        plain=asks(top=ELSEWHERE),
        ends=(refused(RefusalReason.HOST_NOT_ALLOWED),),
        policy=Policy(hosts=("market.example",)),
    ),
    Way(
        name="resource of another host on the day's second payment",
        does="calls itself by another host's name, so that another day's limit might pay",
        plain=in_turn(asks(), asks(top=ELSEWHERE)),
        ends=(DELIVERED, refused(RefusalReason.HOST_DAY_LIMIT)),
        moves=PRICE,
        policy=Policy(per_host_day_atomic=2 * PRICE - 1),
    ),
    Way(
        name="resource of a host that was never paid",
        does="is paid once, and then wants the money at the thief's address under another host's name",
        plain=in_turn(asks(), asks(top=ELSEWHERE, payTo=its("thief"))),
        ends=(DELIVERED, refused(RefusalReason.PAYEE_CHANGED)),
        moves=PRICE,
    ),
    Way(
        name="resource that was never priced",
        does="raises its price under another path's name",
        plain=in_turn(asks(), asks(top=ELSEWHERE, amount=str(3 * PRICE + 1))),
        ends=(DELIVERED, refused(RefusalReason.PRICE_JUMP)),
        moves=PRICE,
        most=None,
    ),
]

_CHANGES = [
    Way(
        name="payee swapped after the first payment",
        does="is paid once, and then wants the money at the thief's address",
        plain=in_turn(asks(), asks(payTo=its("thief"))),
        ends=(DELIVERED, refused(RefusalReason.PAYEE_CHANGED)),
        moves=PRICE,
    ),
    Way(
        name="payee swapped in the second of two ways to pay",
        does="is paid once, and then offers the thief's address for half the price",
        plain=in_turn(asks(), asks(payTo=its("thief"), amount=str(PRICE // 2))),
        ends=(DELIVERED, refused(RefusalReason.PAYEE_CHANGED)),
        moves=PRICE,
    ),
    Way(
        name="price jumps",
        does="asks for more than three times the last price",
        plain=in_turn(asks(), asks(amount=str(3 * PRICE + 1))),
        ends=(DELIVERED, refused(RefusalReason.PRICE_JUMP)),
        moves=PRICE,
        most=None,
    ),
    Way(
        name="price creeps",
        does="triples its price as often as it can",
        plain=in_turn(asks(), asks(amount=str(3 * PRICE)), asks(amount=str(9 * PRICE))),
        ends=(DELIVERED, DELIVERED, refused(RefusalReason.PRICE_ABOVE_MAXIMUM)),
        moves=4 * PRICE,
    ),
]


def _asked(name: str, does: str, plain: Act, *, approves: int, asked: int) -> Way:
    return Way(
        name=name,
        does=does,
        plain=plain,
        ends=(DENIED,),
        phase=Phase.INTERACTIVE,
        approves=approves,
        asked=asked,
    )


_APPROVALS = [
    _asked("a person says no", "asks for a price that a person denies", asks(), approves=0, asked=1),
    _asked(
        "price raised after approval",
        "asks for more once a person said yes: that yes was for other terms",
        in_turn(asks(), asks(amount=str(2 * PRICE))),
        approves=1,
        asked=2,
    ),
    _asked(
        "price lowered after approval",
        "asks for less once a person said yes: other terms all the same",
        in_turn(asks(), asks(amount=str(PRICE // 2))),
        approves=1,
        asked=2,
    ),
    _asked(
        "payee swapped after approval",
        "names the thief once a person said yes",
        in_turn(asks(), asks(payTo=its("thief"))),
        approves=1,
        asked=2,
    ),
    Way(
        name="price raised after an approved payment was turned down",
        does="turns the approved payment down, and asks for more",
        plain=in_turn(asks(), asks(), asks(amount=str(2 * PRICE))),
        paid=asks(amount=str(2 * PRICE)),
        ends=(DENIED,),
        signs=1,
        phase=Phase.INTERACTIVE,
        approves=1,
        asked=2,
    ),
    Way(
        name="an approval is good for one payment",
        does="is paid with a person's yes, and wants another payment by it",
        plain=asks(),
        paid=settles(delivers()),
        ends=(DELIVERED, DENIED),
        moves=PRICE,
        phase=Phase.INTERACTIVE,
        approves=1,
        asked=2,
    ),
    Way(
        name="a maximum holds whatever a person says",
        does="asks for more than the caller allows, from an agent whose person says yes to all",
        plain=asks(amount=str(MOST + 1)),
        ends=(refused(RefusalReason.PRICE_ABOVE_MAXIMUM),),
        phase=Phase.INTERACTIVE,
        approves=9,
    ),
]

WAYS = [*_LIMITS, *_NAMES, *_CHANGES, *_APPROVALS]
