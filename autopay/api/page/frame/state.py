"""What the page keeps between two views: readings that many viewers share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

from fastapi import Depends
from starlette.requests import HTTPConnection

from autopay.api.page.frame.kept import Kept

if TYPE_CHECKING:
    from autopay.api.models.agents import AgentList
    from autopay.api.page.parts.spending import Spending
    from autopay.api.page.parts.waiting import Waiting

AGENTS_S = 1.0
"""The agents themselves are asked at most so often."""


class PageState:
    """The readings that are kept."""

    def __init__(self, agents: Kept[AgentList], spending: Kept[Spending], waiting: Kept[Waiting]) -> None:
        self.agents = agents
        self.spending = spending
        self.waiting = waiting


def state_of(connection: HTTPConnection) -> PageState:
    """The state of the application that was asked."""
    return cast(PageState, connection.app.state.page)


StateNeeded = Annotated[PageState, Depends(state_of)]
"""A view's argument that is the application's state."""
