"""Hangs the page into the application: its views, its stream, its scripts and styles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autopay.api.page.frame import stream
from autopay.api.page.frame.assets import static_file
from autopay.api.page.frame.kept import Kept
from autopay.api.page.frame.state import AGENTS_S, PageState
from autopay.api.page.parts.spending import read_spending
from autopay.api.page.parts.waiting import read_waiting
from autopay.api.page.views import acts, agents, books, delegate, login, money, overview, payments, requests, todo

if TYPE_CHECKING:
    from fastapi import FastAPI

    from autopay.api.services import Services


def add_page(app: FastAPI, services: Services) -> None:
    """Add the page's routes."""
    app.state.page = PageState(
        agents=Kept(services.readings.agents, AGENTS_S),
        spending=Kept(lambda: read_spending(services)),
        waiting=Kept(lambda: read_waiting(services)),
    )
    for view in (overview, agents, payments, requests, todo, delegate, money, books, acts, login, stream):
        app.include_router(view.router)
    app.add_api_route("/static/{name}", static_file, methods=["GET"], include_in_schema=False)
