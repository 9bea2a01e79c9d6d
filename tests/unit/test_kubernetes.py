"""The Kubernetes manifests: complete, restricted, and in agreement with the program and the image."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from autopay import __version__
from autopay.cli import app
from autopay.settings import Settings
from autopay.settings.secret_sources import SOURCES

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/kubernetes"
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
OBJECTS: list[dict[str, Any]] = [
    each for name in KUSTOMIZATION["resources"] for each in yaml.safe_load_all((FOLDER / name).read_text())
]
PODS = {
    each["metadata"]["name"].removeprefix("autopay-"): each["spec"]["template"]
    for each in OBJECTS
    if each["kind"] in ("Deployment", "Job")
}
RUNNING = ("worker", "api", "upkeep")
each_pod = pytest.mark.parametrize("name", PODS)


def container(name: str) -> dict[str, Any]:
    (only,) = PODS[name]["spec"]["containers"]
    found: dict[str, Any] = only
    return found


def test_every_manifest_is_applied() -> None:
    assert {path.name for path in FOLDER.glob("*.yaml")} == {*KUSTOMIZATION["resources"], "kustomization.yaml"}
    assert set(PODS) == {"worker", "api", "upkeep", "migrate"}
    assert KUSTOMIZATION["images"][0]["newTag"] == __version__
    assert all(container(name)["image"] == KUSTOMIZATION["images"][0]["name"] for name in PODS)


@each_pod
def test_a_pod_is_of_the_restricted_level(name: str) -> None:
    spec, only = PODS[name]["spec"], container(name)
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "fsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    assert set(only["resources"]) == {"requests", "limits"}
    namespace = next(each for each in OBJECTS if each["kind"] == "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@each_pod
def test_secrets_are_files_and_settings_are_settings(name: str) -> None:
    spec, only = PODS[name]["spec"], container(name)
    assert spec["enableServiceLinks"] is False  # their variables begin with AUTOPAY_, and would be refused
    variables = {each["name"]: each["value"] for each in only["env"]}
    for line in KUSTOMIZATION["configMapGenerator"][0]["literals"]:
        variable, _, value = line.partition("=")
        variables[variable] = value
    known = {f"AUTOPAY_{each.upper()}" for each in {*Settings.model_fields, *SOURCES}}
    assert {each for each in variables if each.startswith("AUTOPAY_")} <= known
    (volume,) = [each for each in spec["volumes"] if each["name"] == "secrets"]
    files = {item["path"] for source in volume["projected"]["sources"] for item in source["secret"]["items"]}
    named = {value for variable, value in variables.items() if variable.endswith("_FILE")}
    assert named == {f"/run/secrets/autopay/{file}" for file in files}
    assert volume["projected"]["defaultMode"] == 0o440
    role = {"worker": "worker_url", "api": "worker_url", "upkeep": "upkeep_url", "migrate": "ledger_url"}[name]
    assert variables["AUTOPAY_DATABASE_URL_FILE"].endswith(f"/{role}")


@pytest.mark.parametrize("name", RUNNING)
def test_what_runs_has_probes_and_may_drain(name: str) -> None:
    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container(name))
    assert PODS[name]["spec"]["terminationGracePeriodSeconds"] == 45


@pytest.mark.parametrize("name", ["worker", "api"])
def test_probes_ask_where_the_program_answers(name: str) -> None:
    only = container(name)
    ports = {each["name"]: each["containerPort"] for each in only["ports"]}
    asked = {probe: only[f"{probe}Probe"]["httpGet"] for probe in ("liveness", "readiness")}
    assert {probe: each["path"] for probe, each in asked.items()} == {"liveness": "/healthz", "readiness": "/readyz"}
    listens = {each["name"]: each["value"] for each in only["env"]}.get(
        "AUTOPAY_HEALTH"
    ) or f"0.0.0.0:{only['args'][5]}"
    assert {f"0.0.0.0:{ports[each['port']]}" for each in asked.values()} == {listens}


@pytest.mark.parametrize("name", [name for name in PODS if name != "worker"])
def test_every_command_exists(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    program, *words = container(name)["args"]
    assert program == "starter.py"
    assert app.run([words[0], *(words[1:2] if words[0] == "db" else []), "--help"]) == 0
    options = {word for word in words if word.startswith("--")}
    assert options <= set(re.findall(r"--[a-z-]+", capsys.readouterr().out))


def test_selectors_find_their_pods() -> None:
    for each in OBJECTS:
        if each["kind"] == "Deployment":
            assert each["spec"]["selector"]["matchLabels"] == each["spec"]["template"]["metadata"]["labels"]
        if each["kind"] == "Service":
            assert each["spec"]["selector"] == PODS["api"]["metadata"]["labels"]
            assert container("api")["ports"][0]["name"] == each["spec"]["ports"][0]["targetPort"]


def test_nothing_is_reached_but_the_api() -> None:
    closed, api = (each["spec"] for each in OBJECTS if each["kind"] == "NetworkPolicy")
    assert closed["podSelector"] == {}
    assert set(closed["policyTypes"]) == {"Ingress", "Egress"}
    assert "ingress" not in closed
    assert api["podSelector"]["matchLabels"].items() <= PODS["api"]["metadata"]["labels"].items()
    assert api["ingress"][0]["ports"] == [{"protocol": "TCP", "port": container("api")["ports"][0]["containerPort"]}]
