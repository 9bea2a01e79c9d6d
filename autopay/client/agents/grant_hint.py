"""The command that grants an agent a session which ends a shortage, with every value written out. Pure."""

from autopay.domain.money import Currency, short_units_text, show
from autopay.domain.phase import Phase
from autopay.domain.session import DEFAULT_SCOPES, MAX_SESSION_S, MAX_TX_LIMIT, SessionRecord
from autopay.domain.text.command_line import command_line
from autopay.domain.text.durations import format_duration, parse_whole_seconds

LEAST_GRANT_ATOMIC = 1_000_000
"""The least allowance that is proposed: what `launch` grants."""

TIMES_NEEDED = 2
"""More than what is needed now: the first payment would make it short again."""


def grant_command(name: str, phase: Phase, currency: Currency, needed_atomic: int, last: SessionRecord | None) -> str:
    """`session grant` with allowance, payments and duration: what suits the phase, and no less than the last session.

    A session that ended for its number of payments gets twice as many. It may pay the hosts that the last one might,
    and no others.
    """
    payments, lasts = DEFAULT_SCOPES[phase]
    lasts_s, allowance = parse_whole_seconds(lasts), max(LEAST_GRANT_ATOMIC, TIMES_NEEDED * needed_atomic)
    hosts: tuple[str, ...] = ()
    if last is not None:
        used_up = last.payments >= last.tx_limit
        payments = max(payments, min(MAX_TX_LIMIT, last.tx_limit * (2 if used_up else 1)))
        lasts_s = max(lasts_s, min(MAX_SESSION_S, last.duration_s))
        allowance, hosts = max(allowance, last.allowance_atomic), last.hosts
    words: list[object] = ["--allowance", short_units_text(allowance), "--tx-limit", payments]
    words += ["--duration", format_duration(lasts_s)]
    words += ["--currency", currency.value] if currency is not Currency.USDC else []
    return command_line("session", "grant", name, *words, *(word for host in hosts for word in ("--host", host)))


def too_small_a_grant(
    name: str, phase: Phase, currency: Currency, allowance_atomic: int, needed_atomic: int
) -> str | None:
    """What to say of an allowance with which the agent pauses at once, as it needs more before it pays anything."""
    if allowance_atomic >= needed_atomic:
        return None
    grant = grant_command(name, phase, currency, needed_atomic, None)
    needed, allowance = show(needed_atomic, currency), show(allowance_atomic, currency)
    return f"{name} pays nothing below {needed} (its rules), and may spend {allowance}; one that is enough: {grant}"
