"""The server's client of the agent: made at the first call, so that a server can be started before the stack is."""

from pathlib import Path
from types import TracebackType
from typing import Self

from autopay.client.asking import checked_agent
from autopay.client.async_client import AsyncClient


class LateClient:
    """Makes the client when it is needed first, and again at the next call after that has failed.

    Args:
        agent: who pays.
        home: the folder of the embedded stack, when it is named.
        client: one that is made already, which its owner closes.

    Raises:
        InvalidCall: no agent can have that name.
    """

    def __init__(self, agent: str, home: Path | None = None, client: AsyncClient | None = None) -> None:
        self.agent = checked_agent(agent)
        self._home = home
        self._client = client
        self._is_own = client is None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None and self._is_own:
            await self._client.close()

    def get(self) -> AsyncClient:
        """The client.

        Raises:
            AutopayError: a setting is missing or wrong; says what to do, like starting the stack.
        """
        if self._client is None:
            self._client = AsyncClient(self.agent, home=self._home)
        return self._client
