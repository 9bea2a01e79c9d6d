"""A group of commands whose `--help` gives each command its whole line, and how such a group is made."""

from collections.abc import Iterable, Mapping
from typing import Any

import typer
from typer.core import TyperGroup

NEVER_CUT = 10_000


class UncutGroup(TyperGroup):
    """A group that lists its commands under headings; typer would cut the lines that are too long."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the lists of commands, each with the first sentence of its own help, wrapped in a narrow terminal."""
        sections = self.sections(ctx)
        longest = max(len(name) for rows in sections.values() for name in rows)
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(longest), line) for name, line in rows.items()])

    def sections(self, ctx: Any) -> Mapping[str, Mapping[str, str]]:
        """Headings, and under each the lines of commands by their names."""
        shown: Iterable[Any] = filter(None, (self.get_command(ctx, name) for name in self.list_commands(ctx)))
        lines = {command.name: command.get_short_help_str(NEVER_CUT) for command in shown if not command.hidden}
        return {"Commands": lines}


def command_group(summary: str) -> typer.Typer:
    """An empty group with this line in the list of commands; without a command it prints its help."""
    return typer.Typer(cls=UncutGroup, help=summary, no_args_is_help=True)
