"""docs/metrics.md's table of metrics, which a test compares with the document."""

from collections.abc import Iterator

from autopay.metrics.table import ALL, SDK_SERIES


def markdown() -> Iterator[str]:
    """The lines of both tables: ours, and the SDK's as far as dashboards and alerts use them."""
    yield "| name | kind | labels | what |"
    yield "|---|---|---|---|"
    for each in ALL:
        name = f"{each.name}_total" if each.kind == "counter" else each.name
        yield f"| `{name}` | {each.kind} | {', '.join(each.labels)} | {each.help} |"
    yield ""
    yield "| the SDK's | what |"
    yield "|---|---|"
    for name, what in SDK_SERIES.items():
        yield f"| `{name}` | {what} |"
