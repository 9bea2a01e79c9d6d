"""Which hosts a rule means."""

import re

import pytest

from autopay.domain.text.hosts import HOST_PATTERN, host_and_port, is_any_of, matches, origin_text, resource_of


@pytest.mark.parametrize(
    ("rule", "host", "meant"),
    [
        ("api.example.com", "api.example.com", True),
        ("api.example.com", "api.example.com:8443", True),
        ("api.example.com", "API.Example.COM:443", True),
        ("api.example.com", "api.example.com.:443", True),
        ("api.example.com", "example.com", False),
        ("api.example.com", "v2.api.example.com", False),
        ("api.example.com", "api.example.com.evil.org", False),
        ("api.example.com", "evil-api.example.com", False),
        ("api.example.com:8443", "api.example.com:8443", True),
        ("api.example.com:8443", "api.example.com:443", False),
        ("api.example.com:8443", "api.example.com", False),
        ("api.example.com:443", "api.example.com:443", True),
        ("*.example.com", "api.example.com", True),
        ("*.example.com", "a.b.example.com:8443", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", ".example.com", False),
        ("*.example.com", "evilexample.com", False),
        ("*.example.com:8443", "api.example.com:443", False),
        ("[::1]", "[::1]:8403", True),
        ("[::1]:8403", "[::1]:8403", True),
        ("[::1]:8403", "[::1]:8404", False),
        ("127.0.0.1:8403", "127.0.0.1:8403", True),
        ("[2606:4700:0:0::1]", "[2606:4700::1]:443", True),
        ("127.0.0.1", "[::ffff:127.0.0.1]:8403", True),
    ],
)
def test_a_rule_means_a_host_or_not(rule: str, host: str, meant: bool) -> None:
    assert matches(rule, host) is meant


def test_one_of_several_rules_is_enough_and_none_means_nobody() -> None:
    assert is_any_of(("a.dev", "*.b.dev"), "x.b.dev:443")
    assert not is_any_of(("a.dev", "*.b.dev"), "c.dev:443")
    assert not is_any_of((), "a.dev:443")


@pytest.mark.parametrize("rule", ["api.example.com", "*.example.com", "localhost:8403", "[::1]:80", "10.0.0.1"])
def test_a_rule_looks_like_a_host(rule: str) -> None:
    assert re.fullmatch(HOST_PATTERN, rule)


@pytest.mark.parametrize(
    "rule", ["", "*", "a.*.dev", "https://a.dev", "a.dev/", "a b.dev", "-a.dev", "a.dev:", "A.dev"]
)
def test_anything_else_is_no_rule(rule: str) -> None:
    assert not re.fullmatch(HOST_PATTERN, rule)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://api.example.com/x?y=1", "api.example.com:443"),
        ("https://API.Example.com:443/x", "api.example.com:443"),
        ("https://api.example.com./", "api.example.com:443"),
        ("http://api.example.com", "api.example.com:80"),
        ("http://127.0.0.1:8403/feed", "127.0.0.1:8403"),
        ("http://[::1]:8403/feed", "[::1]:8403"),
        ("HTTPS://api.example.com", "api.example.com:443"),
        ("https://[2606:4700:0:0::0001]/x", "[2606:4700::1]:443"),
        ("https://[::FFFF:1.2.3.4]/x", "1.2.3.4:443"),
        ("https://[::ffff:102:304]/x", "1.2.3.4:443"),
        ("https://[fe80::1%25eth0]/x", "[fe80::1]:443"),
    ],
)
def test_a_host_has_one_name_however_a_url_spells_it(url: str, host: str) -> None:
    assert host_and_port(url) == host
    assert origin_text(url) == f"{url.partition(':')[0].lower()}://{host}/"


def test_a_resource_has_one_price_whatever_is_asked_of_it() -> None:
    assert resource_of("GET", "https://a.dev/x/y?q=1#z") == "GET https://a.dev:443/x/y"
    assert resource_of("GET", "https://A.dev:443/x/y") == "GET https://a.dev:443/x/y"
    assert resource_of("POST", "https://a.dev") == "POST https://a.dev:443/"
