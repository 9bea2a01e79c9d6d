"""Any message, at any await, with steps that are slow, fail or are canceled: the workflows answer, and come to an end.

What the stories of both workflows have in common. The workflows are the real ones, on the SDK's own instance (core.py).
A workflow that fails its task is frozen on a server, and fails the test. `AUTOPAY_MESSAGES` says how many stories of
each are tried (`make messages`).
"""

import os
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from temporalio.exceptions import ApplicationError

from autopay.domain.refusal import RefusalReason, Refused
from tests.workflow.core import Core, Pending
from tests.workflow.messages import UNREADABLE

STORIES = int(os.environ.get("AUTOPAY_MESSAGES", "20"))
STEPS = 50

URL = "https://seller.example/feed"

readable = st.booleans() | st.just(True) | st.just(True)
bad = st.sampled_from(list(UNREADABLE.values()))
faults = st.sampled_from(["LedgerUnavailable", "ChainUnavailable", "UnknownAgent", "AttributeError", "Strange"])


def texts(longest: int) -> st.SearchStrategy[str]:
    """Texts of characters that are special somewhere; all of Unicode takes seconds to prepare, and finds no more."""
    return st.text("aZ0 /|<&'\"\\\0\x1b\n\u202eüß漢🎉", max_size=longest)


refusals = st.builds(Refused, reason=st.sampled_from(RefusalReason), message=texts(9))


class AnyMessage(RuleBasedStateMachine):
    """What both workflows live through: their steps end in any way, time passes, and messages come."""

    core: Core
    ends: tuple[str, ...] = ("complete_workflow_execution",)
    together = 0

    def result_of(self, pending: Pending, data: st.DataObject | None) -> object:
        """What a step that goes well returns; without `data` the result that lets the workflow end."""
        raise NotImplementedError

    def pick(self, data: st.DataObject, *kinds: str) -> Pending:
        """Something that the workflow waits for."""
        waiting = [each for each in self.core.pending.values() if each.kind in kinds]
        return data.draw(st.sampled_from(waiting), label="which")

    def waits_for(self, *kinds: str) -> bool:
        return self.core.ended is None and any(each.kind in kinds for each in self.core.pending.values())

    @rule(things=st.integers(1, 3))
    def things_happen_together(self, things: int) -> None:
        """The next ones reach the workflow in one activation."""
        self.together = things

    @precondition(lambda self: self.waits_for("activity", "local activity"))
    @rule(data=st.data())
    def a_step_goes_well(self, data: st.DataObject) -> None:
        pending = self.pick(data, "activity", "local activity")
        self.core.succeed(pending, self.result_of(pending, data))

    @precondition(lambda self: self.waits_for("activity", "local activity"))
    @rule(data=st.data(), fault=faults)
    def a_step_fails(self, data: st.DataObject, fault: str) -> None:
        pending = self.pick(data, "activity", "local activity")
        if pending.canceled and data.draw(st.booleans(), label="canceled"):
            self.core.end_canceled(pending)
        elif pending.kind == "local activity" and data.draw(st.booleans(), label="backs off"):
            self.core.back_off(pending, timedelta(seconds=1))
        else:
            self.core.fail(pending, ApplicationError("no", type=fault))

    @precondition(lambda self: self.waits_for("external signal", "external cancel"))
    @rule(data=st.data(), gone=st.booleans())
    def another_workflow_is_reached(self, data: st.DataObject, gone: bool) -> None:
        self.core.reach(self.pick(data, "external signal", "external cancel"), gone=gone)

    @rule(seconds=st.sampled_from([0.2, 1, 5, 61, 4000]))
    def time_passes(self, seconds: float) -> None:
        self.core.pass_time(timedelta(seconds=seconds))

    @rule(of=st.integers(0, 9))
    def somebody_cancels_the_workflow(self, of: int) -> None:
        if of == 0:
            self.core.cancel()

    @rule()
    def the_history_is_long(self) -> None:
        self.core.suggest_new_run = True

    @invariant()
    def it_answers(self) -> None:
        if self.together > 0:
            self.together -= 1
            return
        self.core.send()
        if self.core.ended is None:
            self.check_answer()

    def check_answer(self) -> None:
        assert self.core.query("__stack_trace") is not None

    def come_to_an_end(self) -> None:
        """Everything goes well from now on."""
        self.together = 0
        for _ in range(300):
            self.core.send()
            if self.core.ended is not None:
                break
            self.it_answers()
            for pending in list(self.core.pending.values()):
                match pending.kind:
                    case "activity" | "local activity":
                        if pending.canceled:
                            self.core.end_canceled(pending)
                        elif pending.name != "wait_for_top_up":
                            self.core.succeed(pending, self.result_of(pending, None))
                    case "child start":
                        self.core.start_child(pending)
                    case "external signal" | "external cancel":
                        self.core.reach(pending)
            self.core.pass_time(timedelta(seconds=61))
        assert self.core.ended is not None, f"it does not end: {list(self.core.pending.values())}"
        assert self.core.ended.WhichOneof("variant") in self.ends, self.core.ended


def how_many(stories: int) -> Any:
    """Settings for so many stories."""
    return settings(
        max_examples=stories,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize="AUTOPAY_MESSAGES" not in os.environ,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
