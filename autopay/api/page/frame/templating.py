"""Renders the page's templates. Everything is escaped; nothing is marked as safe."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from autopay import __version__
from autopay.api.access.actor import Scope
from autopay.api.page.frame import words
from autopay.api.page.frame.assets import address_of
from autopay.domain.report.flow import STEPS

if TYPE_CHECKING:
    from starlette.requests import Request

    from autopay.api.page.frame.shell import Shell

HTMX_CONFIG = json.dumps(
    {
        "extensions": "hx-csp,sse,page",
        "history": False,
        "includeIndicatorCSS": False,
        "morphSkipChildren": ".plot",
        "noSwap": [204, 304, "4xx", "5xx"],
        "sse": {"reconnectDelay": 500, "reconnectMaxDelay": 4000},
    }
)
"""Read by htmx from the document's head."""


PHASES = {
    "DEMO": "Demo: it stops by itself after a few payments.",
    "INTERACTIVE": "Interactive: it asks a person before it pays more than its policy allows.",
    "FULL": "Full: it buys by itself within its session and policy.",
}
"""What an agent's phase means."""


@dataclass(frozen=True)
class Told:
    """What became of the action before: shown above the view. `tone` is good, warn or bad."""

    tone: str
    title: str
    text: str = ""


TOLD = {
    "paused": Told("good", "The agent is told to pause.", "What is in flight finishes; the rest waits."),
    "resumed": Told("good", "The agent is told to go on."),
    "stopped": Told("good", "The agent is told to stop.", "It ends when its payments are final or failed."),
    "approved": Told("good", "Approved.", "The payment is signed with exactly the terms that you saw."),
    "denied": Told("good", "Denied.", "Nothing is paid."),
    "asked": Told("good", "The seller is asked again.", "It costs nothing: the same payment is shown once more."),
    "revoked": Told("good", "Revoked.", "Its key is destroyed: nothing new is paid with it."),
}
"""What an action tells in the view that comes after it, by the word in its address."""


@dataclass(frozen=True)
class Link:
    """An entry of the navigation; `count` is how much waits there."""

    text: str
    href: str
    current: bool
    count: int = 0


def _environment() -> Environment:
    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(Path(__file__).parents[1] / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (
        words.visible, words.visible_lines, words.amount, words.iso, words.exact, words.relative, words.short,
        words.clock, words.precise, words.seconds, words.milliseconds, words.count,
    )  # fmt: skip
    environment.filters |= {each.__name__: each for each in filters}
    environment.globals |= {
        "asset": address_of,
        "PHASES": PHASES,
        "STEPS": STEPS,
        "htmx_config": HTMX_CONFIG,
        "version": __version__,
    }
    return environment


TEMPLATES = _environment()


def render(
    request: Request,
    template: str,
    shell: Shell,
    *,
    status: int = 200,
    live: bool = True,
    told: Told | None = None,
    **values: Any,
) -> HTMLResponse:
    """A view within the frame; `live` has the browser bring it up to date as the ledger grows."""
    actor = getattr(request.state, "actor", None)
    text = TEMPLATES.get_template(template).render(
        shell=shell,
        navigation=navigation(request.url.path, shell) if actor is not None else (),
        actor=actor,
        may_act=actor is not None and actor.may(Scope.ACT),
        here=_here(request),
        nonce=request.state.nonce,
        csrf_token=getattr(request.state, "csrf_token", ""),
        now=datetime.now(UTC),
        cursor=shell.cursor,
        network_text=shell.network_text,
        live=live,
        told=told or _told(request),
        **values,
    )
    return HTMLResponse(text, status_code=status)


def _told(request: Request) -> Told | None:
    """What the action before told, if this page sent the browser here; another site's link tells nothing."""
    is_foreign = request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
    return None if is_foreign else TOLD.get(request.query_params.get("told", ""))


def _here(request: Request) -> str:
    """The view's address, without what it tells of an action: that is told once."""
    query = request.url.remove_query_params("told").query
    return request.url.path + (f"?{query}" if query else "")


def navigation(path: str, shell: Shell) -> Sequence[tuple[str, Sequence[Link]]]:
    """The groups of the navigation with their links."""

    def link(text: str, href: str, count: int = 0) -> Link:
        return Link(text, href, path == href or (href != "/" and path.startswith(f"{href}/")), count)

    return (
        ("Now", (link("Overview", "/"), link("Agents", "/agents"), link("Payments", "/payments"))),
        (
            "To do",
            (
                link("Approvals", "/approvals", shell.approvals),
                link("Disputes", "/disputes", shell.disputes),
                link("Sessions", "/sessions", shell.sessions_ending),
                link("Delegate", "/delegate"),
            ),
        ),
        ("Money", (link("Spending", "/spend"), link("Sellers", "/sellers"), link("Proof", "/audit"))),
    )
