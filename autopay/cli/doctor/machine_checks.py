"""Checks of this machine: its settings, the embedded stack that they mean, its disk and its clock."""

import time
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text

from autopay.cli.connect.elsewhere import elsewhere_line, settings_elsewhere
from autopay.cli.doctor.parts import Parts
from autopay.cli.doctor.results import Observation, failed, unknown, warning, well, worst
from autopay.domain.errors import Fault, SettingsError
from autopay.domain.text.command_line import command_line
from autopay.domain.text.times import span
from autopay.settings import PREFIX, Settings
from autopay.settings.settings import NEEDED
from autopay.settings.stack_file import StackFile
from autopay.temporal.connection import config_of, keyring_of

LITTLE_BYTES, TOO_LITTLE_BYTES = 2_000_000_000, 200_000_000
"""Free on the disk: below the first it may not last for long, below the second the next checkpoint may not fit."""

OFF_S, FAR_OFF_S = 5, 60
"""Seconds that two clocks may differ by, and beyond which payments and sessions end at wrong times: a payment lives for
some 60 s."""

BLOCK_TIME_S = 120
"""A block's time is an estimate of its validators, and a finalized block is 13 s old at best."""


async def look_at_settings(parts: Parts) -> Observation:
    """Whether everything that a worker needs is set, and can be what it is."""
    settings = parts.settings
    missing = [PREFIX + name.upper() for name in NEEDED if not _is_set(settings, name)]
    wrong: list[Observation] = []
    for read in (config_of, *([keyring_of] if _is_set(settings, "keyring") else [])):
        try:
            read(settings)
        except SettingsError as error:
            if str(error).startswith("TEMPORAL_ADDRESS is not set"):
                missing.append("TEMPORAL_ADDRESS")
                continue
            wrong.append(failed(str(error), "change that setting, in the environment or in .env"))
    if missing:
        wrong.append(failed(f"{', '.join(missing)}: not set", f"set what is missing, or {settings.start_stack()}"))
    where = "the embedded stack's" if settings.stack is not None else "the environment's"
    return worst(wrong, f"{settings.network.value}; {where} database, node, Temporal and keyring")


async def look_at_stack(parts: Parts) -> Observation:
    """Whether an embedded stack runs, and whether settings lead away from it."""
    home, stack = parts.settings.home, parts.settings.stack
    if stack is None:
        if StackFile.read(home) is None:
            return well(f"there is none in {home.absolute()}")
        return well(f"that of {home.absolute()} does not run")
    clauses = settings_elsewhere(parts.loaded, stack)
    if clauses:
        seen = f"that of {home.absolute()} runs, and settings lead elsewhere"
        return warning(seen, elsewhere_line(clauses))
    return well(f"it runs in {home.absolute()}")


async def look_at_disk(parts: Parts) -> Observation:
    """Whether the disk of the embedded stack, else of the current folder, has room."""
    home = parts.settings.home.absolute()
    is_there = home.is_dir()
    free = parts.free_bytes(home if is_there else Path.cwd())
    seen = f"{size_text(free)} free for {home if is_there else 'the current folder'}"
    if free < TOO_LITTLE_BYTES:
        return failed(seen, "make room: a database without any stops, and payments with it")
    if free < LITTLE_BYTES:
        return warning(seen, f"make room: old content goes by {command_line('ledger', 'prune', '--older-than', '90d')}")
    return well(seen)


async def look_at_clock(parts: Parts) -> Observation:
    """How far this machine's clock is from the database's and from the time of the chain's newest final block."""
    found, seen = [], []
    for name, read in (("the database", _database_off_s), ("the chain", _chain_off_s)):
        try:
            off_s = await read(parts)
        except Fault:  # the check of that part says so
            off_s = None
        if off_s is None:
            continue
        side = "behind" if off_s > 0 else "ahead of"
        said = f"{span(abs(off_s))} {side} {name}" if abs(off_s) >= 1 else f"as {name}'s"
        seen.append(said)
        tolerated_s = (OFF_S, FAR_OFF_S) if name == "the database" else (BLOCK_TIME_S, 10 * BLOCK_TIME_S)
        remedy = "have NTP set the clocks of this machine and of the database's"
        if abs(off_s) > tolerated_s[1]:
            found.append(failed(f"this clock is {said}", remedy))
        elif abs(off_s) > tolerated_s[0]:
            found.append(warning(f"this clock is {said}", remedy))
    if not seen:
        return unknown("neither the database nor the chain can be asked what time it is")
    return worst(found, f"this clock is {' and '.join(seen)}")


async def _database_off_s(parts: Parts) -> float | None:
    if parts.ledger is None:
        return None
    began, before = time.monotonic(), parts.now()
    async with parts.ledger.database.transaction() as db:
        theirs = await db.scalar(text("SELECT clock_timestamp()"))
    middle = before + (time.monotonic() - began) / 2
    return float((theirs - datetime.fromtimestamp(middle, UTC)).total_seconds())


async def _chain_off_s(parts: Parts) -> float | None:
    if parts.rpc is None:
        return None
    block_time = await parts.chain.block_time((await parts.chain.finalized_tip()).slot)
    return None if block_time is None else block_time - parts.now()


def size_text(count: int) -> str:
    """Bytes for people: `1.5 GB`."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _is_set(settings: Settings, name: str) -> bool:
    value = getattr(settings, name)
    return bool(value.get_secret_value() if hasattr(value, "get_secret_value") else value)
