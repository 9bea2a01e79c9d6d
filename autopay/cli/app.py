"""The command line as a whole: the module of each command, and the exit code of each error."""

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

import typer

from autopay.cli.connect.console import note
from autopay.cli.connect.exit_codes import CommandError, ExitCode, exit_codes_help
from autopay.domain.command_line import CALL, home_among
from autopay.domain.errors import Fault, PermanentFault, TransientFault
from autopay.processes import own_call
from autopay.settings import SettingsError

MODULE_OF = {
    "demo": "demo.demo",
    "up": "operate.up",
    "launch": "agent.launch",
    "fund": "agent.fund",
    "request": "request.request",
    "agents": "agent.agents",
    "status": "agent.status",
    "pause": "agent.pause_resume_stop",
    "resume": "agent.pause_resume_stop",
    "stop": "agent.pause_resume_stop",
    "revive": "agent.revive",
    "phase": "agent.rules",
    "rules": "agent.rules",
    "watch": "agent.watch",
    "unwatch": "agent.watch",
    "queue": "agent.queue",
    "cancel": "request.cancel",
    "session": "session.group",
    "policy": "policy.group",
    "approvals": "request.approvals",
    "approve": "request.approvals",
    "deny": "request.approvals",
    "ledger": "ledger.group",
    "show": "request.show",
    "retry": "request.retry",
    "weather": "operate.weather",
    "faucet": "operate.faucet",
    "backup": "operate.backup",
    "restore": "operate.backup",
    "db": "operate.db",
    "seed": "operate.db",
    "keyring": "operate.keyring",
    "rollout": "operate.rollout",
    "vault": "operate.vault",
}
"""The module of this package that registers a command, in the order of `--help`; each has a `register(app)`."""


def build_app(arguments: Sequence[str]) -> typer.Typer:
    """The command line; only with the called command when that is clear, as importing all of them takes a second."""
    app = typer.Typer(
        name=CALL.get().program,
        help="Autopay buys data from paid HTTP APIs (x402 on Solana), exactly once.",
        epilog=exit_codes_help(),
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_autopay)
    called = MODULE_OF.get(arguments[0]) if arguments else None
    for module in [called] if called else dict.fromkeys(MODULE_OF.values()):
        importlib.import_module(f"autopay.cli.{module}").register(app)
    return app


def _autopay() -> None:
    """Autopay buys data from paid HTTP APIs (x402 on Solana), exactly once."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; an error is one line on stderr."""
    if (empty := _empty_value(arguments)) is not None:
        note(f"error: {empty} is empty: give it a value, or leave it out", "red")
        return ExitCode.USAGE
    called = CALL.set(replace(CALL.get(), home=home_among(list(arguments))))
    try:
        build_app(arguments)(list(arguments), prog_name=CALL.get().program)
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else ExitCode.FAULT
    except CommandError as error:
        note(f"error: {error}", "red")
        return error.code
    except (SettingsError, PermanentFault) as error:
        note(f"error: {error}", "red")
        return ExitCode.USAGE
    except TransientFault as error:
        note(f"error: {error}", "red")
        return ExitCode.UNREACHABLE
    except Fault as error:
        note(f"error: {error}", "red")
        return ExitCode.FAULT
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    finally:
        CALL.reset(called)
    return ExitCode.OK


def _empty_value(arguments: Sequence[str]) -> str | None:
    """What was given an empty value, as an unset variable of a shell does; it must not mean that nothing was given."""
    for before, word in zip(["", *arguments], arguments, strict=False):
        if word == "":
            return before if before.startswith("-") else "an argument"
        if word.startswith("--") and word.endswith("=") and word.count("=") == 1:
            return word.removesuffix("=")
    return None


def main() -> NoReturn:
    """The process: run, flush, and leave at once, as the Temporal SDK's threads may abort a normal exit."""
    CALL.set(own_call())
    try:
        code = run(sys.argv[1:])
    except Exception:  # a bug: whoever reports it needs all of it
        traceback.print_exc()
        code = ExitCode.FAULT
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # a reader that went away, like `| head`
            code = code or ExitCode.FAULT
    os._exit(code)
