"""Trials over the real service: units, receipts, findings, and a record that everybody can verify."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coordinator import fsck, trialcalls
from coordinator.rules import DEAR
from coordinator.server import Coordinator
from swarm import receipts as files
from swarm.checks import Level
from swarm.errors import CorruptError, DataError, LoginError, NotFoundError, OverloadError, SwarmError, UsageError
from swarm.identity import Identity
from swarm.maintaining import MaintainerClient
from swarm.proto import coordinator_pb2 as pb
from swarm.trials import probes, receipts
from swarm.trials.answers import Item
from swarm.trials.client import TrialClient
from swarm.trials.names import GARAGE, REDTEAM
from swarm.trials.record import read, release_facts
from tests.small_run import coordinating, sql

KEYS = {name: Identity.from_seed(name[:1].encode() * 32) for name in ("anna", "ben", "carl", "dora")}
WISH = pb.Campaign(kind=REDTEAM, suite=GARAGE, unit_items=28, seconds=60.0, tolerance=0.1)


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[Coordinator]:
    with coordinating(tmp_path / "coordinator") as made:
        yield made


@pytest.fixture
def maintainer(coordinator: Coordinator) -> Iterator[MaintainerClient]:
    with MaintainerClient.connect(coordinator.own_invite) as client:
        yield client


@pytest.fixture
def client(coordinator: Coordinator) -> Iterator[TrialClient]:
    with TrialClient.connect(coordinator.invite) as made:
        yield made


def found(given: pb.TakeUnitResponse, lost: int = -1) -> list[Item]:
    """An answer in which the item `lost` was not resisted."""
    return [
        Item(index, float(index != lost), 1.0, hashlib.sha256(f"{index}{index == lost}".encode()).hexdigest())
        for index in range(given.first, given.first + given.count)
    ]


def work(client: TrialClient, name: str, lost: int = -1, share: float = 1.0) -> int:
    """Units that the key could compute now; of a liar all texts are others."""
    count = 0
    while (given := client.take_unit(KEYS[name])).campaign.id:
        items = found(given, lost)
        if share < 1.0:
            items = [replace(one, digest="f" * 64) for one in items]
        client.answer_unit(KEYS[name], given.campaign.id, given.unit, items)
        count += 1
    return count


def test_a_campaign_from_its_start_to_its_figures(
    client: TrialClient, maintainer: MaintainerClient, tmp_path: Path
) -> None:
    begun = maintainer.start_campaign(WISH)
    assert (begun.id, begun.items, begun.suite_digest) == ("C1", len(probes.own()), probes.digest())
    assert [campaign.id for campaign in client.open_campaigns()] == ["C1"]
    assert work(client, "anna", lost=3) == 2
    assert work(client, "carl", share=0.0) == 2
    assert work(client, "ben", lost=3) == 2
    figures, none, looked = release_facts(read(client.record()), begun.digest)
    assert {one.metric: (one.value, one.samples, one.answers) for one in figures}["resisted"] == (55 / 56, 56, 2)
    assert (none, looked) == ((), True)
    [campaign] = read(client.record()).campaigns
    assert campaign.failed == (probes.own()[3].id,)
    told = {name: client.take_unit(KEYS[name]) for name in ("anna", "ben", "carl")}
    assert {answer.why for answer in told.values()} == {"no campaign is open"}
    for name, answer in told.items():
        path = tmp_path / name
        files.keep(path, client.certificate, answer.receipts)
        proven = receipts.verified(path, client.invite.fingerprint)
        assert [(one.number, one.counted) for one in proven] == [(1, name != "carl"), (2, name != "carl")]
        assert not client.take_unit(KEYS[name], receipts=2).receipts
    with pytest.raises(CorruptError, match="did not sign it"):
        files.verified(tmp_path / "anna")  # a receipt for a unit is none for a round


def test_a_key_must_be_shown_and_a_settled_unit_is_closed(client: TrialClient, maintainer: MaintainerClient) -> None:
    begun = maintainer.start_campaign(WISH)
    given = client.take_unit(KEYS["anna"])
    with pytest.raises(NotFoundError):
        client.answer_unit(KEYS["ben"], begun.id, given.unit, found(given))
    with pytest.raises(LoginError):
        client._call(client._stub.TakeUnit, pb.TakeUnitRequest(run=client.invite.run))
    with pytest.raises(UsageError, match="each once and in their order"):
        client.answer_unit(KEYS["anna"], begun.id, given.unit, found(given)[1:])
    maintainer.stop_campaign(begun.id, "enough")
    with pytest.raises(NotFoundError):
        client.answer_unit(KEYS["anna"], begun.id, given.unit, found(given))
    assert read(client.record()).campaigns[0].why == "enough"


@pytest.mark.parametrize(
    ("wish", "error"),
    [
        ({"suite": "lm-eval:x"}, UsageError),
        ({"kind": "evaluate", "suite": "heldout"}, DataError),  # this run has no held-out samples
        ({"round": 7}, NotFoundError),
        ({"unit_items": 2000}, UsageError),
    ],
)
def test_what_is_not_spread_is_refused(
    maintainer: MaintainerClient, client: TrialClient, wish: dict[str, Any], error: type[SwarmError]
) -> None:
    odd = pb.Campaign(**{**{field.name: value for field, value in WISH.ListFields()}, **wish})
    with pytest.raises(error):
        maintainer.start_campaign(odd)
    assert not client.open_campaigns()


# ── findings ─────────────────────────────────────────────────────────────────────────────────────


def test_a_finding_is_public_at_once_and_how_only_on_its_day(client: TrialClient, maintainer: MaintainerClient) -> None:
    later = time.time() + 1.5
    assert client.report_finding("It tells its secret", "high", "leak", "ask\ntwice", later) == "F1"
    [known] = read(client.record()).findings
    assert (known.finding.title, known.finding.state, known.reproduction) == ("It tells its secret", "open", "")
    with TrialClient.connect(maintainer.invite) as other:
        assert read(other.record()).findings[0].reproduction == "ask\ntwice"
    time.sleep(max(0.0, later - time.time()) + 0.1)
    assert read(client.record()).findings[0].reproduction == "ask\ntwice"
    maintainer.resolve_finding("F1", "fixed", "since round 9")
    [known] = read(client.record()).findings
    assert (known.finding.state, known.notes) == ("fixed", ("fixed: since round 9",))
    assert release_facts(read(client.record()), "")[1:] == ((known.finding,), False), "who reports one has not looked"


def test_a_finding_has_bounds(client: TrialClient, maintainer: MaintainerClient) -> None:
    for odd in (
        ("t", "grave", "c", "r"),
        ("", "low", "c", "r"),
        ("t", "low", "c", ""),
        ("t", "low", "c", "r" * 20_000),
    ):
        with pytest.raises(UsageError):
            client.report_finding(*odd)
    with pytest.raises(UsageError, match="a year at most"):
        client.report_finding("t", "low", "c", "r", time.time() + 4e7)
    with pytest.raises(NotFoundError):
        maintainer.resolve_finding("F9", "fixed", "")
    taken = sum(1 for _ in range(DEAR) if reported(client))
    assert 0 < taken < DEAR, "the refused ones above were calls, too"


def reported(client: TrialClient) -> bool:
    try:
        return bool(client.report_finding("t", "low", "c", "r"))
    except OverloadError:
        return False


ALTERED: tuple[Callable[[Any], object], ...] = (
    lambda answer: answer.entries.pop(1),
    lambda answer: setattr(answer.entries[0], "body", answer.entries[0].body.replace("one", "won")),
    lambda answer: setattr(answer.entries[2], "at", 0.0),
    lambda answer: setattr(answer.entries[2], "opened", '{"salt":"00","text":"other"}'),
)


def test_a_record_that_was_altered_is_not_believed(client: TrialClient) -> None:
    for title in ("one", "two", "three"):
        client.report_finding(title, "low", "c", "r")
    assert [entry.number for entry in client.record()] == [1, 2, 3]
    call = client._call
    for change in ALTERED:

        def altered(method: Any, request: Any, *more: Any, change: Any = change) -> Any:
            answer = call(method, request, *more)
            change(answer)
            return answer

        client._call = altered  # type: ignore[method-assign]
        with pytest.raises(CorruptError):
            client.record()


def test_fsck_finds_an_altered_record(coordinator: Coordinator, client: TrialClient, tmp_path: Path) -> None:
    client.report_finding("one", "low", "c", "r")
    coordinator.stop()
    folder = tmp_path / "coordinator"
    assert not [check for check in fsck.examine(folder) if check.name == "record" and check.level is not Level.OK]
    sql(folder, "UPDATE trial_record SET body = replace(body, 'one', 'won')")
    [found] = [check for check in fsck.examine(folder) if check.name == "record"]
    assert found.level is Level.FAILED
    assert "Entry 1 of the run's public record" in found.says


def test_a_record_longer_than_one_answer(client: TrialClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trialcalls, "_PAGE", 2)
    for number in range(5):
        client.report_finding(f"f{number}", "low", "c", "r")
    assert [entry.number for entry in client.record()] == [1, 2, 3, 4, 5]
