"""Webhooks from end to end: a command makes an endpoint, a worker of the running stack sends what happens there."""

import json
from pathlib import Path

from standardwebhooks.webhooks import Webhook

from autopay.settings.stack_file import StackFile
from tests.ledger.receiver import Received, receiving
from tests.stack.shell import Shell
from tests.stack.town import PATIENCE_S

AGENT = "tells"


async def test_what_happens_is_sent_signed_to_who_asked_for_it(common_stack: StackFile) -> None:
    shell = Shell(Path(common_stack.home))
    await shell("launch", AGENT, "--phase", "full", "--allowance", "0.1", "--tx-limit", "100")

    def bought(received: list[Received]) -> bool:
        return any(
            each["type"] == "payment.final" and each["data"]["agent"] == AGENT
            for each in (json.loads(one.body) for one in received)
        )

    def came_again(received: list[Received]) -> bool:
        refused, taken = ({each.webhook_id for each in received if each.status == status} for status in (503, 204))
        return bool(refused) and refused <= taken

    async with receiving() as receiver:
        made = await shell.json("webhook", "add", f"{receiver.url}/hook", "--event", "payment.final")
        receiver.answers.extend([503])  # the first try fails
        url = f"{common_stack.market_api}/api/market-feed"
        await shell("request", url, "--agent", AGENT, "--id", "told-1", "--max-price", "0.01")
        await receiver.until(bought, within_s=PATIENCE_S)
        await receiver.until(came_again, within_s=PATIENCE_S)
        for each in receiver.received:
            Webhook(made["secret"]).verify(each.body, each.headers)
        listed = await shell.json("webhook", "list")
        assert [each["url"] for each in listed] == [f"{receiver.url}/hook"]
        await shell("webhook", "remove", made["endpoint_id"])
    assert await shell.json("webhook", "list") == []
