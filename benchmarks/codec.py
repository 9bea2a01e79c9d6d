"""What sealing Temporal's payloads costs: `python -m benchmarks.codec`. Needs nothing that runs.

Two numbers: the codec alone on payloads of common sizes, and whole workflows on a development server of its own, with
as many payloads as a payment has (six activities with summaries), once in clear and once sealed, one at a time, in
turns. CPU time is this process's: worker and client.

Measured on two busy cores: 10 to 20 µs to seal or open 1 kB; 36.9 ms a workflow in clear and 40.3 sealed, of which
16.7 and 18.1 ms were CPU.
"""

import argparse
import asyncio
import statistics
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from autopay.adapters.vault import Keyring
from autopay.temporal.codec import SealedPayloads
from autopay.temporal.converter import data_converter

STEP = timedelta(seconds=30)
CONTENT = "x" * 700
"""As long as what a step of a payment takes and gives, on average."""


@activity.defn
async def step(content: str) -> str:
    """Gives back what it gets."""
    return content


@workflow.defn
class SixSteps:
    """Five local activities and a scheduled one."""

    @workflow.run
    async def run(self, content: str) -> str:
        """The content, after six steps."""
        for number in range(5):
            content = await workflow.execute_local_activity(
                step, content, start_to_close_timeout=STEP, summary=f"step {number}"
            )
        return await workflow.execute_activity(step, content, start_to_close_timeout=STEP, summary="the last step")


@dataclass(frozen=True)
class Took:
    """Milliseconds a workflow took, by the clock and of this process's CPU."""

    clock_ms: float
    cpu_ms: float


async def codec_alone(size: int, count: int = 2_000) -> tuple[float, float]:
    """Microseconds to seal and to open one payload of that many bytes."""
    codec = SealedPayloads(Keyring.generate())
    clear = [Payload(metadata={"encoding": b"json/plain"}, data=b"x" * size)] * count
    begin = time.perf_counter()
    sealed = await codec.encode(clear)
    half = time.perf_counter()
    await codec.decode(sealed)
    return (half - begin) / count * 1e6, (time.perf_counter() - half) / count * 1e6


async def workflows(client: Client, queue: str, count: int) -> list[Took]:
    """Run that many, one after the other."""
    took = []
    for number in range(count):
        clock, cpu = time.perf_counter(), time.process_time()
        await client.execute_workflow(SixSteps.run, CONTENT, id=f"{queue}-{time.time_ns()}-{number}", task_queue=queue)
        took.append(Took((time.perf_counter() - clock) * 1e3, (time.process_time() - cpu) * 1e3))
    return took


async def main(rounds: int, count: int) -> None:
    """Measure and print."""
    for size in (100, 1_000, 10_000, 1_000_000):
        sealing, opening = await codec_alone(size, 2_000 if size < 100_000 else 20)
        sys.stdout.write(f"{size:>9} bytes: seal {sealing:7.1f} µs, open {opening:7.1f} µs\n")
    server = await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(Path(sys.executable).parent / "temporal"),
        dev_server_extra_args=["--dynamic-config-value", "history.transferProcessorMaxPollRPS=1000"],
    )
    async with server:
        address = server.client.service_client.config.target_host
        converters = {"clear": pydantic_data_converter, "sealed": data_converter(Keyring.generate())}
        took: dict[str, list[Took]] = {name: [] for name in converters}
        clients = {name: await Client.connect(address, data_converter=each) for name, each in converters.items()}
        for number in range(rounds + 1):
            for name, client in clients.items():
                worker = Worker(
                    client,
                    task_queue=name,
                    workflows=[SixSteps],
                    activities=[step],
                    workflow_runner=UnsandboxedWorkflowRunner(),
                )
                async with worker:
                    measured = await workflows(client, name, count)
                took[name] += measured if number else []  # the first round warms up
    for name, each in took.items():
        clock, cpu = (statistics.median(getattr(one, field) for one in each) for field in ("clock_ms", "cpu_ms"))
        sys.stdout.write(f"{name:>7}: {clock:6.1f} ms a workflow, {cpu:5.1f} ms of CPU (medians of {len(each)})\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--count", type=int, default=20)
    given = parser.parse_args()
    asyncio.run(main(given.rounds, given.count))
