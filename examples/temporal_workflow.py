"""A workflow of another team that buys data: `python examples/temporal_workflow.py URL [--max-price 0.01]`.

It needs nothing of Autopay's but `autopay.temporal`: no database, no keyring, no wallet. Its Temporal is the one that
TEMPORAL_ADDRESS names, where a Nexus endpoint `autopay` leads to Autopay's workers (`autopay up` makes it).

Kill it at any moment and start it again with the same --workflow-id: the data is paid for once, and comes.
"""

import argparse
import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.envconfig import ClientConfig
from temporalio.worker import Worker

import autopay.temporal

TASK_QUEUE = "reports"


@workflow.defn
class Report:
    """Makes a report of data that costs money."""

    @workflow.run
    async def run(self, url: str, max_price: str | None, agent: str | None) -> str:
        """The report, or why there is none."""
        try:
            fetched = await autopay.temporal.fetch(url, max_price=max_price, agent=agent, timeout=timedelta(days=1))
        except autopay.temporal.FetchFailed as failed:
            return f"no report: {failed.type}: {failed.message}"
        paid = "nothing" if fetched.price is None else f"{fetched.price} {fetched.currency}"
        return f"{fetched.status} for {paid}: {fetched.text}"


async def main() -> None:
    """Start the workflow, or go on with it, and work until it has ended."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("url")
    arguments.add_argument("--max-price")
    arguments.add_argument("--agent")
    arguments.add_argument("--workflow-id", default="report")
    given = arguments.parse_args()
    config = ClientConfig.load_client_connect_config()
    client = await Client.connect(**config, plugins=[autopay.temporal.Plugin()])
    async with Worker(client, task_queue=TASK_QUEUE, workflows=[Report]):
        report = await client.execute_workflow(
            Report.run,
            args=[given.url, given.max_price, given.agent],
            id=given.workflow_id,
            task_queue=TASK_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
    print(report)


if __name__ == "__main__":
    asyncio.run(main())
