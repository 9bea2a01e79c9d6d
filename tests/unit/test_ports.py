"""Ports of the embedded stack: preferred, remembered, and replaced when taken."""

import socket
from pathlib import Path

import pytest

from localnet import ports
from localnet.ports import PORTS_FILE, PREFERRED, choose_ports


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
