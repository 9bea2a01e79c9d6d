"""Checks of what the ledger holds: its keys, its fence, its policies, its proof."""

from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from autopay.adapters.vault import why_refused
from autopay.cli.doctor.parts import Parts
from autopay.cli.doctor.results import Observation, failed, unknown, warning, well, worst
from autopay.domain.audit.report import last_anchor
from autopay.domain.errors import LedgerForbids, SettingsError
from autopay.domain.policy.policy import Policy
from autopay.domain.text.command_line import command_line
from autopay.domain.text.times import ago, span
from autopay.domain.values import validation_message
from autopay.temporal.connection import keyring_of

ANCHOR_AGE = timedelta(days=7)
"""Older than this, and with events since, the newest anchor is too old: those events could be written anew unseen."""


async def look_at_keyring(parts: Parts) -> Observation:
    """Whether the keyring is the ledger's, by the check values that the ledger keeps."""
    if not parts.settings.keyring.get_secret_value():
        return unknown("AUTOPAY_KEYRING is not set")
    try:
        keyring = keyring_of(parts.settings)
    except SettingsError as error:
        return failed(str(error), f"use your workers' keyring, or make one for a new ledger: {command_line('keyring')}")
    mine, known = keyring.check_values(), await parts.books.keys.known()
    refused = why_refused(known, mine)
    if refused is not None:
        seen, _, remedy = refused.partition("; ")
        return failed(seen, remedy)
    if not known:
        return well("the ledger knows no keyring yet: it takes the first that comes with a worker or a command")
    new = sorted(mine.keys() - known.keys())
    also = f"; key {', '.join(map(str, new))} is new to it" if new else ""
    return well(f"it is the ledger's, key {keyring.newest} encrypts{also}")


async def look_at_fence(parts: Parts) -> Observation:
    """Whether a fence keeps payments from being signed."""
    fence = await parts.books.fence.current()
    if fence is None:
        return well("none is up")
    remedy = f"book what the chain knows more: {command_line('ledger', 'reconcile', '--book')}"
    return failed(f"nothing is signed since {fence.raised_at:%F %T} UTC: {fence.reason}", remedy)


async def look_at_policy(parts: Parts) -> Observation:
    """Whether each agent has a policy that this version can read."""
    held = await parts.books.policies.held()
    found, without = [], []
    for agent, policy in held.items():
        if policy is None:
            without.append(agent)
            continue
        try:
            Policy.model_validate(policy)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            remedy = f"set it anew, or use the version that set it: {command_line('policy', 'set', 'policy.toml')}"
            found.append(failed(f"{agent}'s policy cannot be read ({where}: {validation_message(first)})", remedy))
    if without and not parts.settings.on_localnet:
        few = ", ".join(without[:5]) + (f" and {len(without) - 5} more" if len(without) > 5 else "")
        remedy = (
            f"write one (`policy example` prints one to start from): {command_line('policy', 'set', 'policy.toml')}"
        )
        found.append(warning(f"only their sessions' allowances limit {few}: they have no policy", remedy))
    return worst(found, f"{len(held)} agents, {len(held) - len(without)} with a policy")


async def look_at_anchor(parts: Parts) -> Observation:
    """How old the newest anchor on chain is, and how much was recorded since."""
    network = parts.settings.network
    try:
        async with parts.reading_ledger() as ledger:
            heads, newest = await ledger.audit.heads(), await ledger.audit.last_anchor(network)
    except LedgerForbids:
        return unknown("a worker's role may not read it", "set AUTOPAY_READ_DATABASE_URL, with the role autopay_read")
    events = sum(head.seq for head in heads)
    remedy = f"anchor the ledger, best every day by a timer: {command_line('ledger', 'anchor')}"
    if newest is None:
        seen = f"{events} events, and none was ever anchored on {network.value}"
        return well(seen) if parts.settings.on_localnet or not events else warning(seen, remedy)
    since, now = last_anchor(newest, heads), datetime.fromtimestamp(parts.now(), UTC)
    seen = f"the newest is {ago(since.created_at, now).replace(' ago', ' old')}, {since.events_since} events since"
    if since.events_since and now - since.created_at > ANCHOR_AGE:
        return warning(f"{seen}; more than {span(ANCHOR_AGE.total_seconds())} is too old", remedy)
    return well(seen)
