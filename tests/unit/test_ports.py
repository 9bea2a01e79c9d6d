"""Ports of the embedded stack: preferred, remembered, and replaced when taken."""

import socket
import tempfile
from pathlib import Path

import pytest

from localnet import ports
from localnet.ports import OTHERS, PORTS_FILE, PREFERRED, PortClaims


@pytest.fixture(autouse=True)
def _own_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Claims apart from those of stacks that run on this machine meanwhile."""
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))


def choose_ports(home: Path, *, ephemeral: bool) -> dict[str, int]:
    """What a start chooses that has the machine to itself."""
    claims = PortClaims()
    try:
        return ports.choose_ports(home, claims, ephemeral=ephemeral)
    finally:
        claims.release()


def all_free(_port: int) -> bool:
    """A machine on which nothing listens."""
    return True


def test_the_preferred_ports_are_taken_when_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", all_free)
    assert choose_ports(tmp_path, ephemeral=False) == dict(PREFERRED)


def test_a_taken_port_is_replaced_by_one_that_no_other_part_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "is_free", lambda port: port != PREFERRED["temporal"])
    chosen = choose_ports(tmp_path, ephemeral=False)
    assert chosen["temporal"] != PREFERRED["temporal"]
    assert len(set(chosen.values())) == len(PREFERRED)
    assert {part: port for part, port in chosen.items() if part != "temporal"} == {
        part: port for part, port in PREFERRED.items() if part != "temporal"
    }


def test_the_ports_of_the_last_start_are_chosen_again(tmp_path: Path) -> None:
    first = choose_ports(tmp_path, ephemeral=True)
    assert choose_ports(tmp_path, ephemeral=True) == first
    assert choose_ports(tmp_path, ephemeral=False) == first


def test_ephemeral_ports_leave_the_preferred_ones_alone(tmp_path: Path) -> None:
    assert not set(choose_ports(tmp_path, ephemeral=True).values()) & set(PREFERRED.values())


@pytest.mark.parametrize("content", ["", "{", "[]", '{"chain": "x"}'])
def test_a_damaged_memory_of_ports_is_forgotten(tmp_path: Path, content: str) -> None:
    (tmp_path / PORTS_FILE).write_text(content)
    assert set(choose_ports(tmp_path, ephemeral=True)) == set(PREFERRED)


def test_a_port_with_a_listener_is_not_free() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert not ports.is_free(listener.getsockname()[1])


def test_two_stacks_that_start_at_once_share_no_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", all_free)
    chosen = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        chosen.append(ports.choose_ports(tmp_path / name, PortClaims(), ephemeral=False))
    assert chosen[0] == dict(PREFERRED)
    assert not set(chosen[0].values()) & set(chosen[1].values())


def test_a_released_port_can_be_claimed_again(tmp_path: Path) -> None:
    first, second = PortClaims(), PortClaims()
    port = first.claim_any()
    assert not second.claim(port)
    assert not first.claim(port), "one port for one part"
    first.release()
    assert second.claim(port)


def test_a_port_that_nobody_wished_for_is_none_of_outgoing_connections() -> None:
    assert PortClaims().claim_any() in OTHERS
    assert OTHERS.stop <= 32_768
