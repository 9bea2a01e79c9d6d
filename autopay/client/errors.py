"""What a call can end with instead of its answer: one tree, `AutopayError`.

| class | means | the same call again |
|---|---|---|
| `InvalidCall` | a value, an id or a name that cannot be | fails again |
| `Misconfigured` | a setting is missing, wrong or not this ledger's | fails until it is set right |
| `Unreachable` | the ledger, Temporal, agent or gateway does not answer | may work; the same id never pays twice |
| `NotBought` | the request ended without content, or has not ended yet; `purchase` says how | see its subclasses |
| `CallFailed` | anything else | may work |

`type` is a stable name for programs; the message is a sentence for people, which says what to do.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from autopay.domain.errors import Fault, SettingsError, TransientFault, UnknownAgent, UnknownRequest, stable_name
from autopay.domain.text.command_line import command_line, worker_command_line

if TYPE_CHECKING:
    from temporalio.client import WorkflowExecutionStatus
    from temporalio.service import RPCError

    from autopay.client.values import Purchase
    from autopay.domain.request import RequestError

logger = logging.getLogger(__name__)


class AutopayError(Exception):
    """A call of Autopay did not end with its answer."""

    type = "call_failed"

    request_id: str | None = None
    """The id to ask again with: the request may be under way all the same."""

    told: str | None = None
    """What callers from elsewhere are told in place of the message, where that names servers; None: the message."""

    def __init__(self, message: str, kind: str | None = None) -> None:
        super().__init__(message)
        if kind is not None:
            self.type = kind


class InvalidCall(AutopayError):
    """What was asked for cannot be."""

    type = "invalid_call"


class Misconfigured(AutopayError):
    """A setting is missing or wrong, or this is not the ledger that it should be."""

    type = "misconfigured"


class Unreachable(AutopayError):
    """Something that is needed does not answer."""

    type = "unreachable"


class CallFailed(AutopayError):
    """The call itself failed."""


class NotBought(AutopayError):
    """There is no content: `purchase` is how the request stands."""

    type = "not_bought"

    def __init__(self, purchase: Purchase, message: str) -> None:
        super().__init__(message, purchase.error.type if purchase.error is not None else purchase.status.value)
        self.purchase = purchase


class PurchaseRefused(NotBought):
    """Refused by a rule, the terms or a person: `type` names the rule. Nothing was paid."""


class PurchaseFailed(NotBought):
    """The seller did not answer as it should; it is proven that nothing was paid."""


class PurchaseUndelivered(NotBought):
    """It is paid, and there is no content (yet): the same id never pays again, and has the content once it comes."""


class PurchaseUnfinished(NotBought):
    """It has not ended within the time: the same id goes on waiting, and never pays twice."""


class TermsDiffer(InvalidCall):
    """The id belongs to a request with other terms, which `purchase` is."""

    type = "terms_differ"

    def __init__(self, purchase: Purchase, message: str) -> None:
        super().__init__(message)
        self.purchase = purchase


class NotDecided(AutopayError):
    """A question to a person can no longer be decided so."""

    type = "not_decided"


class NotDecidedYet(AutopayError):
    """The payment could not take a person's decision now, and can soon."""

    type = "not_decided_yet"


# The agent that does not answer


class AgentNotRunning(InvalidCall):
    """No workflow of that agent runs."""

    type = "agent_not_running"

    def __init__(self, name: str) -> None:
        launch = command_line("launch", name)
        super().__init__(f"agent {name!r} is not running; launch it: {launch}")


class AgentEndedBadly(InvalidCall):
    """The agent's workflow has ended, and not by itself."""

    type = "agent_ended"

    def __init__(self, name: str, status: WorkflowExecutionStatus | None) -> None:
        how = "has ended" if status is None else f"has ended: {status.name.lower().replace('_', ' ')}"
        super().__init__(f"agent {name!r} {how}; bring it back: {command_line('revive', name)}")


class AgentNotAnswering(Unreachable):
    """The agent's workflow runs, and no worker answers for it."""

    type = "agent_not_answering"


class AgentRefused(Exception):
    """The agent did not accept a request."""

    def __init__(self, error: RequestError) -> None:
        super().__init__(error.message)
        self.error = error


def start_worker() -> str:
    """What to do when no worker runs, in words."""
    return f"start one: {worker_command_line()}"


def temporal_error(error: RPCError) -> Unreachable:
    """What to tell of an error that Temporal answers with."""
    found = Unreachable(f"Temporal answers with an error: {error.message}", "temporal_error")
    found.told = "Temporal answers with an error"
    return found


def named(fault: Fault | SettingsError) -> AutopayError:
    """The error of this tree that a fault of the ledger, the chain or the settings is for a caller."""
    if isinstance(fault, SettingsError):
        return Misconfigured(str(fault))
    kind = stable_name(type(fault).__name__)
    if isinstance(fault, UnknownAgent | UnknownRequest):
        return InvalidCall(str(fault), kind)
    found = Unreachable(str(fault), kind) if isinstance(fault, TransientFault) else Misconfigured(str(fault), kind)
    found.told = fault.told
    return found


def told_text(error: AutopayError | Fault | SettingsError) -> str:
    """The message for a caller from elsewhere; what it leaves out, as it may name servers of ours, is logged."""
    message = str(error)
    told = (None if isinstance(error, SettingsError) else error.told) or message
    if told != message:
        logger.warning("%s", message)
    return told
