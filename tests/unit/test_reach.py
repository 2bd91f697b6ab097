"""Where a machine stands follows from its addresses and from what the coordinator saw."""

from __future__ import annotations

import pytest

from coordinator.dialback import host_of
from peer.reach import LOCAL, Case, decide
from swarm.proto import coordinator_pb2 as pb

HOME, PUBLIC = "192.168.7.2", "11.77.0.3"


@pytest.mark.parametrize(
    ("own", "reachable", "case", "relayed", "announced"),
    [
        ([PUBLIC], True, Case.OPEN, False, []),
        ([HOME], True, Case.FORWARDED, False, [f"/ip4/{PUBLIC}/tcp/4001", f"/ip4/{HOME}/tcp/4001"]),
        ([HOME], False, Case.NAT, True, [f"/ip4/{HOME}/tcp/4001"]),
        ([PUBLIC, HOME], False, Case.FIREWALL, True, [f"/ip4/{PUBLIC}/tcp/4001", f"/ip4/{HOME}/tcp/4001"]),
        ([], False, Case.NAT, True, []),
    ],
)
def test_each_case(own: list[str], reachable: bool, case: Case, relayed: bool, announced: list[str]) -> None:
    why = "" if reachable else "no answer within 2 s"
    found = decide(own, 4001, pb.DialBackResponse(reachable=reachable, observed_host=PUBLIC, why=why))
    assert (found.case, found.relayed, found.announced, found.port) == (case, relayed, announced, 4001)
    assert PUBLIC in found.why
    assert why in found.why


@pytest.mark.parametrize("seen", ["127.0.0.1", "::1"])
def test_a_coordinator_on_this_machine(seen: str) -> None:
    assert decide([HOME], 4001, pb.DialBackResponse(reachable=True, observed_host=seen)) == LOCAL


@pytest.mark.parametrize(
    ("caller", "host"),
    [
        ("ipv4:192.0.2.1:5000", "192.0.2.1"),
        ("ipv6:%5B2001:db8::1%5D:5000", "2001:db8::1"),
        ("ipv6:[::ffff:192.0.2.1]:5000", "192.0.2.1"),
        ("ipv6:%5Bfe80::1%25eth0%5D:5000", "fe80::1"),
        ("unix:/tmp/socket", ""),
    ],
)
def test_the_callers_address(caller: str, host: str) -> None:
    assert host_of(caller) == host
