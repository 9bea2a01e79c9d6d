"""What comes to an agent between two of its steps, on the SDK's own instance (core.py)."""

from datetime import timedelta

from autopay.domain.agent.spec import AgentSpec, Watch
from autopay.domain.agent.status import AgentStatus
from autopay.domain.agent.steps import Backlog, Enqueued
from autopay.domain.phase import Phase
from autopay.domain.request import RequestSpec, RequestStatus
from tests.workflow.core import CONVERTER, Core, to_payload
from workflows.agent import Agent

URL = "https://seller.example/feed"


def launched(*watches: Watch) -> Core:
    """An agent that has begun to read its ledger."""
    core = Core(Agent, [AgentSpec(name="tester", phase=Phase.FULL, watches=watches)])
    core.send()
    return core


def begun(core: Core) -> None:
    """It has read the ledger, which has nothing, and keeps itself there."""
    done(core, "recover", Backlog())
    done(core, "save_agent", None)


def done(core: Core, name: str, result: object) -> None:
    """The step has ended."""
    core.succeed(core.step(name), result)
    core.send()


def status_of(core: Core) -> AgentStatus:
    answer = core.query("status")
    assert answer is not None
    (status,) = CONVERTER.payload_converter.from_payloads([answer], [AgentStatus])
    assert isinstance(status, AgentStatus)
    return status


W1, W2 = (Watch(name=name, url=f"{URL}?{name}", every_s=1) for name in ("w1", "w2"))


def test_a_watch_that_is_removed_while_another_is_enqueued_is_not_enqueued() -> None:
    core = launched(W1, W2)
    begun(core)
    done(core, "balances", [])
    core.pass_time(timedelta(seconds=5))
    core.send()
    for name in ("w1", "w2"):
        core.update("unwatch", [to_payload(name)])
    core.send()
    done(core, "enqueue", Enqueued(status=RequestStatus.FREE))
    done(core, "save_agent", None)
    assert [each.name for each in core.pending.values() if each.name] == []
    assert status_of(core).watches == ()


def test_a_watch_that_is_replaced_while_another_is_enqueued_is_bought_when_it_is_due() -> None:
    core = launched(W1, W2)
    begun(core)
    done(core, "balances", [])
    core.pass_time(timedelta(seconds=5))
    core.send()
    core.update("watch", [to_payload(W2.model_copy(update={"every_s": 3600}))])
    core.send()
    done(core, "enqueue", Enqueued(status=RequestStatus.FREE))
    done(core, "save_agent", None)
    assert [each.name for each in core.pending.values() if each.name] == []
    assert [each.watch.every_s for each in status_of(core).watches] == [1, 3600]


def test_a_request_for_a_watch_that_has_no_plan_yet_is_taken() -> None:
    core = launched(W1)
    begun(core)
    asked = core.update("request", [to_payload(RequestSpec(request_id="r1", url=URL, watch="w1"))])
    core.send()
    done(core, "enqueue", Enqueued(status=RequestStatus.WAITING))
    assert core.updates[asked] == "completed"
    assert status_of(core).queued == ("r1",)
    done(core, "balances", [])
    assert status_of(core).in_flight == ("r1",)
