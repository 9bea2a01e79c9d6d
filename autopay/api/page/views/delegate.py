"""`/delegate`: a wallet in the browser grants a session; `/delegate/{session}`: it signs or revokes one there is."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from autopay.api.page.frame.routing import PageRoute
from autopay.api.page.frame.shell import ShellNeeded
from autopay.api.page.frame.state import StateNeeded
from autopay.api.page.frame.templating import render
from autopay.api.services import ServicesNeeded
from autopay.delegation.drafts import default_file, known_session
from autopay.domain.money import Currency
from autopay.domain.network import wallet_name
from autopay.domain.session import MAX_TX_LIMIT
from autopay.domain.text.command_line import command_line

ALLOWANCE = "1.00"
ABOUT = (
    "An agent spends from an account of its own, which your wallet opens and fills for it. The chain lets its key take "
    "no more than what you put in, and what is left comes back to your wallet when you revoke it."
)

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/delegate")
async def delegate(
    request: Request, shell: ShellNeeded, services: ServicesNeeded, state: StateNeeded, agent: str = ""
) -> Response:
    """A new grant."""
    agents = await state.agents()
    return render(
        request,
        "delegate.html",
        shell,
        live=False,
        title="Delegate with a wallet",
        about=ABOUT,
        does="grant",
        session=None,
        agent=agent[:60],
        agents=[each.name for each in agents.items],
        allowance=ALLOWANCE,
        currencies=[each.value for each in Currency],
        most_payments=MAX_TX_LIMIT,
        button="Show what is to be signed",
        command=command_line(
            "session", "grant", "trader", "--allowance", "1.00", "--owner", "WALLET", "--export", "grant.json"
        ),
        chain=wallet_name(services.settings.network),
        may_make=await services.owners_ledger.sessions.may_make(),
    )


@router.get("/delegate/{session_id}")
async def delegate_session(
    request: Request,
    session_id: UUID,
    shell: ShellNeeded,
    services: ServicesNeeded,
    revoke: bool = False,
) -> Response:
    """A session that waits for its owner is signed, unless it is to be revoked; any other is revoked."""
    session = await known_session(services.sources.ledger, session_id)
    signs = session.status == "ACTIVE" and not session.granted and not revoke
    words = _sign_words if signs else _revoke_words
    return render(
        request,
        "delegate.html",
        shell,
        live=False,
        **words(session_id, default_file(session)),
        session=session,
        chain=wallet_name(services.settings.network),
        may_make=await services.owners_ledger.sessions.may_make(),
    )


def _sign_words(session_id: UUID, file: str) -> dict[str, Any]:
    return {
        "title": "Sign a session that waits",
        "about": "This session was made and can pay nothing before its owner has signed and the chain shows it.",
        "does": "grant",
        "button": "Show what is to be signed",
        "command": command_line("session", "export", session_id, file),
    }


def _revoke_words(session_id: UUID, file: str) -> dict[str, Any]:
    return {
        "title": "Revoke a session",
        "about": "The session ends at once and its key is destroyed: nothing new is paid with it. Then your wallet "
        "signs what brings the rest of the allowance back, and closes the account.",
        "does": "revoke",
        "button": "End the session now",
        "command": command_line("session", "revoke", session_id, "--export", file),
    }
