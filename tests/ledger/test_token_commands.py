"""`token make`, `token list` and `token revoke`, as somebody with a shell uses them."""

import json

from autopay.domain.access.secret_text import Kind, SecretText
from tests.ledger.operator import Operator
from tests.ledger.proofs import payloads


def test_a_token_is_shown_once_and_listed_without_its_secret(operator: Operator) -> None:
    out, err = operator("token", "make", "grafana")
    text = out.strip()
    assert SecretText.parse(Kind.TOKEN, text) is not None
    assert "grafana (read) expires at" in err
    listed, _ = operator("token", "list")
    assert "grafana" in listed
    assert text not in listed
    (record,) = json.loads(operator("token", "list", "--json")[0])
    assert (record["name"], record["scopes"], record["state"]) == ("grafana", ["read"], "live")
    assert record["last_used_at"] is None


def test_a_token_that_acts_reads_as_well_and_may_last_for_ever(operator: Operator) -> None:
    (made,) = operator.lines("token", "make", "alice", "--scope", "act", "--expires", "never")
    assert (made["scopes"], made["expires_at"]) == (["act", "read"], None)
    assert made["token"].startswith("autopay_tok_")


def test_a_revoked_token_is_told_apart_and_its_name_is_free(operator: Operator) -> None:
    operator("token", "make", "ci")
    _, err = operator("token", "make", "ci", code=2)
    assert "token revoke ci" in err
    operator("token", "revoke", "ci")
    _, err = operator("token", "revoke", "ci", code=2)
    assert "token list" in err
    operator("token", "make", "ci")
    assert [each["state"] for each in json.loads(operator("token", "list", "--json")[0])] == ["live", "revoked"]


def test_who_makes_and_revokes_tokens_is_in_the_proof(operator: Operator, database_url: str) -> None:
    operator("token", "make", "ci", "--expires", "1h")
    operator("token", "revoke", "ci")
    told = [each["values"] for each in payloads(database_url) if each["kind"] == "operator_actions.created"]
    assert [(each["via"], each["action"], each["target"]) for each in told] == [
        ("command", "token make", "ci"),
        ("command", "token revoke", "ci"),
    ]
    assert told[0]["details"] == {"scopes": ["read"], "lasts_s": 3_600}
    assert "6 events" in operator("ledger", "verify")[0]


def test_what_cannot_be_a_token_is_refused(operator: Operator) -> None:
    for arguments, what in (
        (("local",), "another name"),
        (("a b",), "not a token's name"),
        (("ci", "--scope", "write"), "read or act"),
        (("ci", "--expires", "soon"), "not a duration"),
        (("ci", "--expires", "20000d"), "longer than a token lasts"),
    ):
        _, err = operator("token", "make", *arguments, code=2)
        assert what in " ".join(err.split())
    assert json.loads(operator("token", "list", "--json")[0]) == []
