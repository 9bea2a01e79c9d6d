"""`policy show`: which limits hold and how much of them is used; and a policy as lines of text."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from autopay.cli.connect.connections import known_agent, ledger_of
from autopay.cli.connect.event_loop import run_async
from autopay.cli.terminal.console import note, print_json, print_line
from autopay.cli.terminal.exit_codes import examples_help
from autopay.cli.terminal.options import HomeOption, JsonOption, agent_name
from autopay.cli.terminal.tables import print_table
from autopay.domain.money import show as show_amount
from autopay.domain.phase import Phase
from autopay.domain.policy.policy import Policy
from autopay.domain.policy.records import PolicyInForce
from autopay.domain.session import SessionRecord
from autopay.domain.text.command_line import command_line
from autopay.domain.text.durations import format_duration
from autopay.domain.text.times import utc
from autopay.settings import Settings

OWN, EVERYONES, BUILT_IN = "its own", "everyone's", "built-in"
NO_LIMIT, ANY = "no limit", "any"


def register(policy: typer.Typer) -> None:
    """Add the command to the group `policy`."""
    policy.command("show", epilog=examples_help("policy show", "policy show trader", "policy show trader --json"))(show)


def show(
    agent: Annotated[
        str | None, typer.Argument(metavar="AGENT", help="Show this agent's; else everyone's.", show_default=False)
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the policy that holds, and how much of it is used today.

    Days are UTC. For an agent, also what its sessions may still spend. Payments that are pending count as used.
    """
    settings = Settings.load(home=home).resolve("database_url")
    if agent is None:
        _show_default(*run_async(_default(settings)), as_json)
        return
    held, phase, sessions = run_async(_of(settings, agent_name(agent)))
    if as_json:
        print_json(_json(held, phase, sessions))
    else:
        _show_agent(held, phase, sessions)


async def _default(settings: Settings) -> tuple[Policy, datetime | None]:
    async with ledger_of(settings) as ledger:
        return await ledger.policies.default()


async def _of(settings: Settings, agent: str) -> tuple[PolicyInForce, Phase, Sequence[SessionRecord]]:
    async with ledger_of(settings) as ledger:
        phase = Phase((await known_agent(ledger, agent)).phase)
        sessions = [each for each in await ledger.sessions.list(agent) if each.status == "ACTIVE" and each.granted]
        return await ledger.policies.in_force(agent), phase, sessions


def _show_default(policy: Policy, set_at: datetime | None, as_json: bool) -> None:
    whose = BUILT_IN if set_at is None else EVERYONES
    if as_json:
        print_json({"whose": whose, "set_at": _time(set_at), "policy": policy.model_dump(mode="json")})
        return
    print_line(f"agents without a policy of their own have {_whose(whose, set_at)}")
    print_table(("", "allows"), lines_of(policy).items())


def _show_agent(held: PolicyInForce, phase: Phase, sessions: Sequence[SessionRecord]) -> None:
    policy = held.policy
    used = {"limits.per_agent_day": _used(held.spent_today_atomic, policy.per_agent_day_atomic)}
    hosts = [(host, _used(amount, policy.per_host_day_atomic)) for host, amount in held.by_host_today_atomic.items()]
    print_line(f"agent {held.agent} (phase {phase.value}) has {_whose(_owner(held), held.set_at)}")
    rows = [(name, says, used.get(name, "")) for name, says in lines_of(policy).items()]
    if phase is not Phase.INTERACTIVE:
        rows = [row for row in rows if not row[0].startswith("approvals.")]
    print_table(("", "allows", "used today"), rows)
    if hosts:
        print_table(("host", "used today"), hosts)
    if sessions:
        print_table(
            ("session", "may still spend", "payments left", "until (UTC)", "hosts"),
            (_session(each) for each in sessions),
        )
    else:
        note(f"it has no session, so it cannot pay: {command_line('session', 'grant', held.agent)}", "yellow")


def _session(record: SessionRecord) -> Sequence[object]:
    left = max(record.allowance_atomic - record.reserved_atomic, 0)
    spend = f"{show_amount(left, record.currency)} of {show_amount(record.allowance_atomic, record.currency)}"
    payments = f"{max(record.tx_limit - record.payments, 0)} of {record.tx_limit}"
    over = " (expired)" if record.expires_at <= datetime.now(UTC) else ""
    until = f"{record.expires_at:%F %T}{over}"
    return (record.session_id, spend, payments, until, ", ".join(record.hosts) or "any")


def _used(amount_atomic: int, limit_atomic: int | None) -> str:
    used = show_amount(amount_atomic, "USD")
    if limit_atomic is None:
        return used
    return f"{used}, {show_amount(max(limit_atomic - amount_atomic, 0), 'USD')} left"


def _owner(held: PolicyInForce) -> str:
    return OWN if held.own else EVERYONES if held.set_at is not None else BUILT_IN


def _whose(whose: str, set_at: datetime | None) -> str:
    article = "the built-in" if whose == BUILT_IN else whose
    return f"{article} policy" + (f", set {utc(set_at)}" if set_at is not None else "")


def _json(held: PolicyInForce, phase: Phase, sessions: Sequence[SessionRecord]) -> dict[str, Any]:
    """An agent's policy for programs; amounts are base units."""
    return {
        "agent": held.agent,
        "phase": phase.value,
        "whose": _owner(held),
        "set_at": _time(held.set_at),
        "policy": held.policy.model_dump(mode="json"),
        "spent_today_atomic": held.spent_today_atomic,
        "by_host_today_atomic": held.by_host_today_atomic,
        "sessions": [
            {
                "session_id": str(each.session_id),
                "currency": each.currency.value,
                "allowance_atomic": each.allowance_atomic,
                "left_atomic": max(each.allowance_atomic - each.reserved_atomic, 0),
                "tx_limit": each.tx_limit,
                "payments_left": max(each.tx_limit - each.payments, 0),
                "expires_at": _time(each.expires_at),
                "hosts": list(each.hosts),
            }
            for each in sessions
        ],
    }


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="seconds")


def lines_of(policy: Policy) -> dict[str, str]:
    """A policy as text, by the names of its file: `limits.per_request` and so on, in the file's order."""
    return {
        "limits.per_request": _limit(policy.per_request_atomic),
        "limits.per_host_day": _limit(policy.per_host_day_atomic),
        "limits.per_agent_day": _limit(policy.per_agent_day_atomic),
        "allow.hosts": _list(policy.hosts),
        "allow.payees": _list(policy.payees),
        "allow.currencies": _list(policy.currencies),
        "pins.price_factor": NO_LIMIT if policy.price_factor is None else f"{policy.price_factor.normalize():f}",
        "approvals.auto_up_to": show_amount(policy.auto_approve_atomic, "USD"),
        "approvals.expire": format_duration(policy.approval_expires_s),
    }


def changes(before: Policy, after: Policy) -> Sequence[tuple[str, str, str]]:
    """Name, text before and text after of every line that differs."""
    old, new = lines_of(before), lines_of(after)
    return [(name, old[name], new[name]) for name in new if old[name] != new[name]]


def _limit(amount_atomic: int | None) -> str:
    return NO_LIMIT if amount_atomic is None else show_amount(amount_atomic, "USD")


def _list(values: Sequence[str]) -> str:
    return ", ".join(values) or ANY
