"""`db roles`: database roles of least privilege."""

import secrets
import sys
from typing import Annotated

import typer

from autopay.cli.terminal.console import note, print_json, print_line
from autopay.cli.terminal.exit_codes import CommandError, ExitCode, examples_help
from autopay.cli.terminal.options import HomeOption, JsonOption
from autopay.settings import Settings

AdminOption = Annotated[
    str | None,
    typer.Option(
        "--admin-url",
        metavar="URL",
        help="The role to use on the ledger's server; its password may be in PGPASSWORD.",
        show_default="the ledger's own",
    ),
]

PASSWORD_BYTES = 32


def register(db: typer.Typer) -> None:
    """Add the command to the group `db`."""
    shown = examples_help(
        "db roles",
        "db roles --admin-url postgresql://postgres@db.example/postgres --json",
        "db roles --work-password - < password-file",
    )
    db.command("roles", epilog=shown)(roles)


def roles(
    work_password: Annotated[
        str | None,
        typer.Option(metavar="PASSWORD", help="For autopay_work; `-` reads it from stdin.", show_default="generated"),
    ] = None,
    new_passwords: Annotated[
        bool, typer.Option("--new-passwords", help="Make new passwords for roles that exist.")
    ] = False,
    admin_url: AdminOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make database roles with the least rights they need.

    Workers run as autopay_work: it can read and pay, and cannot rewrite what was recorded. autopay_read reads
    everything that is not encrypted. autopay_migrate owns the tables. You can run it again at any time; `db upgrade`
    renews the rights. A new role gets a password, which is shown once.
    """
    settings = Settings.load(home=home).resolve("database_url")

    from autopay.adapters.postgres.maintenance.roles import Role, apply_rights, make_roles, missing_roles
    from autopay.adapters.postgres.maintenance.server import Server

    server = Server(settings.database_url, admin_url)
    new = Role if new_passwords else missing_roles(server)
    passwords = {role: secrets.token_hex(PASSWORD_BYTES) for role in new}
    if work_password is not None:
        passwords[Role.WORK] = _given(work_password)
    made = make_roles(server, passwords)
    apply_rights(server)
    if as_json:
        print_json([{"role": role.value, "made": role in made, "password": passwords.get(role)} for role in Role])
        return
    for role in Role:
        state = "made" if role in made else "exists already"
        print_line(f"{role.value}: {state}" + (f", password {passwords[role]}" if role in passwords else ""))
    note("give workers the URL of autopay_work in AUTOPAY_DATABASE_URL", "green")


def _given(option: str) -> str:
    found = sys.stdin.readline().rstrip("\n") if option == "-" else option
    if not found:
        raise CommandError("the password of autopay_work is empty", ExitCode.USAGE)
    return found
