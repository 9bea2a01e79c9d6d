"""The command line as a whole: one call of it, and the exit code of each error."""

import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, NoReturn

import typer

from autopay import __version__
from autopay.cli.commands import CommandGroup
from autopay.cli.terminal.completion import (
    COMPLETE_VARIABLE,
    InstallCompletion,
    ShowCompletion,
    prepare_completion,
)
from autopay.cli.terminal.console import note
from autopay.cli.terminal.exit_codes import CommandError, ExitCode, code_of, exit_codes_help
from autopay.client.errors import AutopayError
from autopay.domain.errors import Fault, PermanentFault, SettingsError, TransientFault
from autopay.domain.text.command_line import CALL, home_among
from autopay.own_call import COMMAND, own_call
from autopay.top_level import import_from_top_level


def build_app() -> typer.Typer:
    """The command line; a command is imported when it is called."""
    app = typer.Typer(
        cls=CommandGroup,
        name=CALL.get().program,
        help="Autopay buys data from paid HTTP APIs (x402 on Solana), exactly once.",
        epilog=exit_codes_help(),
        no_args_is_help=True,
        add_completion=False,  # it has options of its own for that
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_autopay)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{COMMAND} {__version__}")
        raise typer.Exit


def _autopay(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    install_completion: InstallCompletion = False,
    show_completion: ShowCompletion = False,
) -> None:
    """Autopay buys data from paid HTTP APIs (x402 on Solana), exactly once."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; an error is one line on stderr."""
    if (empty := _empty_value(arguments)) is not None:
        note(f"error: {empty} is empty: give it a value, or leave it out", "red")
        return ExitCode.USAGE
    prepare_completion()
    called = CALL.set(replace(CALL.get(), home=home_among(list(arguments))))
    try:
        build_app()(list(arguments), prog_name=CALL.get().program, complete_var=COMPLETE_VARIABLE)
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else ExitCode.FAULT
    except CommandError as error:
        note(f"error: {error}", "red")
        return error.code
    except AutopayError as error:
        note(f"error: {error}", "red")
        return code_of(error)
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
        if word == "--":  # what follows may be another program's
            return None
        if word == "":
            return before if before.startswith("-") else "an argument"
        if word.startswith("--") and word.endswith("=") and word.count("=") == 1:
            return word.removesuffix("=")
    return None


def main() -> NoReturn:
    """The process: run, flush, and leave at once, as the Temporal SDK's threads may abort a normal exit."""
    import_from_top_level()
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
