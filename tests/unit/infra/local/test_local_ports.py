"""Which ports a stack takes."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from infra.local import PortInUse
from infra.local.ports import Ports, is_free


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ports.json"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_the_usual_port_is_taken_if_it_is_free(path: Path) -> None:
    usual = free_port()
    assert Ports(path).take("kafka", usual) == usual


def test_another_port_is_taken_if_the_usual_one_is_in_use(path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        usual = server.getsockname()[1]
        taken = Ports(path).take("kafka", usual)
    assert taken != usual
    assert is_free(taken)


def test_free_ports_lie_below_the_ephemeral_range(path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert Ports(path).take("kafka", server.getsockname()[1]) < 32_768


def test_the_port_of_the_last_run_is_taken_again_although_the_usual_one_is_free_now(
    path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        usual = server.getsockname()[1]
        first = Ports(path).take("kafka", usual)
    assert Ports(path).take("kafka", usual) == first != usual


def test_two_parts_with_the_same_usual_port_get_different_ones(path: Path) -> None:
    ports, usual = Ports(path), free_port()
    assert ports.take("a", usual) != ports.take("b", usual)


def test_a_port_asked_for_is_taken_and_remembered(path: Path) -> None:
    asked = free_port()
    assert Ports(path, {"kafka": asked}).take("kafka", free_port()) == asked
    assert Ports(path).take("kafka", free_port()) == asked


def test_a_port_asked_for_that_is_in_use_is_refused_with_its_holder(path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortInUse) as caught:
            Ports(path, {"kafka": port}).take("kafka", 9092)
    assert f"port {port}, asked for kafka, is in use by process {os.getpid()}" in str(caught.value)
    assert "choose another port" in str(caught.value)


def test_a_broken_file_of_ports_is_forgotten(path: Path) -> None:
    path.write_text("{half")
    usual = free_port()
    assert Ports(path).take("kafka", usual) == usual
