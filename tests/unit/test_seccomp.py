"""The filter of system calls, run by hand: on either architecture it refuses what it should and nothing else."""

from __future__ import annotations

import struct

import pytest

from peer.serving.seccomp import _ARCHITECTURES, _DENIED, _PAIR, _SOCKET, program

ALLOWED, REFUSED, KILLED = 0x7FFF0000, 0x00050001, 0x80000000


def answer(code: bytes, number: int, architecture: int, first: int = 0) -> int:
    """What the kernel would do at a call: a machine of the four instructions that the filter has."""
    data = struct.pack("=IIQQ", number, architecture, 0, first)
    lines = list(struct.iter_unpack("=HBBI", code))
    at = value = 0
    while True:
        kind, if_true, if_false, operand = lines[at]
        at += 1
        if kind == 0x20:
            value = struct.unpack_from("=I", data, operand)[0]
        elif kind == 0x06:
            return int(operand)
        else:
            holds = value == operand if kind == 0x15 else value >= operand
            at += if_true if holds else if_false


@pytest.mark.parametrize("machine", sorted(_ARCHITECTURES))
@pytest.mark.parametrize("network", [True, False])
def test_every_call(machine: str, network: bool) -> None:
    column, architecture = _ARCHITECTURES[machine]
    denied = {numbers[column] for numbers in _DENIED.values()} | ({_PAIR[column]} if not network else set())
    code = program(network, machine)
    for number in range(600):
        if number != _SOCKET[column]:
            assert answer(code, number, architecture) == (REFUSED if number in denied else ALLOWED), number
    families = [answer(code, _SOCKET[column], architecture, family) == ALLOWED for family in (1, 2, 10, 16, 40)]
    assert families == [False, network, network, False, False]


def test_calls_of_another_numbering_end_it() -> None:
    code = program(False, "x86_64")
    assert answer(code, 41, 0x40000003) == KILLED  # as a 32-bit program calls
    assert answer(code, 0x40000000 | 41, _ARCHITECTURES["x86_64"][1]) == KILLED  # x32


def test_an_unknown_processor_has_no_filter() -> None:
    assert program(False, "riscv64") == b""
