"""What a call may take: every method has a rule, and none takes more room, time or places than its rule says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.dialback import network_of
from coordinator.rules import RULES, SERVICE, decoder, require_complete, require_size
from swarm.errors import UsageError
from swarm.proto import coordinator_pb2 as pb
from swarm.ration import Places, Ration
from swarm.texts import MOST, PROMPT_BYTES, TEXT_BYTES


def test_every_method_has_a_rule() -> None:
    require_complete(RULES)


@pytest.mark.parametrize("odd", [{"Join"}, {method.name for method in SERVICE.methods} | {"Steal"}])
def test_a_method_without_a_rule_and_a_rule_without_a_method_are_named(odd: set[str]) -> None:
    named = "Steal" if "Steal" in odd else "Heartbeat"
    with pytest.raises(RuntimeError, match=named):
        require_complete(odd)


def test_what_peers_send_fits() -> None:
    members = [f"{number:016x}-63" for number in range(4096)]
    require_size("GrantRound", pb.GrantRoundRequest(run="r" * 63, member_id=members[0], members=members))
    spans = [pb.LeasedRange(lease_id="9" * 30, range=pb.Range(start=1 << 40, stop=1 << 41))] * 100
    reports = [pb.RoundReport(digest="d" * 64, counted=spans)] * 100
    require_size("ReportRounds", pb.ReportRoundsRequest(member_id=members[0], reports=reports))
    maddrs = [f"/ip6/{'ffff:' * 7}ffff/tcp/65535/p2p/{'Q' * 46}/p2p-circuit/p2p/{'Q' * 46}"] * 32
    require_size("Heartbeat", pb.HeartbeatRequest(why="w" * 500, maddrs=maddrs, device="d" * 100))
    require_size("Upload", pb.UploadChunk(data=bytes(256 << 10)))
    texts = [pb.TextSample(prompt="p" * PROMPT_BYTES, text="t" * TEXT_BYTES)] * MOST
    metrics = {f"{number:064}": 0.5 for number in range(64)}
    measured = pb.Evaluation(samples=texts, metrics=metrics)
    require_size("ReportEvaluation", pb.ReportEvaluationRequest(evaluation=measured))


@pytest.mark.parametrize(
    ("name", "message", "says"),
    [
        ("GrantRound", pb.GrantRoundRequest(members=["m"] * 4097), "4097 members is refused: at most 4096"),
        ("RecallLeases", pb.RecallLeasesRequest(leases=[pb.RecalledLease()] * 8193), "8193 leases"),
        ("Heartbeat", pb.HeartbeatRequest(why="w" * 20_000), "at most 16384 are taken"),
        ("Upload", pb.UploadChunk(data=bytes(2 << 20)), "at most 1048576"),
        ("Join", pb.JoinRequest(name="n" * 5000), "at most 4096"),
    ],
)
def test_what_no_peer_sends_is_refused(name: str, message: object, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        require_size(name, message)


def test_nothing_is_made_of_a_message_that_is_too_large() -> None:
    take = decoder("Leave", lambda data: pytest.fail("it was decoded"))
    with pytest.raises(UsageError, match="5000 bytes is refused: at most 4096"):
        require_size("Leave", take(bytes(5000)))
    small = pb.LeaveRequest(run="r", member_id="m")
    assert decoder("Leave", pb.LeaveRequest.FromString)(small.SerializeToString()) == small


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=60))
def test_who_asked_nothing_for_a_window_takes_no_memory(asked: list[tuple[str, int]]) -> None:
    now, last = 0, dict[str, int]()
    ration = Ration(5, 4, lambda: now)
    for caller, later in asked:
        now += later
        if ration.permits(caller):
            last[caller] = now
        assert set(ration._asked) <= {key for key, at in last.items() if at > now - 4}


def test_places_are_free_again() -> None:
    places = Places(2)
    with (
        places.taken("a") as first,
        places.taken("a") as second,
        places.taken("a") as third,
        places.taken("b") as other,
    ):
        assert (first, second, third, other) == (True, True, False, True)
    assert not places._taken
    with places.taken("a") as again:
        assert again


@pytest.mark.parametrize(
    ("caller", "network"),
    [
        ("ipv4:192.0.2.1:5000", "192.0.2.1"),
        ("ipv6:%5B::ffff:192.0.2.1%5D:5000", "192.0.2.1"),
        ("ipv6:%5B2001:db8:1:2:3:4:5:6%5D:5000", "2001:db8:1:2::/64"),
        ("unix:/tmp/x", ""),
    ],
)
def test_a_home_is_one_caller(caller: str, network: str) -> None:
    assert network_of(caller) == network
