"""What earlier releases began, this code goes on with: their histories are replayed by today's workflows.

`make histories` records those of the present release in `tests/histories/VERSION`; what a release has recorded is
never recorded again.
"""

import gzip
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from autopay.temporal.converter import data_converter
from autopay.temporal.runner import ReplayableRunner
from tests.workflow.conftest import KEYRING
from worker import WORKFLOWS
from workflows.messages import MessageChecks

HISTORIES = Path(__file__).parents[1] / "histories"
RELEASES = sorted(HISTORIES.glob("*.*.*"))


def histories_of(release: Path) -> list[WorkflowHistory]:
    """Everything that a release recorded."""
    files = sorted(release.glob("*.json.gz"))
    return [WorkflowHistory.from_json(each.name, gzip.decompress(each.read_bytes()).decode()) for each in files]


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.name)
async def test_every_history_of_a_release_replays(release: Path) -> None:
    replayer = Replayer(
        workflows=WORKFLOWS,
        data_converter=data_converter(KEYRING),
        workflow_runner=ReplayableRunner(SandboxedWorkflowRunner()),
        interceptors=[MessageChecks()],
    )
    recorded = histories_of(release)
    assert len(recorded) > 10, "a release without histories proves nothing"
    kinds = set()
    for history in recorded:
        kinds.add(history.events[0].workflow_execution_started_event_attributes.workflow_type.name)
        await replayer.replay_workflow(history)
    assert kinds >= {"Agent", "PaidRequest"}
