"""Each duty of the upkeep: the function of its command, and its result in one line."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from solders.keypair import Keypair

from activities.upkeep import Work
from autopay.cli.ledger.anchor import anchor_key, anchor_ledger
from autopay.cli.ledger.prune import prune_ledger
from autopay.cli.ledger.reconcile import reconcile_ledger
from autopay.cli.ledger.verify_steps import audit_ledger
from autopay.cli.terminal.exit_codes import CommandError
from autopay.domain.errors import SettingsError
from autopay.domain.progress import ignore_progress
from autopay.domain.upkeep import Duty, UpkeepOrder, UpkeepResult
from autopay.settings import Settings


def wanted_duties(settings: Settings) -> Mapping[Duty, int]:
    """The duties that are set, with the seconds between two runs.

    Raises:
        SettingsError: one of them lacks another setting.
    """
    every = {
        Duty.RECONCILE: settings.reconcile_every,
        Duty.VERIFY: settings.verify_every,
        Duty.ANCHOR: settings.anchor_every,
        Duty.PRUNE: settings.prune_every,
    }
    if settings.anchor_every is not None:
        _checked_key(settings)
    if settings.prune_every is not None and settings.keep_content is None:
        raise SettingsError(
            "AUTOPAY_KEEP_CONTENT is not set: how long AUTOPAY_PRUNE_EVERY is to keep content, like 90d"
        )
    return {duty: seconds for duty, seconds in every.items() if seconds is not None}


def duties(settings: Settings) -> Mapping[Duty, Work]:
    """What does each duty, over the ledger and the node of the settings."""

    async def reconcile(order: UpkeepOrder) -> UpkeepResult:
        found = await reconcile_ledger(settings, None, None, ignore_progress)
        differing = len(found.unmatched_ledger) + len(found.unmatched_chain)
        said = "ledger and chain agree" if found.ok else f"ledger and chain differ: {differing} payments do not match"
        figures = {
            "payments": found.payments,
            "on_chain": found.on_chain,
            "unresolved": len(found.unresolved),
            "slot": found.as_of_slot,
        }
        return UpkeepResult(duty=order.duty, ok=found.ok, summary=said, figures=figures)

    async def verify(order: UpkeepOrder) -> UpkeepResult:
        report = await audit_ledger(settings, None, on_chain=False, on_progress=ignore_progress)
        said = "the ledger proves itself"
        if not report.ok:
            first = report.findings[0]
            said = f"{report.found} things do not fit, the first: {first.reason.value}, {first.detail}"
        figures = {"events": report.events, "rows": report.rows, "anchors": report.anchors, "found": report.found}
        return UpkeepResult(duty=order.duty, ok=report.ok, summary=said, figures=figures)

    async def anchor(order: UpkeepOrder) -> UpkeepResult:
        done = await anchor_ledger(settings, _checked_key(settings))
        said = f"anchored {done.heads} chains of events" if done.fresh else "nothing happened since the last anchor"
        figures: dict[str, int | str] = {"transaction": done.anchor.signature, "slot": done.anchor.slot or 0}
        return UpkeepResult(duty=order.duty, ok=True, summary=said, figures=figures)

    async def prune(order: UpkeepOrder) -> UpkeepResult:
        if order.keep_content_s is None:
            raise SettingsError("this prune was ordered without the time that content is kept")
        before = datetime.now(UTC) - timedelta(seconds=order.keep_content_s)
        done = await prune_ledger(settings, before, dry_run=False)
        said = f"deleted the content of {done.requests} requests that ended before {before:%F %T} UTC"
        figures = {"requests": done.requests, "body_bytes": done.body_bytes}
        return UpkeepResult(duty=order.duty, ok=True, summary=said, figures=figures)

    return {Duty.RECONCILE: reconcile, Duty.VERIFY: verify, Duty.ANCHOR: anchor, Duty.PRUNE: prune}


def _checked_key(settings: Settings) -> Keypair:
    try:
        return anchor_key(settings)
    except CommandError as error:
        raise SettingsError(str(error)) from None
