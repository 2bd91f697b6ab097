"""The page over real HTTP, served by a real coordinator: what everybody, a volunteer, and a maintainer gets."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coordinator import audit
from coordinator.web import connection
from swarm import pageword
from swarm.errors import BannedError, PortInUseError
from swarm.identity import Identity
from tests.contract.conftest import Run
from tests.page_run import NAMES, Answer, PageRun, page_run, settled

ANNA, BEN = NAMES[:2]
STRANGER = Identity.from_seed(b"s" * 32)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[PageRun]:
    with page_run(tmp_path / "coordinator") as made:
        yield made


# ── for everybody ────────────────────────────────────────────────────────────────────────────────


def test_everything_is_there_and_nothing_that_is_nobodys_business(run: PageRun) -> None:
    run.join(ANNA, BEN)
    run.make_rounds(5)
    run.evaluate()
    settled(run, 4)
    answer = run.get("/api/run")
    found = answer.json
    assert found["run"]["title"] == "Legal German, from a hundred garages"
    assert found["now"]["round"] == 5
    assert found["curves"]["round"][:3] == [0, 1, 2]
    assert found["heldout"] == [[5, found["evaluations"][0]["heldout_loss"]]]
    assert [who["name"] for who in found["members"]] == [who["name"] for who in found["leaders"]] != []
    assert found["checkpoints"][0]["digest"] in {item.digest for item in run.checkpoints()}
    assert any("held-out loss" in text for _, text in found["decisions"])
    said = answer.body.decode()
    for secret in (
        "127.0.0.1",
        run.coordinator.invite.token,
        run.coordinator.own_invite.token,
        "/ip4",
        "the run's first",
    ):
        assert secret not in said


def test_every_answer_has_its_headers_and_readers_get_no_cookie(run: PageRun) -> None:
    for path in ("/", "/static/app.js", "/api/run", "/nothing", "/api/me"):
        headers = {key.lower(): value for key, value in run.get(path).headers.items()}
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "set-cookie" not in headers


def test_the_pages_own_files_name_no_other_site(run: PageRun) -> None:
    for name in ("", "static/app.js", "static/charts.js", "static/style.css", "static/me.js", "static/maintain.js"):
        text = run.get(f"/{name}").body.decode()
        foreign = text.replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in foreign
        assert "https://" not in foreign


def test_a_file_that_the_browser_has_is_not_sent_again(run: PageRun) -> None:
    first = run.get("/static/app.js")
    again = run.get("/static/app.js", If_None_Match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")


def test_the_invite_is_shown_only_when_the_maintainer_said_so(run: PageRun, tmp_path: Path) -> None:
    assert run.get("/api/run").json["invite"] == ""
    assert run.get("/invite.svg").status == 404
    with page_run(tmp_path / "open", shows_invite=True) as shown:
        assert shown.get("/api/run").json["invite"] == str(shown.coordinator.invite)
        assert b"<svg" in shown.get("/invite.svg").body


def test_news_come_by_themselves(run: PageRun) -> None:
    run.join(ANNA)
    with events(run) as lines:
        first = next_news(lines)
        run.make_rounds(3)
        news = first
        while news["round"] < 3 or len(news["rounds"]) < 2:
            news = next_news(lines)
    assert [entry[0] for entry in news["rounds"]][:2] == [0, 1]
    assert news["members"] == 1


def test_the_history_is_there_after_a_restart(tmp_path: Path) -> None:
    folder = tmp_path / "coordinator"
    with page_run(folder) as run:
        run.join(ANNA)
        run.make_rounds(4)
        settled(run, 3)
        before = run.get("/api/run").json["curves"]
    with page_run(folder, fresh=False) as again:
        settled(again, 4)
        after = again.get("/api/run").json["curves"]
        assert after["round"] == [0, 1, 2, 3]
        assert after["loss"][:3] == before["loss"][:3]


def test_a_port_that_is_in_use_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        served = page_run(tmp_path / "coordinator", page_port=taken.getsockname()[1])
        with pytest.raises(PortInUseError, match="--page"), served:
            pass


# ── for a volunteer ──────────────────────────────────────────────────────────────────────────────


def my_word(page: PageRun, identity: Identity, **facts: Any) -> str:
    invite = page.coordinator.invite
    values = {"run": invite.run, "fingerprint": invite.fingerprint, "now": time.time(), **facts}
    return pageword.word(identity, **values)


def mine(run: PageRun, said: str) -> Answer:
    return run.get("/api/me", Authorization=f"Bearer {said}")


def test_a_volunteer_sees_its_own_part_and_nobody_elses(run: PageRun) -> None:
    run.join(ANNA, BEN)
    run.make_rounds(3)
    settled(run, 2)
    found = mine(run, my_word(run, run.identities[ANNA])).json
    assert (found["name"], found["pending"], found["banned"]) == (ANNA, 0, "")
    assert found["counted"] == sum(samples for _, state, samples, _ in found["lines"] if state == "counted")
    assert [line[0] for line in found["lines"]] == [2, 1, 0]
    assert found["rounds"] >= 2
    assert BEN not in json.dumps(found)


def test_words_that_are_wrong_foreign_or_expired_are_refused_with_a_sentence(run: PageRun) -> None:
    run.join(ANNA)
    anna = run.identities[ANNA]
    for said, status, what in (
        ("nonsense", 401, "no personal link"),
        (my_word(run, anna, run="other"), 401, "another run"),
        (my_word(run, anna, fingerprint="0" * 32), 401, "another run"),
        (my_word(run, anna, now=time.time() - 90_000), 401, "expired"),
        (my_word(run, STRANGER), 403, "Nobody has taken part"),
    ):
        answer = mine(run, said)
        assert (answer.status, what in answer.json["what"]) == (status, True), answer.body


def test_the_command_makes_the_link(run: PageRun, swarm: Run, tmp_path: Path) -> None:
    run.join(ANNA)
    run.identities[ANNA].save(tmp_path / "identity.pem")
    where = ("--at", f"{run.url}/", "--data-dir", tmp_path)
    code, out, _ = swarm("page", run.coordinator.invite, *where)
    address, _, said = out.strip().partition("/#me=")
    assert (code, address) == (0, run.url)
    assert mine(run, said).json["name"] == ANNA
    code, _, error = swarm("page", run.coordinator.invite)
    assert (code, "--at" in error) == (13, True)


# ── for maintainers ──────────────────────────────────────────────────────────────────────────────


class Maintainer:
    """A browser that is logged in."""

    def __init__(self, run: PageRun, invite: object) -> None:
        self.run = run
        self.answer = run.ask("POST", "/api/login", json.dumps({"invite": str(invite)}).encode())
        self.cookie = self.answer.headers.get("set-cookie", "").partition(";")[0]
        self.csrf = self.answer.json.get("csrf", "")

    def call(self, name: str, **values: Any) -> Answer:
        headers = {"Cookie": self.cookie, "X_CSRF_Token": self.csrf}
        return self.run.ask("POST", f"/api/maintain/{name}", json.dumps(values).encode(), **headers)


def test_a_maintainer_bans_and_lifts_trusts_and_rotates_invites(run: PageRun) -> None:
    run.join(ANNA, BEN)
    me = Maintainer(run, run.coordinator.own_invite)
    cookie = me.answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert {who["name"] for who in me.call("ListPeers").json["peers"]} == {ANNA, BEN}
    assert me.call("Ban", member=BEN, why="pretends").json["ban"]["why"] == "pretends"
    with pytest.raises(BannedError, match="pretends"):
        run.beat(BEN)
    assert me.call("Unban", member=run.members[BEN]).status == 200
    assert me.call("Trust", member=ANNA, why="a friend").json["trust"]["trusted_by"]
    assert me.call("SteerRun", course="paused", why="a holiday").status == 200
    assert "a holiday" in run.get("/api/run").json["now"]["steered"]
    assert me.call("ApproveCheckpoint", round=0).status == 200
    made = me.call("MakeInvite", role="volunteer", days=7, note="Carla").json
    assert me.call("RevokeInvite", id=made["invite"]["id"]).json["invite"]["revoked_at"]
    kept = [(line["call"], line["about"]) for line in audit.read(run.folder) if line["address"] == "127.0.0.1"]
    assert ("Ban", run.members[BEN]) in kept
    assert ("RevokeInvite", made["invite"]["id"]) in kept
    assert me.run.ask("POST", "/api/logout", b"{}", Cookie=me.cookie).status == 200
    assert me.call("ListPeers").status == 401


def test_who_is_no_maintainer_is_refused_and_may_try_a_few_times_only(run: PageRun) -> None:
    refused = Maintainer(run, run.coordinator.invite)
    assert (refused.answer.status, refused.cookie) == (403, "")
    assert "takes the invite of a maintainer" in refused.answer.json["what"]
    assert any(line.get("refused") == "REFUSED" for line in audit.read(run.folder))
    statuses = [Maintainer(run, "nonsense").answer.status for _ in range(5)]
    assert statuses == [401, 401, 401, 401, 429]


def test_actions_need_the_session_and_the_token_of_the_page_itself(run: PageRun) -> None:
    me = Maintainer(run, run.coordinator.own_invite)
    forged = run.ask("POST", "/api/maintain/ListPeers", b"{}", Cookie=me.cookie, X_CSRF_Token="x")
    assert forged.status == 403
    assert run.ask("POST", "/api/maintain/ListPeers", b"{}", X_CSRF_Token=me.csrf).status == 401
    assert me.call("Heartbeat").status == 404
    assert me.call("Ban", member=["x"]).status == 400
    assert me.call("Ban", nonsense=1).status == 400


def test_a_revoked_maintainers_session_is_worth_nothing(run: PageRun) -> None:
    own = Maintainer(run, run.coordinator.own_invite)
    made = own.call("MakeInvite", role="maintainer", days=1).json
    other = Maintainer(run, made["token"])
    assert other.call("ListPeers").status == 200
    own.call("RevokeInvite", id=made["invite"]["id"])
    assert other.call("ListPeers").status == 401


@pytest.mark.parametrize("headers", [{"Host": "run.example.org"}, {"X_Forwarded_For": "192.0.2.7"}])
def test_a_login_that_could_be_read_on_the_way_is_refused_and_says_why(run: PageRun, headers: dict[str, str]) -> None:
    body = json.dumps({"invite": str(run.coordinator.own_invite)}).encode()
    refused = run.ask("POST", "/api/login", body, **headers)
    assert (refused.status, "plain HTTP" in refused.json["what"]) == (403, True)
    over_tls = run.ask("POST", "/api/login", body, **headers, X_Forwarded_Proto="https")
    assert over_tls.status == 200
    assert "secure" in over_tls.headers["set-cookie"].lower()


# ── who would take too much ──────────────────────────────────────────────────────────────────────


def test_who_says_nothing_is_ended_and_who_is_too_many_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MOST", 3)
    monkeypatch.setattr(connection, "_SECONDS", 2.0)
    with page_run(tmp_path / "coordinator") as run:
        address = ("127.0.0.1", run.coordinator.page_port)
        silent = [socket.create_connection(address, 10) for _ in range(3)]
        refused = run.get("/api/run")
        assert (refused.status, b"Training is not concerned" in refused.body) == (503, True)
        assert [line.recv(1) for line in silent] == [b""] * 3, "they are ended after two seconds"
        assert run.get("/api/run").status == 200
        for line in silent:
            line.close()


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"[" * 4000, b'{"invite":1}', b'{"invite":"swarm://x"}'])
def test_bodies_that_are_none_are_refused(run: PageRun, body: bytes) -> None:
    assert run.ask("POST", "/api/login", body).status in (400, 401)


def test_a_large_body_and_a_head_without_an_end_are_refused(run: PageRun) -> None:
    assert run.ask("POST", "/api/login", b" " * 5000).status == 400
    with socket.create_connection(("127.0.0.1", run.coordinator.page_port), 10) as line:
        line.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000)
        assert line.recv(100).startswith(b"HTTP/1.1 400")


def test_a_method_that_is_none_of_the_pages_is_refused(run: PageRun) -> None:
    assert run.ask("POST", "/api/run", b"").status == 405
    assert run.ask("DELETE", "/", None).status == 405


# ── helpers ──────────────────────────────────────────────────────────────────────────────────────


class events:  # noqa: N801
    """The stream of news, line by line."""

    def __init__(self, run: PageRun) -> None:
        self._line = socket.create_connection(("127.0.0.1", run.coordinator.page_port), 10)

    def __enter__(self) -> Any:
        self._line.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return self._line.makefile("r", encoding="utf-8")

    def __exit__(self, *_: object) -> None:
        self._line.close()


def next_news(lines: Any) -> dict[str, Any]:
    for line in lines:
        if line.startswith("data: "):
            return dict(json.loads(line.removeprefix("data: ")))
    raise AssertionError("the stream ended")
