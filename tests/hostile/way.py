"""One way of taking more than was agreed, or of confusing a buyer: what is done, and what must come of it."""

from dataclasses import dataclass, field

from autopay.domain.phase import Phase
from autopay.domain.policy.policy import Policy
from autopay.domain.refusal import RefusalReason
from autopay.domain.request import RequestStatus
from tests.hostile.accounts import USDC, Mint
from tests.hostile.conduct import delivers, settles
from tests.hostile.scene import MOST
from tests.hostile.shop import Act


@dataclass(frozen=True)
class End:
    """How a request must end, and the name of what ended it."""

    status: RequestStatus
    error: str | None = None


DELIVERED, FREE = End(RequestStatus.DELIVERED), End(RequestStatus.FREE)
UNDELIVERED = End(RequestStatus.UNDELIVERED, "paid_undelivered")
UNSETTLED = End(RequestStatus.FAILED, "payment_not_settled")
UNAVAILABLE = End(RequestStatus.FAILED, "seller_unavailable")


def refused(reason: RefusalReason) -> End:
    """Refused by that rule."""
    return End(RequestStatus.REFUSED, reason.value)


def failed(error: str) -> End:
    """Failed with that name."""
    return End(RequestStatus.FAILED, error)


@dataclass(frozen=True)
class Way:
    """A row of the tables.

    `ends` has one end for each request, made one after the other. `moves` is exactly how many base units leave the
    session's account. `signs` is how many different payments the seller gets to see when nothing moves: 0 unless
    said otherwise. `approves` are how many questions a person answers with yes, `asked` how many there must be.
    `redirects` says that its paid answer leads to another address, which gets a plain question and no payment. `late`
    says that a payment of a way dies, or nearly does, before something moves.
    """

    name: str
    does: str
    plain: Act
    ends: tuple[End, ...]
    paid: Act = field(default_factory=lambda: settles(delivers()))
    moves: int = 0
    signs: int = 0
    policy: Policy = field(default_factory=Policy)
    phase: Phase = Phase.FULL
    most: int | None = MOST
    mint: Mint = USDC
    frozen_payee: bool = False
    impatient: bool = False
    approves: int = 0
    asked: int = 0
    late: bool = False
    redirects: bool = False

    @property
    def waits(self) -> bool:
        """Whether it takes the death of a payment, which is a hundred and fifty blocks away."""
        return self.late or self.signs > 0

    def __str__(self) -> str:
        return self.name.replace(" ", "-")
