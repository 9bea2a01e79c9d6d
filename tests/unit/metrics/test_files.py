"""Dashboards, alerts and documents: they name metrics that exist, and the runbook has a section for each alert."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from autopay.metrics.document import markdown
from autopay.metrics.recording import names_of
from autopay.metrics.table import ALL, SDK_SERIES

ROOT = Path(__file__).parents[3]
FILES = ROOT / "observability"
DASHBOARDS = sorted((FILES / "grafana/dashboards").glob("*.json"))
ALERTS = FILES / "prometheus/alerts.yml"

PROMETHEUS = {"up"}
"""Made by Prometheus itself."""

WORDS = frozenset(
    (
        *("by", "on", "without", "ignoring", "group_left", "group_right", "and", "or", "unless", "offset", "bool"),
        *("sum", "max", "min", "avg", "count", "topk", "absent", "rate", "increase", "time", "histogram_quantile"),
        *("sort_desc", "vector"),
    )
)

_NOT_NAMES = re.compile(r"'[^']*'|\"[^\"]*\"|\{[^}]*\}|\[[^\]]*\]|\b(?:by|on|without|ignoring)\s*\([^)]*\)|\b\d[\w.]*")


def known_names() -> set[str]:
    """Every series that ours and the SDK's metrics have."""
    parts = ("", "_bucket", "_sum", "_count")
    return names_of(ALL) | {name + part for name in SDK_SERIES for part in parts} | PROMETHEUS


def names_in(query: str) -> set[str]:
    """The metrics that a query reads."""
    text = _NOT_NAMES.sub(" ", re.sub(r'"[^"]*"', '""', query))
    return set(re.findall(r"[A-Za-z_:][\w:]*", text)) - WORDS


def labels_in(query: str) -> Iterator[tuple[str, set[str]]]:
    """Each metric with the labels that are matched right behind it."""
    for name, matchers in re.findall(r"(\w+)\{([^}]*)\}", query):
        yield name, set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', matchers))


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> list[tuple[str, str]]:
    """Every query of the files, with where it stands."""
    found = [(rule["alert"], rule["expr"]) for rule in rules()]
    for file in DASHBOARDS:
        dashboard = json.loads(file.read_text(encoding="utf-8"))
        found += [
            (f"{file.name}: {panel['title']}", target["expr"])
            for panel in dashboard["panels"]
            for target in panel["targets"]
        ]
        for variable in dashboard["templating"]["list"]:
            inner = re.fullmatch(r"label_values\((\w+), \w+\)", variable["query"]["query"])
            assert inner is not None
            found.append((f"{file.name}: ${variable['name']}", inner[1]))
    return found


def test_the_reader_of_queries_finds_names() -> None:
    query = (
        'sum by (agent) (rate(a_total{b="c", d=~"e|f"}[5m] offset 1h)) / on (x) group_left () max(g) > 1e6 and h == 1'
    )
    assert names_in(query) == {"a_total", "g", "h"}
    assert list(labels_in(query)) == [("a_total", {"b", "d"})]


def test_every_query_reads_metrics_that_exist() -> None:
    known = known_names()
    assert len(queries()) > 60
    assert [(where, names_in(query) - known) for where, query in queries() if names_in(query) - known] == []
    assert [where for where, query in queries() if not names_in(query)] == []


def test_every_query_matches_labels_that_the_metric_has() -> None:
    of = {name: set(metric.labels) for metric in ALL for name in metric.series}
    wrong = [
        (where, name, given - of[name])
        for where, query in queries()
        for name, given in labels_in(query)
        if name in of and given - of[name]
    ]
    assert wrong == []


def test_every_metric_of_ours_is_on_a_dashboard_or_in_an_alert() -> None:
    used = {name for _, query in queries() for name in names_in(query)}
    assert [each.name for each in ALL if not used & set(each.series)] == []


def test_every_alert_has_a_section_in_the_runbook_and_every_section_an_alert() -> None:
    text = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
    titles = re.findall(r"^## (.+)$", text, re.MULTILINE)
    anchors = {title.lower().replace(" ", "-"): title for title in titles}
    linked: dict[str, list[str]] = {}
    for rule in rules():
        path, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert path == "docs/runbook.md"
        assert rule["labels"]["severity"] in ("page", "ticket", "info")
        linked.setdefault(anchor, []).append(rule["alert"])
    assert linked.keys() == anchors.keys()
    for anchor, alerts in linked.items():
        section = text.partition(f"\n## {anchors[anchor]}\n")[2].partition("\n## ")[0]
        assert [alert for alert in alerts if f"{alert}:" not in section] == []


def test_links_within_the_runbook_lead_to_its_sections() -> None:
    text = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
    anchors = {title.lower().replace(" ", "-") for title in re.findall(r"^## (.+)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([\w-]+)\)", text.replace("\n", " "))) <= anchors


def test_the_document_has_the_table_of_metrics() -> None:
    text = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    assert "\n".join(markdown()) in text, "write the lines of autopay.metrics.document.markdown() into docs/metrics.md"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool comes with Prometheus")
def test_prometheus_itself_reads_the_files() -> None:
    command = ["promtool", "check", "config", str(FILES / "prometheus/prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
