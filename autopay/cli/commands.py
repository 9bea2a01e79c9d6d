"""The commands by name: what each is for, and the module that has its options, which is imported when it is called.

A new command is a line in `GROUPS`.
"""

import importlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_group

from autopay.cli.terminal.command_group import UncutGroup


class Entry(NamedTuple):
    """A command: its module in this package, which has `register(app)`, and its line in `--help`.

    The line is the first sentence of the command's own help; a test compares them. It fits into 80 columns.
    """

    module: str
    summary: str


GROUPS: Mapping[str, Mapping[str, Entry]] = {
    "Try it on this machine": {
        "demo": Entry("demo.demo", "Watch an agent buy data, and the money counted twice."),
        "up": Entry("operate.up", "Run the embedded stack in the foreground."),
        "fund": Entry("agent.fund", "Give an agent test tokens, on the embedded chain."),
        "faucet": Entry("operate.faucet", "Give any address SOL and test tokens, on the embedded chain."),
        "weather": Entry("operate.weather", "Show or set faults of the embedded stack's services."),
    },
    "Buy data": {
        "request": Entry("request.request", "Buy data from a URL and print it."),
        "show": Entry("request.show", "Show one request with its payments, timeline and content."),
        "retry": Entry("request.retry", "Ask the seller once more for what was paid, and print it."),
        "cancel": Entry("request.cancel", "Cancel a request: nothing more is signed for it."),
        "approvals": Entry("request.approvals", "List payments that wait for a person, oldest first."),
        "approve": Entry("request.approvals", "Approve a payment, on exactly the terms that are shown."),
        "deny": Entry("request.approvals", "Deny a payment: its request is refused, and nothing is paid."),
    },
    "Other programs": {
        "mcp": Entry("operate.mcp", "Serve tools for LLM agents (MCP): they buy through an agent."),
        "gateway": Entry("gateway.gateway", "Buy data for programs in any language, over HTTP."),
        "run": Entry("gateway.run", "Run a command that can buy data by a gateway of its own."),
    },
    "Run agents": {
        "launch": Entry("launch.launch", "Launch an agent, or all agents of a file."),
        "agents": Entry("agent.agents", "List all agents with their state and money."),
        "status": Entry("agent.status", "Show what an agent does, why, and what would change that."),
        "pause": Entry("agent.pause_resume_stop", "Pause an agent: it buys nothing new."),
        "resume": Entry("agent.pause_resume_stop", "Let a paused agent go on."),
        "stop": Entry("agent.pause_resume_stop", "Stop an agent, once its payments are final or failed."),
        "revive": Entry("launch.revive", "Bring back an agent that was terminated or does not answer."),
        "watch": Entry("agent.watch", "Let an agent keep data fresh: buy it again and again."),
        "unwatch": Entry("agent.watch", "Let an agent keep data fresh no longer."),
        "queue": Entry("agent.queue", "List the requests in an agent's queue, next first."),
        "phase": Entry("agent.rules", "Change how much an agent may do without a person."),
        "rules": Entry("agent.rules", "Show or change an agent's own limits."),
    },
    "Money and the ledger": {
        "session": Entry("session.group", "Grant agents keys that spend, and revoke them."),
        "policy": Entry("policy.group", "Limit what agents may pay, and whom."),
        "ledger": Entry("ledger.group", "See what was paid, and check it against the chain."),
    },
    "Operate": {
        "doctor": Entry("doctor.doctor", "Look for what keeps Autopay from working, and say what to do."),
        "worker": Entry("operate.worker", "Run a worker, which carries out agents and payments."),
        "upkeep": Entry("upkeep.upkeep", "Check, anchor and prune the ledger by schedule."),
        "serve": Entry("operate.serve", "Serve the API and the page, for browsers and programs."),
        "rollout": Entry("operate.rollout", "Send new work to a new build of the workers, or list builds."),
        "db": Entry("operate.db", "Migrate the ledger's database, and make its roles."),
        "seed": Entry("operate.db", "Put sample rows into the ledger."),
        "backup": Entry("operate.backup", "Write the ledger into a file while workers go on."),
        "restore": Entry("operate.backup", "Restore the ledger from a backup, with a fence."),
        "webhook": Entry("webhook.group", "Send events to other programs, signed and retried for a day."),
        "token": Entry("token.group", "Make tokens for the API and the page, and revoke them."),
        "keyring": Entry("operate.keyring", "Print a new keyring, which opens the ledger's secrets."),
        "vault": Entry("operate.vault", "Encrypt the ledger's secrets with a new key."),
    },
}
"""Every command under its heading, in the order of `--help`."""

COMMANDS: Mapping[str, Entry] = {name: entry for group in GROUPS.values() for name, entry in group.items()}
"""Every command by its name."""


class _CommandsOnDemand(Mapping[str, Any]):
    """The commands for typer: names are known at once, a command is made from its module when it is looked up."""

    def __getitem__(self, name: str) -> Any:
        module = importlib.import_module(f"autopay.cli.{COMMANDS[name].module}")
        app = typer.Typer(rich_markup_mode=None)
        app.callback()(lambda: None)  # with a callback it is a group, also with a single command
        module.register(app)
        return get_group(app).commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class CommandGroup(UncutGroup):
    """The top level of the command line: its help, its completion and its suggestions for a mistyped name import no
    command."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _CommandsOnDemand()  # type: ignore[assignment]  # is only read

    def sections(self, ctx: Any) -> Mapping[str, Mapping[str, str]]:  # noqa: ARG002 - the group's signature
        """The headings, and under each the lines of its commands."""
        return {title: {name: entry.summary for name, entry in group.items()} for title, group in GROUPS.items()}

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """The names that begin so, each with its line, and then options."""
        from typer._click.shell_completion import CompletionItem  # typer has a click of its own

        names = [
            CompletionItem(name, help=entry.summary) for name, entry in COMMANDS.items() if name.startswith(incomplete)
        ]
        return [*names, *super(TyperGroup, self).shell_complete(ctx, incomplete)]
