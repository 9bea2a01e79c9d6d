"""The deployment files agree with the Compose specification, with the program, and with each other.

`compose_spec/compose-spec.json` is the specification's schema (github.com/compose-spec/compose-spec, Apache-2.0).
"""

import importlib.util
import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from dotenv import dotenv_values

import worker
from autopay import __version__
from autopay.adapters.vault import Keyring
from autopay.cli import app
from autopay.health.alive import ALIVE_INTERVAL
from autopay.settings import Settings
from localnet.temporal import SEARCH_ATTRIBUTES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
EXAMPLE = dotenv_values(ROOT / ".env.example")
VARIABLE = re.compile(r"(?<!\$)\$\{(?P<name>\w+)(?P<default>:[-?][^}]*)?\}")
EXACT_TAG = re.compile(r"[\w./-]+:\d+\.\d+(\.\d+)?(-[a-z-]+)?")
PIN = re.compile(r"^([\w.-]+)==(\S+)", re.MULTILINE)


class StrictLoader(yaml.SafeLoader):  # type: ignore[misc]  # it has no types
    """Refuses a key that is given twice, as Compose does."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        if len(names) != len(set(names)):
            raise yaml.constructor.ConstructorError(None, None, f"a key is given twice: {names}", node.start_mark)
        built: dict[Any, Any] = super().construct_mapping(node, deep)
        return built


COMPOSE: dict[str, Any] = yaml.load(TEXT, StrictLoader)  # noqa: S506 (a SafeLoader)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
each_service = pytest.mark.parametrize("name", SERVICES)


def wanted_by(name: str, condition: str) -> list[str]:
    """The services that wait for this one to be so."""
    return [
        other
        for other, service in SERVICES.items()
        if service.get("depends_on", {}).get(name) == {"condition": condition}
    ]


def is_job(name: str) -> bool:
    """Whether the service does its work and ends."""
    return name == "starter" or bool(wanted_by(name, "service_completed_successfully"))


def health_of(name: str) -> dict[str, Any]:
    """The service's own health check; empty when it has none or turns the image's off."""
    check: dict[str, Any] = SERVICES[name].get("healthcheck", {})
    return {} if check.get("disable") else check


def seconds(text: str) -> float:
    """Of a Compose duration."""
    number, unit = re.fullmatch(r"(\d+)(s|m)", text).groups()  # type: ignore[union-attr]
    return int(number) * {"s": 1, "m": 60}[unit]


def filled_in(text: str, given: dict[str, str]) -> str:
    """What Compose makes of the variables in a value."""
    return VARIABLE.sub(lambda found: given[found["name"]] or (found["default"] or "")[2:], text)


def scripts() -> Iterator[tuple[str, str]]:
    """Every shell script in the file, as the shell gets it."""
    for name, service in SERVICES.items():
        if "-euc" in service.get("entrypoint", []):
            yield name, service["command"][0].replace("$$", "$")


def test_the_file_follows_the_specification() -> None:
    schema = json.loads((ROOT / "tests/unit/compose_spec/compose-spec.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(COMPOSE)


@each_service
def test_every_image_has_an_exact_tag(name: str) -> None:
    assert EXACT_TAG.fullmatch(SERVICES[name]["image"])


def test_the_image_is_built_on_an_exact_tag_and_is_called_after_this_version() -> None:
    assert all(EXACT_TAG.fullmatch(base) for base in re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))
    built = {service["image"] for service in SERVICES.values() if "build" in service}
    assert built == {f"autopay:{__version__}"}


@each_service
def test_a_service_shows_its_health_and_stays_up_or_is_a_job_that_ends(name: str) -> None:
    if is_job(name):
        assert not health_of(name)
        assert SERVICES[name].get("restart", "no") in ("no", "on-failure:5")
    else:
        assert health_of(name)["test"]
        assert SERVICES[name]["restart"] == "unless-stopped"


@each_service
def test_what_a_service_waits_for_exists_and_can_come_true(name: str) -> None:
    for other, wanted in SERVICES[name].get("depends_on", {}).items():
        match wanted["condition"]:
            case "service_healthy":
                assert health_of(other)
            case "service_completed_successfully":
                assert is_job(other)
            case condition:
                pytest.fail(f"{other}: {condition}")


@each_service
def test_every_setting_is_one(name: str) -> None:
    given = {variable for variable in SERVICES[name].get("environment", {}) if variable.startswith("AUTOPAY_")}
    assert given <= {f"AUTOPAY_{field.upper()}" for field in Settings.model_fields if field != "stack"}


def test_the_settings_of_a_worker_are_enough_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    typed_in = {
        "WORKER_PASSWORD": "0af1",
        "AUTOPAY_KEYRING": Keyring.generate().dump(),
        "AUTOPAY_SOLANA_RPC_URL": "https://rpc.example",
    }
    given = {name: value or "" for name, value in EXAMPLE.items()} | typed_in
    environment = SERVICES["worker"]["environment"]
    for name, value in environment.items():
        monkeypatch.setenv(name, filled_in(str(value), given))
    settings = Settings.load().resolve()
    assert settings.database_url == "postgresql://autopay_work:0af1@postgres:5432/autopay"
    assert settings.solana_ws_url == "wss://rpc.example"
    assert {"TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE"} <= set(environment)


def test_the_example_has_every_variable_and_no_other() -> None:
    used = {found["name"] for found in VARIABLE.finditer(TEXT)}
    assert used == set(EXAMPLE)


def test_the_example_has_no_secret_and_no_default_of_its_own() -> None:
    for found in VARIABLE.finditer(TEXT):
        default = found["default"]
        assert EXAMPLE[found["name"]] == ("" if default.startswith(":?") else default[2:])


@pytest.mark.parametrize(
    "line",
    [
        " ".join(service["command"][1:])
        for service in SERVICES.values()
        if service.get("command", [""])[0] == "starter.py"
    ]
    + re.findall(r"starter\.py ((?:[a-z]+ ?)+)", (ROOT / ".env.example").read_text())
    + re.findall(
        r"(?:starter|starter\.py) ((?:ledger|db|launch|keyring|backup|restore|vault|session)(?: [a-z]+)?)",
        (ROOT / "docs/deploy.md").read_text(),
    ),
)
def test_every_command_exists(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run([*line.split(), "--help"]) == 0
    assert f"Usage: autopay {line.split(maxsplit=1)[0]}" in capsys.readouterr().out


def test_only_the_web_ui_and_its_codec_server_are_published_and_only_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"temporal-ui": ["127.0.0.1:8080:8080"], "codec": ["127.0.0.1:8081:8081"]}


def test_the_web_ui_finds_the_codec_server_and_is_let_in() -> None:
    module, *options = SERVICES["codec"]["command"][1:]
    assert importlib.util.find_spec(module) is not None
    given = [(options[n], options[n + 1]) for n in range(0, len(options), 2)]
    assert ("--ui", "http://127.0.0.1:8080") in given
    assert ("--port", "8081") in given
    assert SERVICES["temporal-ui"]["environment"]["TEMPORAL_CODEC_ENDPOINT"] == "http://127.0.0.1:8081"
    assert set(SERVICES["codec"]["environment"]) == {"AUTOPAY_KEYRING"}


def test_every_volume_is_a_named_one() -> None:
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert used == set(COMPOSE["volumes"])


def test_every_config_is_readable_by_whoever_runs_in_the_container() -> None:
    used = [config for service in SERVICES.values() for config in service.get("configs", [])]
    assert {config["source"] for config in used} == set(COMPOSE["configs"])
    assert all(config["mode"] == 0o444 for config in used)
    assert not any(
        SERVICES[name].get("read_only") for name in SERVICES if "configs" in SERVICES[name]
    )  # they are copied in


def test_temporal_gets_the_search_attributes_of_our_workflows() -> None:
    registered = re.findall(r"--name (\w+) --type (\w+)", SERVICES["temporal-namespace"]["command"][0])
    assert dict(registered) == SEARCH_ATTRIBUTES


@pytest.mark.parametrize(("name", "script"), list(scripts()))
def test_every_script_is_one(name: str, script: str) -> None:
    subprocess.run(["sh", "-n", "-c", script], check=True)


def test_a_worker_may_drain_before_it_is_killed() -> None:
    assert timedelta(seconds=seconds(SERVICES["worker"]["stop_grace_period"])) > worker.SHUTDOWN_TIMEOUT


def test_the_health_check_looks_at_the_file_that_the_worker_touches() -> None:
    command = json.loads(re.findall(r"^CMD (\[.*)", DOCKERFILE, re.MULTILINE)[-1])
    assert command[:2] == ["worker.py", "--alive"]
    in_image = json.loads(re.search(r"^HEALTHCHECK .*\\\n +CMD (\[.*)", DOCKERFILE, re.MULTILINE)[1])  # type: ignore[index]
    check = health_of("worker")["test"]
    assert check == ["CMD", *in_image]
    assert f"'{command[2]}'" in check[-1]
    patience = int(re.search(r"> (\d+)\)", check[-1])[1])  # type: ignore[index]
    assert patience >= 3 * ALIVE_INTERVAL.total_seconds()


def test_the_builder_gets_what_the_image_copies_and_nothing_else() -> None:
    copied = {
        source for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE) for source in line.split()
    }
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == copied
    assert all((ROOT / source).exists() for source in copied)


def test_what_is_deployed_is_what_was_tested() -> None:
    text = (ROOT / "requirements-worker.lock").read_text()
    deployed, tested = (dict(PIN.findall(lock)) for lock in (text, (ROOT / "requirements.lock").read_text()))
    assert {name: tested.get(name) for name in deployed} == deployed
    assert text.count("--hash=sha256:") >= len(deployed)
    assert "://" not in text
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {re.match(r"[\w-]+", name)[0] for name in wanted} <= set(deployed)  # type: ignore[index]
