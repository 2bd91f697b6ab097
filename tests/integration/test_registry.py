"""Bundles in Debian's docker-registry, brought by `swarm push` and fetched by `swarm pull`, and read by skopeo."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from swarm import notes
from swarm.bundle.journey import Journey
from swarm.bundle.manifest import FILE
from swarm.bundle.pull import pull
from swarm.bundle.push import packed, push
from swarm.bundle.reference import Reference
from swarm.bundle.registry import Body, Registry
from swarm.errors import CorruptError, DiskError, NotFoundError, RefusedError, SwarmError, UnreachableError, UsageError
from tests import faults
from tests import registry as registries
from tests.harness import Program
from tests.registry import Served
from tests.small_bundle import NAMES, content, noise, small_bundle
from tests.swarm_run import free_port, swarm_command, swarm_words
from tests.token_realm import PASSWORD, REFRESH, token_realm

pytestmark = [registries.NEEDS, pytest.mark.processes]
MB = 1_000_000
QUIET = Journey(lambda _: None, lambda _: None)
HTPASSWD = "anna:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"  # bcrypt of "secret"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with registries.registry(tmp_path / "registry") as one:
        yield one


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))


def swarm(*words: object) -> subprocess.CompletedProcess[str]:
    command = swarm_words(*map(str, words), "--plain-http")
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def pushed(bundle: Path, place: str) -> str:
    """Where it is, with its digest."""
    done = swarm("push", bundle, place)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def refused(done: subprocess.CompletedProcess[str], error: type[SwarmError], *words: str) -> None:
    assert done.returncode == error.exit_code, done.stderr
    assert [word for word in words if word not in done.stderr] == []
    assert "Traceback" not in done.stderr


def test_a_bundle_comes_back_byte_for_byte_and_skopeo_reads_it(served: Served, tmp_path: Path) -> None:
    files = {name: name.encode() * 20 for name in NAMES} | {
        "empty.txt": b"",
        "twin.safetensors": b"model.safetensors" * 20,
    }
    small_bundle(tmp_path / "bundle", files)
    place = f"{served.host}/our-group/small"
    exact = pushed(tmp_path / "bundle", place)
    assert exact.startswith(f"{place}:1.0@sha256:")  # the tag is the bundle's version
    assert pushed(tmp_path / "bundle", place) == exact

    assert swarm("pull", exact, tmp_path / "out").returncode == 0
    assert content(tmp_path / "out") == content(tmp_path / "bundle")
    assert not (tmp_path / ".out.pull").exists()
    refused(swarm("pull", exact, tmp_path / "out"), UsageError, "not empty")

    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{place}:1.0")
    assert hashlib.sha256(raw).hexdigest() == exact.rpartition(":")[2]
    assert json.loads(raw)["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    layout = tmp_path / "layout"
    skopeo("copy", "--quiet", "--src-tls-verify=false", f"docker://{place}:1.0", f"oci:{layout}:1.0")
    for layer in json.loads(raw)["layers"]:
        path = tmp_path / "bundle" / layer["annotations"]["org.cncf.model.filepath"]
        assert (layout / "blobs" / "sha256" / layer["digest"].partition(":")[2]).read_bytes() == path.read_bytes()


def skopeo(*words: str) -> bytes:
    return subprocess.run(["skopeo", *words], capture_output=True, check=True, timeout=60).stdout


def test_a_push_that_was_killed_sends_what_is_missing(served: Served, tmp_path: Path) -> None:
    small_bundle(tmp_path / "bundle", {f"model-{i}.safetensors": noise(24 * MB, i) for i in range(6)})
    place = f"{served.host}/our-group/large:1.0"
    killed(["push", str(tmp_path / "bundle"), place], lambda program: "pushed" in program.stderr)
    said = f"{served.host} could not find {place}: HTTP 404, "
    refused(swarm("pull", place, tmp_path / "out"), NotFoundError, said)  # nobody finds half a bundle

    done = swarm("push", tmp_path / "bundle", place)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(": there already") >= 1
    assert done.stderr.count(".safetensors: pushed") <= 5
    assert list((tmp_path / "home" / "pushes").iterdir()) == []
    assert swarm("pull", place, tmp_path / "out").returncode == 0
    assert content(tmp_path / "out") == content(tmp_path / "bundle")


def test_a_pull_that_was_killed_goes_on_where_it_stopped(served: Served, tmp_path: Path) -> None:
    small_bundle(tmp_path / "bundle", {f"model-{i}.safetensors": noise(48 * MB, i) for i in range(4)})
    place = pushed(tmp_path / "bundle", f"{served.host}/our-group/large:1.0")
    stage = tmp_path / ".out.pull"
    killed(["pull", place, str(tmp_path / "out")], lambda _: fetched(stage) > 20 * MB)
    assert not (tmp_path / "out").exists()
    there = fetched(stage)
    before = served.settled()
    done = swarm("pull", place, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert content(tmp_path / "out") == content(tmp_path / "bundle")
    assert served.sent() - before < 4 * 48 * MB - there + MB


def test_a_registry_that_dies_under_a_pull_is_said_and_the_next_pull_goes_on(tmp_path: Path) -> None:
    small_bundle(tmp_path / "bundle", {f"model-{i}.safetensors": noise(48 * MB, i) for i in range(4)})
    stage = tmp_path / ".out.pull"
    with registries.registry(tmp_path / "registry") as served:
        place = pushed(tmp_path / "bundle", f"{served.host}/large:1.0")
        program = swarm_command("pull", place, str(tmp_path / "out"), "--plain-http")
        try:
            wait_for(lambda: fetched(stage) > 20 * MB, program)
            os.kill(served.pid, signal.SIGKILL)
            assert program.finish(30) == UnreachableError.exit_code, program.stderr
        finally:
            program.clean_up()
    assert "Traceback" not in program.stderr
    assert not (tmp_path / "out").exists()
    with registries.registry(tmp_path / "registry") as served:
        there = fetched(stage)
        done = swarm("pull", place.replace(place.partition("/")[0], served.host), tmp_path / "out")
        assert done.returncode == 0, done.stderr
        assert served.sent() < 4 * 48 * MB - there + MB
    assert content(tmp_path / "out") == content(tmp_path / "bundle")


def test_a_disk_that_becomes_full_under_a_pull_is_said_and_the_next_pull_goes_on(
    served: Served, tmp_path: Path
) -> None:
    small_bundle(tmp_path / "bundle", {f"model-{i}.safetensors": noise(24 * MB, i) for i in range(4)})
    place = pushed(tmp_path / "bundle", f"{served.host}/our-group/large:1.0")
    with faults.disk(tmp_path / "disk") as disk:
        stage = disk / ".out.pull"
        program = swarm_command("pull", place, str(disk / "out"), "--plain-http")
        try:
            wait_for(lambda: fetched(stage) > 10 * MB, program)
            program.process.send_signal(signal.SIGSTOP)
            wait_for(lambda: at_rest(program.process.pid), program)
            with faults.fill_disk(disk):
                program.process.send_signal(signal.SIGCONT)
                assert program.finish(30) == DiskError.exit_code, program.stderr
        finally:
            program.clean_up()
        assert f"The disk is full; pulling a bundle to {disk / 'out'} could not finish" in program.stderr
        assert "Traceback" not in program.stderr
        assert [path.name for path in disk.iterdir()] == [".out.pull"]
        there, before = fetched(stage), served.settled()
        done = swarm("pull", place, disk / "out")
        assert done.returncode == 0, done.stderr
        assert served.sent() - before < 4 * 24 * MB - there + MB
        assert content(disk / "out") == content(tmp_path / "bundle")
        assert [path.name for path in disk.iterdir()] == ["out"]


def killed(words: list[str], when: Callable[[Program], bool]) -> None:
    """Start the command and kill -9 it as soon as `when` holds."""
    program = swarm_command(*words, "--plain-http")
    try:
        wait_for(lambda: when(program), program)
        program.kill()
    finally:
        program.clean_up()


def at_rest(pid: int) -> bool:
    """Whether all of its threads have stopped: one may still be writing."""
    stats = Path(f"/proc/{pid}/task").glob("*/stat")
    return all(path.read_text().rpartition(") ")[2].startswith("T") for path in stats)


def fetched(stage: Path) -> int:
    """Bytes of blobs that have come; one may just get its name."""
    count = 0
    for path in [*stage.glob("*")]:
        with suppress(FileNotFoundError):
            count += path.stat().st_size
    return count


def wait_for(what: Callable[[], bool], program: Program) -> None:
    """Until it holds, while the program is at work."""
    end = time.monotonic() + 30
    while not what() and time.monotonic() < end:
        assert program.process.poll() is None, "it was done too early"
        time.sleep(0.001)


class Counting(Registry):
    """Knows how many bytes were sent."""

    sent = 0

    def send(self, upload: str, body: Body, offset: int, length: int) -> str:
        self.sent += length
        return super().send(upload, body, offset, length)


def test_a_blob_of_which_the_registry_has_half_goes_on_there(served: Served, tmp_path: Path) -> None:
    data = noise(4 * MB)
    small_bundle(tmp_path / "bundle", {"model.safetensors": data})
    cargo = packed(tmp_path / "bundle")
    registry = Counting.of(Reference.of(f"{served.host}/half:1.0"), True, writes=True)
    upload = registry.send(registry.begin(), lambda: iter([data[: 3 * MB]]), 0, 3 * MB)
    place = f"{served.host}/half@{hashlib.sha256(data).hexdigest()}"
    (tmp_path / "uploads").mkdir()
    notes.keep(tmp_path / "uploads" / hashlib.sha256(place.encode()).hexdigest(), upload)
    registry.sent = 0
    push(tmp_path / "bundle", cargo, registry, "1.0", tmp_path / "uploads", QUIET)
    assert MB < registry.sent < 1.1 * MB


def test_an_altered_file_is_refused_by_the_registry(served: Served, tmp_path: Path) -> None:
    small_bundle(tmp_path / "bundle")
    (tmp_path / "bundle" / "model.safetensors").write_bytes(noise(900))
    refused(swarm("push", tmp_path / "bundle", f"{served.host}/altered:1.0"), CorruptError, "altered")
    (tmp_path / "bundle" / "model.safetensors").unlink()
    refused(swarm("push", tmp_path / "bundle", f"{served.host}/altered:1.0"), CorruptError, "is missing")


def test_what_a_registry_damaged_is_never_a_bundle(served: Served, tmp_path: Path) -> None:
    small_bundle(tmp_path / "bundle")
    place = pushed(tmp_path / "bundle", f"{served.host}/damaged:1.0")
    sha256 = hashlib.sha256((tmp_path / "bundle" / "model.safetensors").read_bytes()).hexdigest()
    [blob] = served.storage.glob(f"docker/registry/v2/blobs/sha256/*/{sha256}/data")
    right = blob.read_bytes()
    blob.write_bytes(b"X" + right[1:])
    refused(swarm("pull", place, tmp_path / "out"), CorruptError, "model.safetensors", "altered")
    blob.write_bytes(right[:-1])
    refused(swarm("pull", place, tmp_path / "out"), CorruptError, "model.safetensors", "shorter")
    blob.unlink()
    refused(swarm("pull", place, tmp_path / "out"), NotFoundError, sha256[:16])
    assert not (tmp_path / "out").exists()
    blob.write_bytes(right)
    assert swarm("pull", place, tmp_path / "out").returncode == 0


def test_a_manifest_that_is_not_its_layers_is_refused_before_anything_large_comes(
    served: Served, tmp_path: Path
) -> None:
    small_bundle(tmp_path / "bundle")
    cargo = packed(tmp_path / "bundle")
    registry = Registry.of(Reference.of(f"{served.host}/odd:1.0"), True, writes=True)
    push(tmp_path / "bundle", cargo, registry, "1.0", tmp_path / "uploads", QUIET)
    document = json.loads(cargo.manifest)
    weights = [one for one in document["layers"] if one["mediaType"] == "application/vnd.cncf.model.weight.v1.raw"]
    document["layers"] = [one for one in document["layers"] if one not in weights]
    registry.put_manifest("2.0", json.dumps(document).encode())
    refused(swarm("pull", f"{served.host}/odd:2.0", tmp_path / "out"), CorruptError, "model.safetensors is missing")
    document["artifactType"] = "application/vnd.unknown"
    registry.put_manifest("3.0", json.dumps(document).encode())
    refused(swarm("pull", f"{served.host}/odd:3.0", tmp_path / "out"), CorruptError, "artifactType")


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        ({"auth": PASSWORD}, None),
        ({"identitytoken": REFRESH}, None),
        ({"auth": base64.b64encode(b"anna:wrong").decode()}, RefusedError),
        ({}, RefusedError),
    ],
    ids=["password", "identity token", "wrong password", "no login"],
)
def test_a_registry_that_wants_a_token(entry: dict[str, str], error: type[SwarmError] | None, tmp_path: Path) -> None:
    small_bundle(tmp_path / "bundle")
    with token_realm(tmp_path) as auth, registries.registry(tmp_path / "registry", auth=auth) as served:
        log_in(tmp_path, served.host, entry)
        done = swarm("push", tmp_path / "bundle", f"{served.host}/team/secret:1.0")
        if error:
            refused(done, error, "docker login")
        else:
            assert done.returncode == 0, done.stderr
            assert swarm("pull", f"{served.host}/team/secret:1.0", tmp_path / "out").returncode == 0


def test_a_registry_that_wants_a_password(tmp_path: Path) -> None:
    small_bundle(tmp_path / "bundle")
    (tmp_path / "htpasswd").write_text(HTPASSWD)
    auth = {"htpasswd": {"realm": "tests", "path": str(tmp_path / "htpasswd")}}
    with registries.registry(tmp_path / "registry", auth=auth) as served:
        refused(swarm("push", tmp_path / "bundle", f"{served.host}/team/secret:1.0"), RefusedError, "docker login")
        log_in(tmp_path, served.host, {"auth": PASSWORD})
        assert swarm("push", tmp_path / "bundle", f"{served.host}/team/secret:1.0").returncode == 0


def test_where_nobody_answers(tmp_path: Path) -> None:
    small_bundle(tmp_path / "bundle")
    port = free_port()
    done = swarm("push", tmp_path / "bundle", f"127.0.0.1:{port}/small:1.0")
    refused(done, UnreachableError, f"127.0.0.1:{port} refuses connections.")
    refused(swarm("pull", "registry.example.org/small:1.0"), UsageError, "not on this machine")
    command = swarm_words("pull", "registry.invalid/small:1.0", str(tmp_path / "out"))
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    refused(done, UnreachableError, "no host named registry.invalid")


def test_an_answer_that_is_cut_off_is_a_broken_line_and_no_damaged_bundle() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            with listening.accept()[0] as line:
                line.recv(4096)
                line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")

        with ThreadPoolExecutor(1) as thread:
            thread.submit(answer)
            place = f"127.0.0.1:{listening.getsockname()[1]}/small:1.0"
            with pytest.raises(UnreachableError, match="broke off"):
                Registry.of(Reference.of(place), True, writes=False).manifest()


def test_a_disk_that_is_full_is_said_before_anything_large_comes(served: Served, tmp_path: Path) -> None:
    small_bundle(tmp_path / "bundle")
    cargo = packed(tmp_path / "bundle")
    registry = Registry.of(Reference.of(f"{served.host}/huge:1.0"), True, writes=True)
    huge = tuple(replace(file, size=1 << 60) if file.path == "model.safetensors" else file for file in cargo.files)
    push(tmp_path / "bundle", cargo, registry, "1.0", tmp_path / "uploads", QUIET)
    with pytest.raises(CorruptError, match="another digest or size"):
        pull(registry, huge, tmp_path / "out", QUIET)
    parts = [
        part.model_copy(update={"size": 1 << 60}) if part.kind == "weights" else part for part in cargo.bundle.parts
    ]
    (tmp_path / "bundle" / FILE).write_bytes(cargo.bundle.model_copy(update={"parts": tuple(parts)}).to_bytes())
    data = (tmp_path / "bundle" / FILE).read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    registry.finish(registry.send(registry.begin(), lambda: iter([data]), 0, len(data)), sha256)
    own = next(file for file in huge if file.path == FILE)
    lying = tuple(replace(own, sha256=sha256, size=len(data)) if file is own else file for file in huge)
    with pytest.raises(DiskError, match="are needed"):
        pull(registry, lying, tmp_path / "out", QUIET)


def log_in(folder: Path, host: str, entry: dict[str, str]) -> None:
    (folder / "docker").mkdir()
    (folder / "docker" / "config.json").write_text(json.dumps({"auths": {host: entry}}))
