"""What an update may be of: as many samples as its member was lent, once, and they weigh as the coordinator signed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.leases import MOST, LeasedRange, Spent, Use, objection, overdrawn, share, uses_of
from peer.seals import Claim, Notary, signer_of
from swarm import lent
from swarm.identity import Identity, server_certificate
from swarm.passes import Authority
from swarm.proto import coordinator_pb2 as pb
from swarm.proto import exchange_pb2
from swarm.ranges import LAST, Range
from tests.let_in import word_on

ONE = Identity.from_seed(hashlib.sha256(b"one").digest())
sizes = st.lists(st.integers(1, 50), min_size=1, max_size=6)


def said(word: bytes) -> pb.Lent | None:
    """Words of these tests are not signed: whose they are is looked at in others."""
    return pb.Lent.FromString(word) if word else None


def word(lease_id: str, size: int, share_: float = 1.0, member: str = "m") -> bytes:
    found = pb.Lent(run="r", member=member, lease_id=lease_id, range=pb.Range(start=7, stop=7 + size), share=share_)
    return found.SerializeToString()


def uses(sizes_: Sequence[int], used: Sequence[int]) -> list[Use]:
    return [Use(word(f"{n}-x", size), count) for n, (size, count) in enumerate(zip(sizes_, used, strict=True))]


# ── the word ───────────────────────────────────────────────────────────────────────────────────


def test_a_word_is_of_one_coordinator_run_and_member(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    own, other = server_certificate(tmp_path), server_certificate(tmp_path / "other")
    authority = Authority.of("test", own.certificate_pem)
    data = word_on(tmp_path, "m", "1-ab", 8, share=0.5)
    found = lent.opened(data, authority)
    assert found is not None
    assert (found.member, found.lease_id, found.range.stop, found.share) == ("m", "1-ab", 8, 0.5)
    assert lent.opened(data, Authority.of("test", other.certificate_pem)) is None
    assert lent.opened(data, Authority.of("another", own.certificate_pem)) is None
    assert lent.opened(word_on(tmp_path / "other", "m", "1-ab", 8), authority) is None


def test_a_word_that_was_changed_or_says_nonsense_is_none(tmp_path: Path) -> None:
    authority = Authority.of("test", server_certificate(tmp_path).certificate_pem)
    data = word_on(tmp_path, "m", "1-ab", 8)
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        assert lent.opened(changed, authority) is None
    for facts in ({"share": 1.5}, {"share": -0.1}, {"share": float("nan")}, {"range": pb.Range(start=3, stop=3)}):
        assert lent.opened(word_on(tmp_path, "m", "1-ab", 8, **facts), authority) is None
    assert lent.opened(bytes(lent.LARGEST + 1), authority) is None


def test_the_longest_word_that_a_coordinator_gives_travels(tmp_path: Path) -> None:
    authority = Authority.of("r" * 63, server_certificate(tmp_path).certificate_pem)
    facts = {"run": "r" * 63, "range": pb.Range(start=LAST - 1, stop=LAST), "share": 1 / 3}
    data = word_on(tmp_path, f"{'0' * 16}-63", f"{LAST}-{'f' * 12}", 1, **facts)
    assert len(data) <= lent.LARGEST
    assert lent.opened(data, authority) is not None


# ── uses ───────────────────────────────────────────────────────────────────────────────────────


@given(sizes, st.data())
def test_an_update_is_of_no_more_samples_than_its_leases_have(sizes_: list[int], data: st.DataObject) -> None:
    used = [data.draw(st.integers(1, 60)) for _ in sizes_]
    claimed = data.draw(st.integers(1, 400))
    if not objection("m", claimed, uses(sizes_, used), said):
        assert claimed <= sum(sizes_)
        assert claimed == sum(used)
    honest = [data.draw(st.integers(1, size)) for size in sizes_]
    assert objection("m", sum(honest), uses(sizes_, honest), said) == ""


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        ([], "shows leases for 0"),
        ([Use(b"", 8)], "did not sign"),
        ([Use(word("1-x", 8, member="other"), 8)], "of other"),
        ([Use(word("1-x", 4), 4), Use(word("1-x", 4), 4)], "twice"),
        ([Use(word("1-x", 7), 8)], "which has 7"),
        ([Use(word("1-x", 9), 7)], "shows leases for 7"),
        ([Use(word("1-x", 8), 8), Use(word("2-x", 8), 0)], "used 0 samples"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_bear_the_samples_is_said(shown: list[Use], why: str) -> None:
    assert why in objection("m", 8, shown, said)


def test_a_lease_may_be_of_another_seat_of_the_same_key() -> None:
    assert objection("m-1", 8, [Use(word("1-x", 8), 8)], said) == ""
    assert objection("m", 8, [Use(word("1-x", 8, member="m-2"), 8)], said) == ""


def test_who_has_no_samples_shows_no_lease() -> None:
    assert objection("m", 0, [], said) == ""
    assert objection("m", 0, [Use(word("1-x", 8), 8)], said) != ""


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_samples_weigh_by_the_smallest_share_that_is_shown(shares: list[float]) -> None:
    shown = [Use(word(f"{n}-x", 4, one), 4) for n, one in enumerate(shares)]
    assert share(shown, said) == min(shares)
    assert share([*shown, Use(b"", 4)], said) == 0.0
    assert share([], said) == 0.0


def test_what_an_update_shows_is_summed_by_lease() -> None:
    one, other = b"one", b"other"
    parts = [
        LeasedRange("1", Range(0, 4), one),
        LeasedRange("2", Range(9, 10), other),
        LeasedRange("1", Range(4, 6), one),
    ]
    assert uses_of(parts) == (Use(one, 6), Use(other, 1))
    assert uses_of([LeasedRange("1", Range(0, 4))]) == ()  # without a coordinator


# ── what was used before ───────────────────────────────────────────────────────────────────────


@given(sizes, st.data())
def test_no_lease_goes_into_rounds_for_more_samples_than_it_has(sizes_: list[int], data: st.DataObject) -> None:
    spent, counted = Spent(), [0] * len(sizes_)
    for round_ in range(12):
        used = [data.draw(st.integers(1, size)) for size in sizes_]
        shown = uses(sizes_, used)
        if not spent.objection(round_, shown, said):
            spent.note(round_, shown, said)
            counted = [before + count for before, count in zip(counted, used, strict=True)]
            assert spent.objection(round_, shown, said) == ""  # the same round again is no second use
        assert all(count <= size for count, size in zip(counted, sizes_, strict=True))


def test_a_lease_that_is_used_up_is_named_and_one_that_is_undone_is_not() -> None:
    spent, whole = Spent(), [Use(word("1-x", 8), 8)]
    spent.note(5, whole, said)
    assert "1-x is used up: of its 8 samples 8 went into earlier rounds" in spent.objection(6, whole, said)
    assert spent.objection(5, whole, said) == ""
    assert spent.objection(4, whole, said) == ""  # the run went back


# ── in a seal ──────────────────────────────────────────────────────────────────────────────────


class Lends:
    """A keyring with a coordinator behind it."""

    lends = True

    def objection(self, _claim: Claim, _public_key: bytes) -> str:
        return ""

    def lent(self, data: bytes, /) -> pb.Lent | None:
        return said(data)


def test_a_lease_counts_once_within_a_round_whoever_of_its_key_shows_it() -> None:
    """Seats of one key may show each other's leases: one of them backed as many updates as there were seats."""
    spent, half, whole = Spent(), [Use(word("1-x", 8), 4)], [Use(word("1-x", 8), 8)]
    assert spent.objection(3, half, said, half) == ""
    assert "another update of this one" in spent.objection(3, whole, said, half)
    assert overdrawn([*whole, *half], said) == "1-x"
    assert overdrawn([*half, *half], said) == ""
    spent.note(3, [*half, *half], said)
    assert "8 went into earlier" in spent.objection(4, half, said)


def test_a_seal_binds_the_leases_that_it_shows() -> None:
    notary = Notary("run", signer_of(ONE), 100)
    notary.keyring = Lends()
    claim = Claim(3, "d" * 64, "p" * 64, 8, "m", b"peer")
    seal = notary.seal(claim, [Use(word("1-x", 8, 0.25), 8)])
    assert notary.objection(claim, seal) == ""
    assert notary.share(seal) == 0.25
    assert "shows leases for 0" in notary.objection(claim, notary.seal(claim))
    changed = exchange_pb2.Seal.FromString(seal)
    changed.uses[0].lent = word("1-x", 8, 1.0)
    assert "signature" in notary.objection(claim, changed.SerializeToString())
    many = notary.seal(claim, [Use(word(f"{n}-x", 8), 1) for n in range(MOST + 1)])
    assert notary.objection(claim, many) == "it is not signed"


def test_without_a_coordinator_nobody_asks_for_leases() -> None:
    notary = Notary("run", signer_of(ONE), 100)
    claim = Claim(3, "d" * 64, "p" * 64, 8, ONE.member_id, b"peer")
    seal = notary.seal(claim)
    assert (notary.objection(claim, seal), notary.share(seal)) == ("", 1.0)
