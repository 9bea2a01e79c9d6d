"""`policy payees` and `policy accept`: whom an origin is known to be paid at."""

from collections.abc import Sequence
from typing import Annotated

import typer

from autopay.cli.connect.connections import ledger_of
from autopay.cli.connect.event_loop import run_async
from autopay.cli.connect.ordering import ordered_by_command
from autopay.cli.terminal.console import note, print_json
from autopay.cli.terminal.exit_codes import examples_help
from autopay.cli.terminal.options import HomeOption, JsonOption, http_url, solana_address
from autopay.cli.terminal.tables import print_table
from autopay.domain.policy.records import PayeeRecord
from autopay.domain.text.hosts import origin_text
from autopay.settings import Settings


def register(policy: typer.Typer) -> None:
    """Add the commands to the group `policy`."""
    policy.command("payees", epilog=examples_help("policy payees", "policy payees --json"))(payees)
    accepted = examples_help("policy accept https://api.example.com 9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin")
    policy.command("accept", epilog=accepted)(accept)


def payees(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the known payees of each seller.

    The first payment to an origin makes its payee known. Another payee is refused, or a person is asked, until you
    accept it.
    """
    rows = run_async(_payees(Settings.load(home=home).resolve("database_url")))
    if as_json:
        print_json([row.model_dump(mode="json") for row in rows])
    elif not rows:
        note("no payee is known yet: the first payment to an origin makes one known")
    else:
        print_table(
            ("origin", "payee", "accepted by", "since (UTC)", "network"),
            ((row.origin, row.pay_to, row.accepted_by, f"{row.accepted_at:%F %T}", row.network.value) for row in rows),
        )


async def _payees(settings: Settings) -> Sequence[PayeeRecord]:
    async with ledger_of(settings) as ledger:
        return await ledger.policies.payees()


def accept(
    origin: Annotated[str, typer.Argument(help="Scheme, host and port of the seller: https://api.example.com.")],
    payee: Annotated[str, typer.Argument(help="The wallet address that it may be paid at.")],
    home: HomeOption = None,
) -> None:
    """Accept another payee of a seller, for every agent.

    Ask the seller over another channel first: whoever controls the site can name any payee.
    """
    where, address = origin_text(http_url(origin)), str(solana_address(payee))
    settings = Settings.load(home=home).resolve("database_url")
    if run_async(_accept(settings, where, address)):
        note(f"{where} may be paid at {address} from now on", "green")
    else:
        note(f"{where} may be paid at {address} already")


async def _accept(settings: Settings, origin: str, payee: str) -> bool:
    async with (
        ledger_of(settings) as ledger,
        ordered_by_command(ledger, "policy accept", target=origin, details={"pay_to": payee}),
    ):
        return await ledger.policies.accept_payee(settings.network, origin, payee)
