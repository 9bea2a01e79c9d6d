"""Every check, by its name and with what it needs; `diagnose` runs them all."""

from pathlib import Path

from autopay.cli.doctor import database_checks as database
from autopay.cli.doctor import ledger_checks as ledger
from autopay.cli.doctor import machine_checks as machine
from autopay.cli.doctor import node_checks as node
from autopay.cli.doctor import session_checks as sessions
from autopay.cli.doctor import temporal_checks as temporal
from autopay.cli.doctor.parts import open_parts
from autopay.cli.doctor.results import CheckResult, DoctorReport, failed, unknown
from autopay.cli.doctor.running import Check, run_checks
from autopay.domain.errors import SettingsError
from autopay.settings import Settings

SETTINGS = "settings"

_MIGRATED = ("database", "migrations")
_NAMESPACE = ("temporal", "namespace")

CHECKS = (
    Check(SETTINGS, machine.look_at_settings),
    Check("stack", machine.look_at_stack),
    Check("disk", machine.look_at_disk),
    Check("database", database.look_at_database, broken="the database cannot be asked"),
    Check("server", database.look_at_server, ("database",)),
    Check("migrations", database.look_at_migrations, ("database",), broken="the database's schema is another one"),
    Check("role", database.look_at_role, _MIGRATED),
    Check("read_role", database.look_at_read_role, _MIGRATED),
    Check("keyring", ledger.look_at_keyring, _MIGRATED),
    Check("fence", ledger.look_at_fence, _MIGRATED),
    Check("policy", ledger.look_at_policy, _MIGRATED),
    Check("anchor", ledger.look_at_anchor, _MIGRATED),
    Check("node", node.look_at_node, broken="the Solana node cannot be asked"),
    Check("sessions", sessions.look_at_sessions, _MIGRATED),
    Check("delegations", sessions.look_at_delegations, (*_MIGRATED, "node"), limit_s=30),
    Check("methods", node.look_at_methods, ("node",)),
    Check("history", node.look_at_history, ("node",)),
    Check("mints", node.look_at_mints, ("node",)),
    Check("websocket", node.look_at_websocket, ("node",)),
    Check("limits", node.look_at_limits, ("node",), after=("methods", "history", "mints", "delegations")),
    Check("clock", machine.look_at_clock, after=("database", "node", "limits")),
    Check("temporal", temporal.look_at_temporal, broken="Temporal cannot be asked"),
    Check("namespace", temporal.look_at_namespace, ("temporal",), broken="the namespace is not there"),
    Check("search_attributes", temporal.look_at_attributes, _NAMESPACE),
    Check("retention", temporal.look_at_retention, _NAMESPACE),
    Check("workers", temporal.look_at_workers, _NAMESPACE, broken="no worker is there"),
    Check("versions", temporal.look_at_versions, (*_NAMESPACE, "workers")),
    Check("builds", temporal.look_at_builds, (*_NAMESPACE, "workers")),
    Check("adoption", temporal.look_at_adoption, _NAMESPACE),
)
"""In the order in which they are shown. `limits` asks many questions at once: the others come before."""


async def diagnose(home: Path | None) -> DoctorReport:
    """Look at everything; what wrong settings keep from being looked at is `unknown`."""
    try:
        loaded = Settings.load(home=home)
        settings = loaded.resolve("home").for_work()
    except SettingsError as error:
        wrong = failed(str(error), "change that setting, in the environment or in .env")
        others = unknown("the settings are wrong")
        seen = [wrong if each.name == SETTINGS else others for each in CHECKS]
        named = zip(CHECKS, seen, strict=True)
        return DoctorReport.of([CheckResult(name=check.name, **each.model_dump()) for check, each in named])
    async with open_parts(settings, loaded) as parts:
        return DoctorReport.of(await run_checks(CHECKS, parts))
