"""What `gateway` and `run` make of their options and of the environment."""

import pytest

from autopay.cli.app import run
from autopay.cli.gateway.run_steps import door_url, environment_for
from autopay.cli.gateway.serve import GatewayOrder, token_for
from autopay.settings import Settings

URL, TOKEN = "http://127.0.0.1:8405", "a-token-of-the-tests"


def test_a_command_gets_its_gateway_and_no_secret_of_the_gateways_own() -> None:
    given = {"PATH": "/bin", "AUTOPAY_KEYRING": "1:x", "AUTOPAY_DATABASE_URL": "postgresql://", "AUTOPAY_HOME": "/h"}
    found = environment_for(given, URL, TOKEN, {"OPENAI_BASE_URL": "https://api.example.com:8443/v1?a=b"})
    assert found == {
        "PATH": "/bin",
        "AUTOPAY_HOME": "/h",
        "AUTOPAY_GATEWAY": URL,
        "AUTOPAY_GATEWAY_TOKEN": TOKEN,
        "OPENAI_BASE_URL": f"{URL}/t/{TOKEN}/p/https/api.example.com:8443/v1?a=b",
    }


def test_a_gateway_of_another_command_is_not_passed_on() -> None:
    found = environment_for({"AUTOPAY_GATEWAY": "http://other", "autopay_gateway_token": "x" * 16}, URL, TOKEN, {})
    assert found == {"AUTOPAY_GATEWAY": URL, "AUTOPAY_GATEWAY_TOKEN": TOKEN}


def test_the_gateway_is_not_asked_through_a_proxy() -> None:
    found = environment_for({"HTTP_PROXY": "http://proxy", "NO_PROXY": "a.example"}, URL, TOKEN, {})
    assert (found["NO_PROXY"], found["no_proxy"]) == ("a.example,127.0.0.1", "127.0.0.1")


def test_the_address_that_stands_for_a_url_keeps_all_of_it() -> None:
    assert door_url(URL, TOKEN, "HTTPS://api.example.com/v1/") == f"{URL}/t/{TOKEN}/p/https/api.example.com/v1/"


@pytest.mark.parametrize(
    ("host", "wanted", "set_token", "needed", "made"),
    [
        pytest.param("127.0.0.1", False, "", False, False, id="on loopback none"),
        pytest.param("::1", False, "", False, False, id="on IPv6's loopback none"),
        pytest.param("127.0.0.1", True, "", True, True, id="on loopback when it is wanted"),
        pytest.param("0.0.0.0", False, "", True, True, id="elsewhere always"),  # noqa: S104
        pytest.param("10.0.0.5", False, "", True, True, id="at another address always"),
        pytest.param("127.0.0.1", False, TOKEN, True, False, id="the one that is set"),
    ],
)
def test_a_token_is_needed_elsewhere_than_on_loopback(
    no_settings: None, host: str, wanted: bool, set_token: str, needed: bool, made: bool
) -> None:
    settings = Settings.load(gateway_token=set_token)
    secret, is_new = token_for(settings, GatewayOrder(("a",), None, host, 0), wanted=wanted)
    assert (secret is not None, is_new) == (needed, made)
    assert secret is None or len(secret) >= 16


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param(["run"], "Missing argument", id="no command"),
        pytest.param(["run", "--base-url", "https://x", "--", "true"], "NAME=URL", id="no variable"),
        pytest.param(["run", "--base-url", "A=ftp://example.com", "--", "true"], "http(s)", id="no http"),
        pytest.param(["run", "--", "true"], "AUTOPAY_DATABASE_URL", id="no stack"),
        pytest.param(["gateway", "--port", "70000"], "--port", id="no port"),
        pytest.param(["run", "--max-price", "x", "--", "true"], "amount", id="no price"),
    ],
)
def test_a_mistake_is_one_line(
    no_settings: None, capfd: pytest.CaptureFixture[str], line: list[str], said: str
) -> None:
    assert run(line) == 2
    assert said in capfd.readouterr().err


def test_what_follows_two_dashes_is_the_commands_own(no_settings: None, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["run", "--", "sh", "-c", "", "--home="]) == 2
    assert "is empty" not in capfd.readouterr().err
