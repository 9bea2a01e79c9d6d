"""The commands by name: what each is for, and the module that has its options, which is imported when it is called."""

import importlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group


class Entry(NamedTuple):
    """A command: its module in this package, which has `register(app)`, and its line in `--help`.

    The line is the first sentence of the command's own help; a test compares them.
    """

    module: str
    summary: str


COMMANDS = {
    "demo": Entry("demo.demo", "Watch an agent buy data, and the money counted twice."),
    "up": Entry("operate.up", "Run the embedded stack in the foreground."),
    "launch": Entry("launch.launch", "Launch an agent, or all agents of a file."),
    "fund": Entry("agent.fund", "Give an agent test tokens, on the embedded chain."),
    "request": Entry("request.request", "Buy data from a URL and print it."),
    "agents": Entry("agent.agents", "List all agents with their state and money."),
    "status": Entry("agent.status", "Show what an agent does, why, and what would change that."),
    "pause": Entry("agent.pause_resume_stop", "Pause an agent: it buys nothing new."),
    "resume": Entry("agent.pause_resume_stop", "Let a paused agent go on."),
    "stop": Entry("agent.pause_resume_stop", "Stop an agent, once its payments are final or failed."),
    "revive": Entry("launch.revive", "Bring back an agent whose workflow no longer answers, or was terminated."),
    "phase": Entry("agent.rules", "Change how much an agent may do without a person."),
    "rules": Entry("agent.rules", "Show or change an agent's own limits."),
    "watch": Entry("agent.watch", "Let an agent keep data fresh: buy it again and again."),
    "unwatch": Entry("agent.watch", "Let an agent keep data fresh no longer."),
    "queue": Entry("agent.queue", "List the requests in an agent's queue, next first."),
    "cancel": Entry("request.cancel", "Cancel a request: nothing more is signed for it."),
    "approvals": Entry("request.approvals", "List payments that wait for a person, oldest first."),
    "approve": Entry("request.approvals", "Approve a payment, on exactly the terms that are shown."),
    "deny": Entry("request.approvals", "Deny a payment: its request is refused, and nothing is paid."),
    "show": Entry("request.show", "Show one request: what became of it, its payments, its timeline and its content."),
    "retry": Entry("request.retry", "Ask the seller once more for what was paid, and print it."),
    "weather": Entry("operate.weather", "Show or set faults of the embedded stack's services."),
    "faucet": Entry("operate.faucet", "Give any address SOL and test tokens, on the embedded chain."),
    "backup": Entry("operate.backup", "Write the ledger into a file while workers go on."),
    "restore": Entry("operate.backup", "Restore the ledger from a backup, with a fence."),
    "seed": Entry("operate.db", "Put sample rows into the ledger."),
    "keyring": Entry("operate.keyring", "Print a new keyring, for the file that AUTOPAY_KEYRING_FILE names."),
    "rollout": Entry("operate.rollout", "Send new work to a new build of the workers, or list builds."),
    "session": Entry("session.group", "Grant agents keys that spend, and revoke them."),
    "policy": Entry("policy.group", "Limit what agents may pay, and whom."),
    "ledger": Entry("ledger.group", "See what was paid, and check it against the chain."),
    "db": Entry("operate.db", "Migrate the ledger's database, and make its roles."),
    "vault": Entry("operate.vault", "Encrypt the ledger's secrets with a new key."),
}
"""Every command, in the order of `--help`."""


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


class CommandGroup(TyperGroup):
    """The top level of the command line: its help and its suggestions for a mistyped name import no command."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _CommandsOnDemand()  # type: ignore[assignment]  # is only read

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - typer's signature
        """Write the list of commands, each with its summary, as typer does with the commands themselves."""
        limit = formatter.width - 6 - max(map(len, COMMANDS))
        rows = [
            (name, TyperCommand(name, help=entry.summary).get_short_help_str(limit)) for name, entry in COMMANDS.items()
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
