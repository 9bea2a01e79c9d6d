"""Runs checks: those that do not wait for another one at the same time, each within its own time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from autopay.cli.doctor.parts import Parts
from autopay.cli.doctor.results import CheckResult, Observation, failed, unknown
from autopay.domain.errors import ChainUnavailable, Fault, LedgerForbids, LedgerUnavailable, NodeBehind, NotMigrated
from autopay.domain.text.command_line import command_line

LIMIT_S = 10.0


@dataclass(frozen=True)
class Check:
    """One look at one thing.

    Args:
        name: by which programs and the documents know it.
        look: what it does.
        needs: checks without which it cannot look; `broken` of the first that is not well says why.
        after: checks that it only waits for.
        broken: what hinders the checks that need this one, in words.
        limit_s: seconds that it may take.
    """

    name: str
    look: Callable[[Parts], Awaitable[Observation]]
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    broken: str = ""
    limit_s: float = LIMIT_S


async def run_checks(checks: Sequence[Check], parts: Parts) -> list[CheckResult]:
    """The result of each check, in their order. What a check needs comes before it in the sequence."""
    by_name = {each.name: each for each in checks}
    running: dict[str, asyncio.Task[Observation]] = {}

    async def result_of(check: Check) -> Observation:
        if others := [running[name] for name in (*check.needs, *check.after) if name in running]:
            await asyncio.wait(others)
        for name in check.needs:
            if running[name].result().state in ("failed", "unknown"):
                return unknown(by_name[name].broken)
        return await _within_its_time(check, parts)

    async with asyncio.TaskGroup() as tasks:
        for check in checks:
            running[check.name] = tasks.create_task(result_of(check), name=check.name)
    return [CheckResult(name=name, **done.result().model_dump()) for name, done in running.items()]


async def _within_its_time(check: Check, parts: Parts) -> Observation:
    try:
        async with asyncio.timeout(check.limit_s):
            return await check.look(parts)
    except TimeoutError:
        return failed(f"no answer within {check.limit_s:g} s", "see what keeps it busy")
    except Fault as fault:
        return failed(str(fault), _remedy(fault))
    except SQLAlchemyError as error:  # a table or a column that is not as this version has it
        kind = type(getattr(error, "orig", None) or error).__name__
        return failed(f"the database answers {kind}", "see that nobody changed the ledger's schema by hand")


def _remedy(fault: Fault) -> str:
    match fault:
        case ChainUnavailable() | NodeBehind():
            return "check AUTOPAY_SOLANA_RPC_URL, or name another node"
        case LedgerForbids():
            return f"give the ledger's roles their rights: {command_line('db', 'roles')}"
        case NotMigrated():
            return command_line("db", "upgrade")
        case LedgerUnavailable():
            return "see that PostgreSQL runs, and check AUTOPAY_DATABASE_URL"
        case _:
            return "check the setting that it names"
