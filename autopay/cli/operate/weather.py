"""`weather`: faults that the embedded stack's services take at run time."""

from typing import Annotated, Any

import typer

from autopay.cli.terminal.console import print_json
from autopay.cli.terminal.exit_codes import CommandError, ExitCode, examples_help
from autopay.cli.terminal.options import HomeOption, JsonOption, completed_by, duration_s
from autopay.cli.terminal.tables import print_table
from autopay.domain.text.command_line import command_line
from autopay.settings import Settings
from autopay.settings.stack_file import StackFile

SERVICES = ("chain", "facilitator", "market", "knowledge")
_FAIR: dict[str, Any] = {
    "latency_ms": 0,
    "error_rate": 0.0,
    "outage": False,
    "lose_answers": 0.0,
    "lag_slots": 0,
    "stand_still": False,
    "price_factor": 1.0,
}
_TIMEOUT_S = 5

_CONCERNS = {"lag_slots": ("chain",), "stand_still": ("chain",), "price_factor": ("market", "knowledge")}
"""Faults that not every service knows; the others would take them and do nothing."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "weather",
        epilog=examples_help(
            "weather",
            "weather chain --lag-slots 40",
            "weather market --error-rate 0.2 --latency 200ms",
            "weather --clear",
        ),
    )(weather)


def weather(
    service: Annotated[
        str | None,
        typer.Argument(
            autocompletion=completed_by(*SERVICES), help="chain, facilitator, market or knowledge; all if none."
        ),
    ] = None,
    latency: Annotated[str | None, typer.Option(help="Delay of each answer: 200ms.")] = None,
    error_rate: Annotated[float | None, typer.Option(min=0, max=1, help="Share of requests that fail.")] = None,
    outage: Annotated[bool | None, typer.Option("--outage/--no-outage", help="Refuse every request.")] = None,
    lose_answers: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of answers that are cut off, though the work is done.")
    ] = None,
    lag_slots: Annotated[int | None, typer.Option(min=0, help="chain: answer like a node this far behind.")] = None,
    stand_still: Annotated[
        bool | None, typer.Option("--stand-still/--no-stand-still", help="chain: no new slots.")
    ] = None,
    price_factor: Annotated[float | None, typer.Option(min=0.001, max=1000, help="sellers: multiply prices.")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Remove all faults, then apply the other options.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show or set faults of the embedded stack's services.

    Without options, the present faults are shown.
    """
    if service is not None and service not in SERVICES:
        raise typer.BadParameter(f"{service!r} is not one of {', '.join(SERVICES)}", param_hint="service")
    change = {
        "latency_ms": None if latency is None else round(duration_s(latency) * 1000),
        "error_rate": error_rate,
        "outage": outage,
        "lose_answers": lose_answers,
        "lag_slots": lag_slots,
        "stand_still": stand_still,
        "price_factor": price_factor,
    }
    change = {name: value for name, value in change.items() if value is not None}
    _refuse_without_effect(service, change)
    stack = stack_of(Settings.load(home=home))
    found = {
        name: _put(stack, name, {fault: change[fault] for fault in change if _concerns(fault, name)}, clear=clear)
        for name in ([service] if service else SERVICES)
    }
    if as_json:
        print_json(found)
    else:
        print_table(("service", "weather"), ((name, _words(state)) for name, state in found.items()))


def _concerns(fault: str, service: str) -> bool:
    return service in _CONCERNS.get(fault, SERVICES)


def _refuse_without_effect(service: str | None, change: dict[str, Any]) -> None:
    for fault in change:
        if service is not None and not _concerns(fault, service):
            whom = " and ".join(_CONCERNS[fault])
            option = f"--{fault.replace('_', '-')}"
            raise typer.BadParameter(f"has no effect on the {service}: it is for {whom}", param_hint=option)


def stack_of(settings: Settings) -> StackFile:
    """The running embedded stack of the home."""
    stack = settings.resolve("home").stack
    if stack is None:
        where = settings.home.absolute()
        start = command_line("up", "--worker")
        raise CommandError(f"no embedded stack runs in {where}; start it: {start}", ExitCode.UNREACHABLE)
    return stack


def _put(stack: StackFile, service: str, change: dict[str, Any], *, clear: bool) -> dict[str, Any]:
    import httpx

    addresses = {
        "chain": stack.solana_rpc,
        "facilitator": stack.facilitator,
        "market": stack.market_api,
        "knowledge": stack.knowledge_api,
    }
    address = addresses[service] + "/weather"
    try:
        with httpx.Client(trust_env=False, timeout=_TIMEOUT_S) as client:
            if clear:
                client.put(address, json={}).raise_for_status()
            reply = client.put(address, json=change) if change else client.get(address)
    except httpx.HTTPError as error:
        raise CommandError(
            f"the {service} does not answer at {address}: {error or type(error).__name__}", ExitCode.UNREACHABLE
        ) from None
    if not reply.is_success:
        raise CommandError(f"the {service} refused these faults: {reply.text[:200]}")
    state: dict[str, Any] = reply.json()
    return state


def _words(state: dict[str, Any]) -> str:
    """The faults that are set, in words."""
    faults = [f"{name.replace('_', '-')} {value}" for name, value in state.items() if value != _FAIR.get(name)]
    return ", ".join(faults).replace(" True", "") or "fair"
