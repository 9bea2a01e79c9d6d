"""Webhooks from a real ledger to a real receiver: signed, in order, at least once, retried, and disabled at the end."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import LiteralString

import psycopg
import pytest
from standardwebhooks.webhooks import Webhook

from activities import webhooks as sending
from activities.webhooks import WebhookStep
from autopay.adapters.postgres import PostgresLedger, open_ledger
from autopay.adapters.postgres.maintenance.roles import Role, apply_rights, make_roles
from autopay.adapters.postgres.maintenance.server import Server
from autopay.adapters.postgres.webhooks.webhooks import TooManyWebhooks
from autopay.adapters.vault import Keyring, Vault
from autopay.adapters.webhooks.sender import SECRET_PURPOSE, WebhookSender, new_secret, webhook_reach
from autopay.api.access.actor import LOCAL
from autopay.api.access.orders import ordered
from autopay.domain.errors import LedgerUnavailable
from autopay.domain.webhooks.records import Attempt, Message, WebhookEndpoint, WebhookStatus
from autopay.uuid7 import uuid7
from localnet.postgres.server import EmbeddedPostgres
from tests.ledger.books import Book
from tests.ledger.proofs import Tamperer, findings, rows
from tests.ledger.receiver import Holding, Received, Receiver, receiving

KEYRING = Keyring.generate()


class Hooks:
    """A ledger, a receiver and what sends from one to the other."""

    def __init__(self, book: Book, receiver: Receiver, url: str) -> None:
        self.book, self.receiver, self.url = book, receiver, url
        self.ledger = book.ledger
        self.vault = Vault(KEYRING)
        self.sender = WebhookSender(webhook_reach(()))
        self.hand = Tamperer(url)

    def step(self, round_s: float = 0, ledger: PostgresLedger | None = None) -> WebhookStep:
        """The activity; without time it sends what there is now."""
        known = ledger or self.ledger
        return WebhookStep(known.webhooks, known.events.listening, self.vault, self.sender, round_s=round_s, poll_s=0.1)

    async def add(self, *events: str, path: str = "/hook") -> tuple[WebhookEndpoint, str]:
        """An endpoint at the receiver, and its secret."""
        secret, endpoint_id = new_secret(), uuid7()
        sealed = self.vault.seal(secret.encode(), purpose=SECRET_PURPOSE, row=str(endpoint_id))
        url = self.receiver.url + path
        return await self.ledger.webhooks.add(endpoint_id, url, events or ("*",), sealed), secret

    async def send(self, endpoint: WebhookEndpoint, rounds: int = 1) -> None:
        """So many rounds; each sends what is due, then a page of new events."""
        for _ in range(rounds):
            await self.step().run(endpoint.endpoint_id)

    def hold(self, path: str = "/hook") -> Holding:
        """Have the receiver keep the next request for that path until it is told to go on."""
        self.receiver.holds[path] = holding = Holding()
        return holding

    def later(self) -> None:
        """What waits for another attempt is due now."""
        self.hand.does("UPDATE webhook_deliveries SET next_at = now() - interval '1 s' WHERE status = 'RETRYING'")

    def passes(self, time: str) -> None:
        """So much time passes; nothing that waits is due by it."""
        self.hand.does("UPDATE webhook_deliveries SET created_at = created_at - %s::interval", time)
        self.hand.does("UPDATE webhook_deliveries SET tried_at = tried_at - %s::interval", time)
        self.hand.does("UPDATE webhook_endpoints SET failing_since = failing_since - %s::interval", time)

    async def outcomes(self, endpoint: WebhookEndpoint) -> list[tuple[str, str, int]]:
        """Of each event, oldest first: its name, what became of it, and how often it was tried."""
        found = await self.ledger.webhooks.deliveries(endpoint.endpoint_id)
        return [(each.type, each.status.value, each.attempts) for each in reversed(found)]


@pytest.fixture
async def hooks(book: Book, database_url: str) -> AsyncIterator[Hooks]:
    async with receiving() as receiver:
        made = Hooks(book, receiver, database_url)
        yield made
        await made.sender.close()


def names(received: Sequence[Received]) -> list[str]:
    return [json.loads(each.body)["type"] for each in received]


async def test_a_payments_events_arrive_in_order_and_signed(hooks: Hooks) -> None:
    endpoint, secret = await hooks.add("payment.*", "request.*")
    paid = await hooks.book.recorded(await hooks.book.accepted("paid"))
    await hooks.book.delivered(paid)
    await hooks.book.settled(paid)
    await hooks.send(endpoint)
    assert names(hooks.receiver.received) == [
        "request.accepted",
        "payment.signed",
        "request.delivered",
        "payment.final",
    ]
    for each in hooks.receiver.received:
        said = Webhook(secret).verify(each.body, each.headers)
        assert said["data"]["agent"] == hooks.book.agent
        assert each.headers["content-type"] == "application/json"
    final = json.loads(hooks.receiver.received[-1].body)["data"]
    assert (final["request_id"], final["amount"], final["currency"]) == ("paid", "0.001", "USDC")
    await hooks.send(endpoint)
    assert len(hooks.receiver.received) == 4, "nothing is sent twice"
    assert [each[1:] for each in await hooks.outcomes(endpoint)] == [("DELIVERED", 1)] * 4
    assert await findings(hooks.url) == []


async def test_only_what_comes_after_the_endpoint_is_sent(hooks: Hooks) -> None:
    await hooks.book.accepted("before")
    endpoint, _ = await hooks.add("request.*")
    await hooks.book.accepted("after")
    await hooks.send(endpoint)
    assert [json.loads(each.body)["data"]["request_id"] for each in hooks.receiver.received] == ["after"]


async def test_an_agent_that_pauses_itself_and_one_that_is_paused_are_told(hooks: Hooks) -> None:
    endpoint, _ = await hooks.add("agent.*")
    agents, agent, currency = hooks.ledger.agents, hooks.book.agent, (await hooks.book.recorded()).currency
    for status in ("SUFFICIENT", "PAUSED", "PAUSED", "LOW", "SUFFICIENT"):
        await agents.record_balance(agent, currency, 1, 2, status)
    async with ordered(hooks.ledger, LOCAL, "pause", agent=agent, details={"reason": "night"}):
        pass
    await hooks.send(endpoint)
    assert names(hooks.receiver.received) == ["agent.paused", "agent.resumed", "agent.paused"]
    first, _, last = (json.loads(each.body)["data"] for each in hooks.receiver.received)
    assert (first["agent"], first["values"]["via"], first["action"]) == (agent, "agent", "pause")
    assert (last["agent"], last["action"], last["values"]["outcome"]) == (agent, "pause", "done")
    assert await findings(hooks.url) == []


async def test_a_crash_between_sending_and_recording_sends_again_with_the_same_id(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, _ = await hooks.add("request.*")
    await hooks.book.accepted("one")
    await hooks.book.accepted("two")
    with monkeypatch.context() as broken:

        async def crash(*_: object, **__: object) -> bool:
            raise LedgerUnavailable("killed")

        broken.setattr(hooks.ledger.webhooks, "record", crash)
        with pytest.raises(LedgerUnavailable):
            await hooks.send(endpoint)
    await hooks.send(endpoint)
    ids = [each.webhook_id for each in hooks.receiver.received]
    assert len(ids) == 3
    assert ids[0] == ids[1] != ids[2]
    assert hooks.receiver.received[0].body == hooks.receiver.received[1].body


async def test_two_that_send_at_once_leave_no_gap(hooks: Hooks) -> None:
    endpoint, _ = await hooks.add("request.*")
    for number in range(8):
        await hooks.book.accepted(f"r{number}")
    await asyncio.gather(*(hooks.send(endpoint, 4) for _ in range(2)))
    await hooks.send(endpoint)
    asked = [json.loads(each.body)["data"]["request_id"] for each in hooks.receiver.received]
    assert set(asked) == {f"r{number}" for number in range(8)}
    assert len({each.webhook_id for each in hooks.receiver.received}) == 8


async def test_what_fails_is_tried_again_beside_what_comes_after_it(hooks: Hooks) -> None:
    endpoint, _ = await hooks.add("request.*")
    hooks.receiver.judge = lambda body: 500 if b'"request_id":"poison"' in body else None
    for request_id in ("poison", "good", "better"):
        await hooks.book.accepted(request_id)
    await hooks.send(endpoint)
    assert await hooks.outcomes(endpoint) == [
        ("request.accepted", "RETRYING", 1),
        ("request.accepted", "DELIVERED", 1),
        ("request.accepted", "DELIVERED", 1),
    ]
    await hooks.send(endpoint)
    assert len(hooks.receiver.received) == 3, "it is not due yet"
    hooks.receiver.judge = lambda _: None
    hooks.later()
    await hooks.send(endpoint)
    ids = [each.webhook_id for each in hooks.receiver.received]
    assert ids[0] == ids[3]
    assert await hooks.outcomes(endpoint) == [
        ("request.accepted", "DELIVERED", 2),
        ("request.accepted", "DELIVERED", 1),
        ("request.accepted", "DELIVERED", 1),
    ]


async def test_an_event_is_given_up_after_a_day_of_attempts(hooks: Hooks) -> None:
    endpoint, _ = await hooks.add("request.*")
    hooks.receiver.always = 503
    await hooks.book.accepted("one")
    await hooks.send(endpoint)
    for _ in range(8):
        hooks.later()
        await hooks.send(endpoint)
    assert await hooks.outcomes(endpoint) == [("request.accepted", "FAILED", 9)]
    await hooks.send(endpoint)
    assert len(hooks.receiver.received) == 9


async def test_a_receiver_that_is_down_is_not_flooded_and_gets_all_of_it_later(hooks: Hooks) -> None:
    endpoint, _ = await hooks.add("request.*")
    hooks.receiver.always = 503
    for number in range(12):
        await hooks.book.accepted(f"r{number}")
    await hooks.send(endpoint, 5)
    assert len(hooks.receiver.received) == 3, "three failures in a row are enough to know"
    hooks.passes("6 min")
    await hooks.send(endpoint, 2)
    assert len(hooks.receiver.received) == 4, "after five minutes a new one is tried"
    hooks.receiver.always = 204
    hooks.passes("20 min")
    await hooks.send(endpoint, 3)
    delivered = {each.webhook_id for each in hooks.receiver.received if each.status == 204}
    assert len(delivered) == 12, "what waited for its next attempt came at once, when one arrived"
    (known,) = await hooks.ledger.webhooks.list()
    assert (known.state, known.retrying) == ("live", 0)


async def test_an_endpoint_that_fails_for_days_is_disabled_with_an_event_for_the_others(hooks: Hooks) -> None:
    endpoint, _ = await hooks.add("request.*", path="/dead")
    other, _ = await hooks.add("webhook.disabled", path="/other")
    hooks.receiver.judge = lambda body: 500 if b"request.accepted" in body else None
    await hooks.book.accepted("one")
    await hooks.send(endpoint)
    hooks.hand.does("UPDATE webhook_endpoints SET failing_since = now() - interval '73 h' WHERE url ~ 'dead$'")
    hooks.later()
    done = await hooks.step().run(endpoint.endpoint_id)
    assert not done.ended
    assert (await hooks.step().run(endpoint.endpoint_id)).ended
    (dead, _) = await hooks.ledger.webhooks.list()
    assert dead.state == "disabled"
    assert "3 days" in (dead.disabled_why or "")
    await hooks.send(other)
    assert names(hooks.receiver.received)[-1] == "webhook.disabled"
    assert await hooks.outcomes(endpoint) == [("request.accepted", "FAILED", 2)]
    assert await findings(hooks.url) == []
    await hooks.book.accepted("two")
    assert await hooks.ledger.webhooks.enable(endpoint.endpoint_id)
    hooks.receiver.judge = lambda _: None
    await hooks.send(endpoint)
    assert await hooks.outcomes(endpoint) == [
        ("request.accepted", "DELIVERED", 3),
        ("request.accepted", "DELIVERED", 1),
    ]
    assert not await hooks.ledger.webhooks.enable(endpoint.endpoint_id)


async def test_one_failure_long_after_others_does_not_disable(hooks: Hooks) -> None:
    endpoint, _ = await hooks.add("request.*")
    hooks.receiver.always = 503
    await hooks.book.accepted("old")
    await hooks.send(endpoint)
    for _ in range(8):
        hooks.later()
        await hooks.send(endpoint)
    assert await hooks.outcomes(endpoint) == [("request.accepted", "FAILED", 9)]
    hooks.passes("4 days")
    await hooks.book.accepted("new")
    await hooks.send(endpoint)
    (known,) = await hooks.ledger.webhooks.list()
    assert known.state == "failing", "nothing was tried for four days: that is no reason"
    assert datetime.now(UTC) - (known.failing_since or datetime.min.replace(tzinfo=UTC)) < timedelta(days=1)


async def test_a_success_within_the_same_pass_begins_the_three_days_anew(hooks: Hooks) -> None:
    endpoint, _ = await hooks.add("request.*")
    hooks.receiver.always = 503
    await hooks.book.accepted("one")
    await hooks.send(endpoint)
    hooks.passes("73 h")
    hooks.receiver.answers.extend([204, 503])
    await hooks.book.accepted("two")
    hooks.later()
    await hooks.send(endpoint)
    (known,) = await hooks.ledger.webhooks.list()
    assert known.state == "failing"
    assert [each[1:] for each in await hooks.outcomes(endpoint)] == [("DELIVERED", 2), ("RETRYING", 1)]


async def test_what_fails_while_it_is_disabled_and_enabled_is_judged_by_what_holds_then(hooks: Hooks) -> None:
    endpoint, _ = await hooks.add("request.*")
    hooks.receiver.always = 503
    await hooks.book.accepted("one")
    await hooks.send(endpoint)
    hooks.passes("73 h")
    hooks.later()
    holding = hooks.hold()
    running = asyncio.create_task(hooks.send(endpoint))
    await holding.began.wait()  # an attempt is under way that began when it had failed for days
    await hooks.send(endpoint)  # somebody else's attempt disables it meanwhile
    assert (await hooks.ledger.webhooks.list())[0].state == "disabled"
    assert await hooks.ledger.webhooks.enable(endpoint.endpoint_id)
    holding.goes_on.set()
    await running
    (known,) = await hooks.ledger.webhooks.list()
    assert (known.state, known.retrying) == ("failing", 1)
    hooks.receiver.always = 204
    hooks.later()
    await hooks.send(endpoint)
    assert [each[1] for each in await hooks.outcomes(endpoint)] == ["DELIVERED"]


async def test_what_fails_just_after_it_was_disabled_is_not_lost(hooks: Hooks) -> None:
    endpoint, _ = await hooks.add("request.*")
    hooks.receiver.always = 410
    await hooks.book.accepted("one")
    await hooks.book.accepted("two")
    holding = hooks.hold()
    running = asyncio.create_task(hooks.send(endpoint))
    await holding.began.wait()
    await hooks.send(endpoint)
    holding.goes_on.set()
    await running
    assert [each[1] for each in await hooks.outcomes(endpoint)] == ["FAILED"]
    await hooks.ledger.webhooks.enable(endpoint.endpoint_id)
    hooks.receiver.always = 204
    await hooks.send(endpoint, 2)
    assert [each[1] for each in await hooks.outcomes(endpoint)] == ["DELIVERED", "DELIVERED"]


@pytest.mark.parametrize("status", [pytest.param(400, id="it refuses them"), pytest.param(500, id="it breaks on them")])
async def test_one_kind_of_event_that_never_works_holds_nothing_else_back(hooks: Hooks, status: int) -> None:
    endpoint, _ = await hooks.add("request.*")
    hooks.receiver.judge = lambda body: status if b'"request_id":"bad' in body else None
    sent: list[str] = []
    for number in range(8):
        for request_id in (f"bad{number}", f"good{number}"):
            await hooks.book.accepted(request_id)
            sent.append(request_id)
    await hooks.send(endpoint, 3)
    asked = [json.loads(each.body)["data"]["request_id"] for each in hooks.receiver.received]
    assert asked == sent
    for _ in range(8):
        hooks.later()
        await hooks.send(endpoint, 3)
    hooks.passes("6 min")
    await hooks.book.accepted("good8")
    await hooks.send(endpoint)
    ends = [each[1:] for each in await hooks.outcomes(endpoint)]
    assert ends == [("FAILED", 9), ("DELIVERED", 1)] * 8 + [("DELIVERED", 1)]


async def test_a_receiver_that_refuses_every_message_is_still_sent_the_next_one(hooks: Hooks) -> None:
    endpoint, _ = await hooks.add("request.*")
    hooks.receiver.always = 413
    for number in range(6):
        await hooks.book.accepted(f"r{number}")
    await hooks.send(endpoint)
    assert len(hooks.receiver.received) == 6


async def test_a_receiver_that_does_not_answer_holds_no_other_back(hooks: Hooks) -> None:
    slow, _ = await hooks.add("request.*", path="/slow")
    quick, _ = await hooks.add("request.*", path="/quick")
    await hooks.book.accepted("one")
    holding = hooks.hold("/slow")
    waiting = asyncio.create_task(hooks.send(slow))
    await holding.began.wait()
    await hooks.send(quick)
    assert [each.path for each in hooks.receiver.received] == ["/quick"]
    holding.goes_on.set()
    await waiting
    assert [each[1] for each in await hooks.outcomes(slow)] == ["DELIVERED"]


async def test_a_receiver_that_says_gone_is_asked_no_more(hooks: Hooks) -> None:
    endpoint, _ = await hooks.add("request.*")
    hooks.receiver.always = 410
    await hooks.book.accepted("one")
    await hooks.book.accepted("two")
    await hooks.send(endpoint, 2)
    assert len(hooks.receiver.received) == 1
    (known,) = await hooks.ledger.webhooks.list()
    assert "410" in (known.disabled_why or "")


async def test_while_a_secret_is_replaced_both_sign(hooks: Hooks) -> None:
    endpoint, old = await hooks.add("request.*")
    new = new_secret()
    sealed = hooks.vault.seal(new.encode(), purpose=SECRET_PURPOSE, row=str(endpoint.endpoint_id))
    assert await hooks.ledger.webhooks.rotate(endpoint.endpoint_id, sealed, 3_600) is not None
    await hooks.book.accepted("one")
    await hooks.send(endpoint)
    (one,) = hooks.receiver.received
    assert len(one.headers["webhook-signature"].split(" ")) == 2
    for secret in (old, new):
        Webhook(secret).verify(one.body, one.headers)
    hooks.hand.does("UPDATE webhook_endpoints SET old_until = now() - interval '1 s'")
    await hooks.book.accepted("two")
    await hooks.send(endpoint)
    last = hooks.receiver.received[-1]
    Webhook(new).verify(last.body, last.headers)
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(old).verify(last.body, last.headers)


async def test_a_changed_body_time_or_id_has_no_valid_signature(hooks: Hooks) -> None:
    endpoint, secret = await hooks.add("request.*")
    await hooks.book.accepted("one")
    await hooks.send(endpoint)
    (one,) = hooks.receiver.received
    old = str(int((datetime.now(UTC) - timedelta(minutes=6)).timestamp()))
    for body, headers in (
        (one.body.replace(b"one", b"two"), one.headers),
        (one.body, one.headers | {"webhook-id": "msg_1"}),
        (one.body, one.headers | {"webhook-timestamp": old}),
    ):
        with pytest.raises(Exception, match=r"No matching signature|too old"):
            Webhook(secret).verify(body, headers)


async def test_events_come_while_a_round_waits(hooks: Hooks) -> None:
    endpoint, _ = await hooks.add("request.*")
    running = asyncio.create_task(hooks.step(round_s=30).run(endpoint.endpoint_id))
    await hooks.book.accepted("one")
    await hooks.receiver.until(lambda received: len(received) == 1)
    await hooks.book.accepted("two")
    await hooks.receiver.until(lambda received: len(received) == 2)
    await hooks.ledger.webhooks.remove(endpoint.endpoint_id)
    assert (await asyncio.wait_for(running, 10)).ended


async def test_a_removed_endpoint_keeps_no_secret_and_is_in_the_proof(hooks: Hooks) -> None:
    endpoint, _ = await hooks.add()
    assert await hooks.ledger.webhooks.remove(endpoint.endpoint_id)
    assert not await hooks.ledger.webhooks.remove(endpoint.endpoint_id)
    assert rows(hooks.url, "SELECT sealed_secret || sealed_old_secret FROM webhook_endpoints") == [("",)]
    assert await hooks.ledger.webhooks.list() == []
    assert await findings(hooks.url) == []


async def test_a_restored_ledger_goes_on_where_its_events_are(hooks: Hooks) -> None:
    endpoint, _ = await hooks.add("request.*")
    await hooks.book.accepted("before")
    await hooks.send(endpoint)
    hooks.hand.does("UPDATE audit_events SET xid = 0")  # what a restore does
    await hooks.book.accepted("after")
    await hooks.send(endpoint, 2)
    asked = [json.loads(each.body)["data"]["request_id"] for each in hooks.receiver.received]
    assert asked == ["before", "after"]


async def test_there_are_not_more_endpoints_than_workers_bear(hooks: Hooks) -> None:
    for _ in range(20):
        await hooks.add()
    with pytest.raises(TooManyWebhooks):
        await hooks.add()


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("UPDATE webhook_endpoints SET url = 'https://evil.example'", id="another address"),
        pytest.param("UPDATE webhook_endpoints SET events = '[\"*\"]'", id="other events"),
        pytest.param("DELETE FROM webhook_deliveries; DELETE FROM webhook_endpoints", id="it is deleted"),
    ],
)
async def test_where_events_go_is_not_changed_by_hand(hooks: Hooks, statement: LiteralString) -> None:
    await hooks.add("request.*")
    with psycopg.connect(hooks.url) as db, pytest.raises(psycopg.Error) as refused:
        db.execute(statement)
    assert refused.value.sqlstate == "AP001"


async def test_the_working_role_sends_and_makes_no_endpoint(hooks: Hooks, postgres: EmbeddedPostgres) -> None:
    server = Server(hooks.url)
    make_roles(server, {})
    apply_rights(server)
    worker = open_ledger(postgres.url(server.name, Role.WORK))
    endpoint, _ = await hooks.add("request.*")
    hooks.receiver.answers.extend([500])
    await hooks.book.accepted("one")
    await hooks.step(ledger=worker).run(endpoint.endpoint_id)
    hooks.later()
    await hooks.step(ledger=worker).run(endpoint.endpoint_id)
    assert await hooks.outcomes(endpoint) == [("request.accepted", "DELIVERED", 2)]
    await worker.agents.record_balance(hooks.book.agent, (await hooks.book.recorded()).currency, 1, 2, "PAUSED")
    hooks.receiver.always = 410
    await hooks.book.accepted("two")
    assert not (await hooks.step(ledger=worker).run(endpoint.endpoint_id)).ended
    assert (await hooks.step(ledger=worker).run(endpoint.endpoint_id)).ended
    await worker.dispose()
    for role, statement in (
        (Role.WORK, "INSERT INTO webhook_endpoints SELECT * FROM webhook_endpoints"),
        (Role.WORK, "UPDATE webhook_endpoints SET sealed_secret = ''"),
        (Role.WORK, "UPDATE webhook_endpoints SET url = ''"),
        (Role.READ, "SELECT sealed_secret FROM webhook_endpoints"),
        (Role.READ, "SELECT sealed_old_secret FROM webhook_endpoints"),
    ):
        with (
            psycopg.connect(postgres.url(server.name, role)) as db,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            db.execute(statement)


MESSAGE = Message(webhook_id="msg_1", type="x", body=b"{}")


@pytest.mark.parametrize(
    ("url", "addresses", "why"),
    [
        pytest.param("http://ops.example.com/", ["93.184.216.34"], "without TLS", id="no TLS"),
        pytest.param("https://10.0.0.5/", [], "not a public address", id="a private address"),
        pytest.param("https://169.254.169.254/latest", [], "not a public address", id="the cloud's metadata"),
        pytest.param("https://ops.example.com/", ["10.0.0.5"], "not a public address", id="a name that is private"),
        pytest.param("https://ops.example.com/", ["127.0.0.1"], "not a public address", id="a name that is loopback"),
        pytest.param(
            "https://ops.example.com/", ["93.184.216.34", "10.0.0.5"], "not a public address", id="a name of two minds"
        ),
        pytest.param("https://[::ffff:10.0.0.5]/", [], "not a public address", id="IPv4 within IPv6"),
        pytest.param("https://user@ops.example.com/", [], "not allowed", id="a user"),
        pytest.param("ftp://ops.example.com/", [], "not allowed", id="another scheme"),
    ],
)
async def test_webhooks_go_where_payments_may_and_never_without_tls(url: str, addresses: list[str], why: str) -> None:
    async def resolve(_: str, __: int) -> Sequence[str]:
        return addresses

    sender = WebhookSender(webhook_reach(()), resolve=resolve)
    attempt = await sender.send(url, MESSAGE, [new_secret()])
    await sender.close()
    assert why in (attempt.error or "")


async def test_a_redirect_is_a_failure_and_is_not_followed(hooks: Hooks) -> None:
    hooks.receiver.always, hooks.receiver.headers = 302, {"location": f"{hooks.receiver.url}/inner"}
    attempt = await hooks.sender.send(f"{hooks.receiver.url}/hook", MESSAGE, [new_secret()])
    assert (attempt.http_status, attempt.error) == (302, "HTTP 302")
    assert [each.path for each in hooks.receiver.received] == ["/hook"]


async def test_who_does_not_answer_is_waited_for_only_so_long(hooks: Hooks) -> None:
    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")  # a head that never ends
        try:
            await asyncio.sleep(60)
        finally:
            writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    sender = WebhookSender(webhook_reach(()), timeout_s=0.3)
    attempt = await sender.send(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", MESSAGE, [new_secret()])
    assert "no answer within" in (attempt.error or "")
    await sender.close()
    server.close()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        pytest.param("120", 120.0, id="seconds"),
        pytest.param("Thu, 01 Jan 1970 00:00:00 GMT", 0.0, id="a date of long ago"),
        pytest.param("soon", None, id="nonsense"),
        pytest.param("9" * 400, 999_999_999.0, id="for ever"),
    ],
)
async def test_the_receivers_own_time_is_heard(hooks: Hooks, header: str, seconds: float | None) -> None:
    hooks.receiver.always, hooks.receiver.headers = 429, {"retry-after": header}
    assert await hooks.sender.send(hooks.receiver.url, MESSAGE, [new_secret()]) == Attempt(
        http_status=429, error="HTTP 429", retry_after_s=seconds
    )


def test_the_purpose_of_the_seal_is_the_same_where_it_is_made_and_opened() -> None:
    assert sending.SECRET_PURPOSE == SECRET_PURPOSE
    assert WebhookStatus.RETRYING == "RETRYING"
