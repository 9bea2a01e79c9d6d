"""What an agent has done since its launch, counted: its requests and money, and the signals that it dropped. Pure."""

from pydantic import BaseModel

from autopay.domain.money import Currency
from autopay.domain.payment.notice import Notice
from autopay.domain.request import RequestStatus
from autopay.domain.unreadable import DroppedSignal

MAX_MESSAGE_LENGTH = 200
"""Characters of a message that is kept."""

MAX_LAST_NOTICES = 10


class Counters(BaseModel):
    """What the agent has done since its launch; `demo_from` is `payments` at the start of the present phase."""

    payments: int = 0
    demo_from: int = 0
    by_status: dict[RequestStatus, int] = {}
    spent_atomic: dict[Currency, int] = {}
    last: list[Notice] = []

    def count(self, status: RequestStatus) -> None:
        """A request was answered with this status."""
        self.by_status[status] = self.by_status.get(status, 0) + 1

    def record_payment(self, currency: Currency, amount_atomic: int) -> None:
        """A payment was answered."""
        self.payments += 1
        self.spent_atomic[currency] = self.spent_atomic.get(currency, 0) + amount_atomic

    def keep_notice(self, notice: Notice) -> None:
        """Keep the newest notice of each of the last requests, the newest first."""
        kept = notice.model_copy(update={"message": shortened(notice.message)})
        self.last = [kept, *(each for each in self.last if each.request_id != notice.request_id)][:MAX_LAST_NOTICES]


class DroppedSignals(BaseModel):
    """Signals that could not be read: how many, and the last one."""

    count: int = 0
    last: DroppedSignal | None = None

    def add(self, dropped: DroppedSignal) -> None:
        """One more was dropped."""
        self.count += 1
        self.last = dropped


def shortened(message: str | None) -> str | None:
    """A message as it is kept."""
    return message and message[:MAX_MESSAGE_LENGTH]
