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
from autopay.settings.secret_sources import SOURCES
from localnet.temporal import SEARCH_ATTRIBUTES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
EXAMPLE = dotenv_values(ROOT / ".env.example")
VARIABLE = re.compile(r"(?<!\$)\$\{(?P<name>\w+)(?P<default>:[-?][^}]*)?\}")
EXACT_TAG = re.compile(r"[\w./-]+:v?\d+\.\d+(\.\d+)?(-[a-z-]+)?")
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
OURS = [name for name, service in SERVICES.items() if service["image"].startswith("autopay:")]
"""Services of our own image."""

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
    return VARIABLE.sub(lambda found: given.get(found["name"]) or (found["default"] or "")[2:], text)


def known_variables() -> set[str]:
    """The names of our own variables."""
    return {f"AUTOPAY_{name.upper()}" for name in {*Settings.model_fields, *SOURCES} - {"stack"}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the script that makes the secrets has made, twice."""
    folder = tmp_path_factory.mktemp("checkout")
    script = folder / "deploy/make-secrets.sh"
    script.parent.mkdir()
    script.write_text((ROOT / "deploy/make-secrets.sh").read_text())
    subprocess.run(["sh", str(script), "https://rpc.example/?api-key=x"], check=True, stdout=subprocess.DEVNULL)
    before = {path.name: path.read_text() for path in (folder / "secrets").iterdir()}
    subprocess.run(["sh", str(script)], check=True, stdout=subprocess.DEVNULL)
    assert {path.name: path.read_text() for path in (folder / "secrets").iterdir()} == before
    return folder / "secrets"


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
    assert EXACT_TAG.fullmatch(filled_in(SERVICES[name]["image"], {}))


def test_the_image_is_built_on_an_exact_tag_and_is_called_after_this_version() -> None:
    assert all(EXACT_TAG.fullmatch(base) for base in re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))
    built = {filled_in(service["image"], {}) for service in SERVICES.values() if "build" in service}
    assert built == {f"autopay:{__version__}"}
    assert EXAMPLE["BUILD"] == __version__


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
    assert given <= known_variables()


def test_every_documented_setting_reaches_the_containers() -> None:
    table = re.findall(r"^\| (`(?:AUTOPAY|TEMPORAL)_.*?) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    documented = set(re.findall(r"`(AUTOPAY_\w+)`", "".join(table)))
    of_clients = {"AUTOPAY_HOME", "AUTOPAY_GATEWAY"}
    in_file = set(re.findall(r"^#?(AUTOPAY_\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    given = {name.removesuffix("_FILE") for service in SERVICES.values() for name in service.get("environment", {})}
    assert {name.removesuffix("_FILE") for name in documented} - of_clients <= in_file | given
    assert in_file <= known_variables()
    assert all(SERVICES[name]["env_file"] == [".env"] for name in OURS if name != "codec")


def test_what_is_commented_out_in_the_example_has_the_programs_own_value() -> None:
    text = (ROOT / ".env.example").read_text()
    fields = Settings.model_fields
    for name, value in re.findall(r"^#AUTOPAY_(\w+)=(.*)$", text, re.MULTILINE):
        default = fields[name.lower()].default
        if not name.endswith(("_EVERY", "KEEP_CONTENT")):
            assert value == ("" if default in ("", []) else str(default).lower()), name


@each_service
def test_every_service_rotates_its_log_and_has_limits_and_gains_no_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["logging"] == {"driver": "local", "options": {"max-size": "10m", "max-file": "5"}}
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["image"].startswith("postgres:") or service["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("name", OURS)
def test_our_image_runs_without_rights_and_writes_nowhere_but_in_its_own_memory(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["user"] == "10001:10001"
    assert re.search(r"^USER 10001:10001$", DOCKERFILE, re.MULTILINE)
    assert [each.split(":")[0] for each in service["tmpfs"]] == ["/tmp"]  # noqa: S108
    assert all(volume.endswith(":ro") for volume in service.get("volumes", []))


def test_secrets_are_files_that_the_script_makes_and_no_variable_has_one(made: Path) -> None:
    files = {name: secret["file"] for name, secret in COMPOSE["secrets"].items()}
    assert files == {name: f"./secrets/{name}" for name in files}
    assert {path.name for path in made.iterdir()} == set(files)
    assert made.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in made.iterdir()} == {0o444}
    for name, service in SERVICES.items():
        used = set(re.findall(r"/run/secrets/(\w+)", json.dumps(service)))
        for config in service.get("configs", []):
            used |= set(re.findall(r"/run/secrets/(\w+)", COMPOSE["configs"][config["source"]]["content"]))
        assert used <= set(service.get("secrets", [])), name
        assert set(service.get("secrets", [])) <= used | {"anchor_keypair"}, (
            f"{name} has a secret that it does not need"
        )
    assert not re.search(r"PASS\w*=|KEYRING=", (ROOT / ".env.example").read_text())
    assert "/secrets" in (ROOT / ".gitignore").read_text().split()


@pytest.mark.usefixtures("no_settings")
@pytest.mark.parametrize("name", OURS)
def test_the_settings_of_each_service_are_enough_for_it(name: str, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {each: value or "" for each, value in EXAMPLE.items()}
    environment = {variable: filled_in(str(value), given) for variable, value in SERVICES[name]["environment"].items()}
    for variable, value in ({} if name == "codec" else given | environment).items():
        monkeypatch.setenv(variable, value.replace("/run/secrets", str(made)))
    monkeypatch.setenv("AUTOPAY_KEYRING_FILE", str(made / "keyring"))
    settings = Settings.load()
    Keyring.parse(settings.keyring.get_secret_value())
    if name == "codec":
        return
    role, database = {
        "worker": ("work", "autopay"),
        "worker-previous": ("work", "autopay"),
        "api": ("work", "autopay"),
        "gateway": ("work", "autopay"),
        "upkeep": ("upkeep", "autopay"),
        "restore-verify": ("migrate", "autopay_tried"),
    }.get(name, ("migrate", "autopay"))
    settings = settings.resolve()
    assert re.fullmatch(rf"postgresql://autopay_{role}:[0-9a-f]{{64}}@postgres:5432/{database}", settings.database_url)
    assert settings.solana_ws_url == "wss://rpc.example/?api-key=x"
    assert {"TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE"} <= set(environment)
    if name in ("worker", "worker-previous"):
        assert settings.build_id == __version__
    if name == "api":
        assert "autopay_read" in settings.read_database_url
    if name == "gateway":
        assert len(settings.gateway_token.get_secret_value()) == 64


def test_an_upgrade_is_a_rollout() -> None:
    assert SERVICES["worker"]["environment"]["AUTOPAY_BUILD_ID"] == "${BUILD:-0.2.0}"
    assert 'rollout "${BUILD:-0.2.0}"' in SERVICES["rollout"]["command"][0]
    previous = SERVICES["worker-previous"]
    assert previous["image"].endswith(previous["environment"]["AUTOPAY_BUILD_ID"])
    assert previous["profiles"] == ["previous"]


def test_prometheus_finds_the_metrics_of_our_services() -> None:
    scraped = yaml.safe_load((ROOT / "observability/prometheus/prometheus.yml").read_text())["scrape_configs"]
    found = {job["dns_sd_configs"][0]["names"][0]: job["dns_sd_configs"][0]["port"] for job in scraped}
    shown = {
        name: int(address.rpartition(":")[2])
        for name, service in SERVICES.items()
        if (address := service.get("environment", {}).get("AUTOPAY_METRICS"))
    }
    assert found == shown
    mounted = [volume for name in ("prometheus", "grafana") for volume in SERVICES[name]["volumes"]]
    assert all((ROOT / each.split(":")[0]).is_dir() for each in mounted if each.startswith("./"))


def test_what_is_optional_is_a_profile() -> None:
    profiles = {each for service in SERVICES.values() for each in service.get("profiles", [])}
    assert profiles == {"previous", "starter", "api", "gateway", "upkeep", "backup", "observability"}


def test_the_example_has_every_variable_and_no_other() -> None:
    used = {found["name"] for found in VARIABLE.finditer(TEXT)}
    assert used == {name for name in EXAMPLE if not name.startswith("AUTOPAY_")}


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


def test_what_is_published_is_on_loopback_only() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    ports = {"temporal-ui": 8080, "codec": 8081, "api": 8406, "gateway": 8405, "grafana": 3000}
    assert published == {name: [f"127.0.0.1:{port}:{port}"] for name, port in ports.items()}


def test_the_web_ui_finds_the_codec_server_and_is_let_in() -> None:
    module, *options = SERVICES["codec"]["command"][1:]
    assert importlib.util.find_spec(module) is not None
    given = [(options[n], options[n + 1]) for n in range(0, len(options), 2)]
    assert ("--ui", "http://127.0.0.1:8080") in given
    assert ("--port", "8081") in given
    assert SERVICES["temporal-ui"]["environment"]["TEMPORAL_CODEC_ENDPOINT"] == "http://127.0.0.1:8081"
    assert set(SERVICES["codec"]["environment"]) == {"AUTOPAY_KEYRING_FILE"}


def test_every_volume_is_a_named_one_or_what_the_repository_has() -> None:
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert {name for name in used if not name.startswith("./observability/")} == set(COMPOSE["volumes"])


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


def test_the_licence_of_everything_in_the_image_is_listed() -> None:
    listed = re.findall(r"^\| ([\w.-]+) \| (\S+) \| \S", (ROOT / "docs/licences.md").read_text(), re.MULTILINE)
    installed = PIN.findall((ROOT / "requirements-worker.lock").read_text())
    assert [each for each in listed if each != ("package", "version")] == installed
