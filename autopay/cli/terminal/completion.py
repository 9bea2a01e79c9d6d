"""Completion in shells: what `--install-completion` and `--show-completion` do, by the scripts that typer has.

The script of a shell calls the program with `COMPLETE_VARIABLE` set to learn what could be typed next.
"""

import os
from collections.abc import Callable
from typing import Annotated

import typer

from autopay.cli.terminal.exit_codes import CommandError
from autopay.own_call import COMMAND

COMPLETE_VARIABLE = "_AUTOPAY_COMPLETE"
"""Typer's name of it for this program."""

SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")


def prepare_completion() -> None:
    """Let the command line answer a shell that asks what could be typed, if one does."""
    if COMPLETE_VARIABLE in os.environ:
        from typer._completion_classes import completion_init

        completion_init()


def _show(wanted: bool) -> None:
    if wanted:
        from typer._completion_shared import get_completion_script

        typer.echo(get_completion_script(prog_name=COMMAND, complete_var=COMPLETE_VARIABLE, shell=_own_shell()))
        raise typer.Exit


def _install(wanted: bool) -> None:
    if wanted:
        from typer._completion_shared import install

        shell = _own_shell()
        try:
            _, file = install(shell=shell, prog_name=COMMAND, complete_var=COMPLETE_VARIABLE)
        except OSError as error:
            raise CommandError(f"completion for {shell} cannot be written: {error}") from None
        typer.echo(f"{shell} completes {COMMAND} from its next start on: {file}")
        raise typer.Exit


def _own_shell() -> str:
    """The shell that this process was called from.

    Raises:
        CommandError: it cannot be found out, or it has no completion.
    """
    from shellingham import ShellDetectionFailure, detect_shell

    try:
        shell, _ = detect_shell()
    except ShellDetectionFailure:
        shell = "no shell"
    if shell not in SHELLS:
        raise CommandError(f"this was called from {shell}: call it from {', '.join(SHELLS[:-1])} or {SHELLS[-1]}")
    return str(shell)


def _option(name: str, act: Callable[[bool], None], what: str) -> typer.models.OptionInfo:
    info: typer.models.OptionInfo = typer.Option(name, callback=act, is_eager=True, expose_value=False, help=what)
    return info


InstallCompletion = Annotated[
    bool, _option("--install-completion", _install, "Have this shell complete commands and options.")
]
ShowCompletion = Annotated[bool, _option("--show-completion", _show, "Print what that installs.")]
