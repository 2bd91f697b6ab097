"""What a registry's manifest may say, and how places and logins are read; pure."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from swarm.bundle import logins, oci
from swarm.bundle.logins import Challenge, Login
from swarm.bundle.manifest import FILE
from swarm.bundle.push import packed
from swarm.bundle.reference import Reference
from swarm.errors import CorruptError, RefusedError, UsageError
from tests.small_bundle import small_bundle


@pytest.fixture
def document(tmp_path: Path) -> Any:
    small_bundle(tmp_path)
    return json.loads(packed(tmp_path).manifest)


def test_the_same_bundle_gives_the_same_manifest_and_the_layers_come_back(tmp_path: Path) -> None:
    small_bundle(tmp_path)
    cargo = packed(tmp_path)
    assert packed(tmp_path).manifest == cargo.manifest
    assert oci.parse(cargo.manifest, "x") == cargo.files
    oci.require_all(cargo.files, cargo.bundle, "x")
    types = {file.path: file.media_type.removeprefix("application/vnd.cncf.model.") for file in cargo.files}
    assert types == {
        "README.md": "doc.v1.raw",
        "bundle.json": "doc.v1.raw",
        "config.json": "weight.config.v1.raw",
        "model.safetensors": "weight.v1.raw",
        "plugins/clock.py": "code.v1.raw",
        "signatures/ab12.pub": "doc.v1.raw",
        "signatures/ab12.sig": "doc.v1.raw",
        "tokenizer.json": "weight.config.v1.raw",
    }
    described = json.loads(cargo.config)
    assert described["modelfs"]["diffIds"] == [f"sha256:{file.sha256}" for file in cargo.files]


@pytest.mark.parametrize(
    "path",
    [
        "../x",
        "/etc/passwd",
        "a/../../x",
        ".hidden",
        "a//b",
        "a\\b",
        "a/b/c/d/e",
        "",
        "README.md\n",
        "con\0",
        "ä",
        "readme.md",
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(path: str, document: Any) -> None:
    document["layers"][3]["annotations"]["org.cncf.model.filepath"] = path
    with pytest.raises(CorruptError):
        oci.parse(json.dumps(document).encode(), "x")


def test_a_file_cannot_be_a_folder_of_another(document: Any) -> None:
    document["layers"][3]["annotations"]["org.cncf.model.filepath"] = "Plugins"
    with pytest.raises(CorruptError, match="same place"):
        oci.parse(json.dumps(document).encode(), "x")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"artifactType": "application/vnd.docker.container.image.v1+json"}, "artifactType"),
        ({"schemaVersion": 1}, "schemaVersion"),
        ({"layers": []}, "layers"),
        ({"layers": [{"mediaType": "x", "digest": "sha256:0", "size": 1}]}, "digest"),
        ({"layers": [{"mediaType": "x", "digest": f"sha256:{'0' * 64}", "size": -1}]}, "size"),
        ({"layers": [{"mediaType": "x", "digest": f"sha256:{'0' * 64}", "size": 1}]}, "the type 'x'"),
    ],
)
def test_what_is_no_bundles_manifest_is_refused_with_the_reason(
    change: dict[str, Any], says: str, document: Any
) -> None:
    with pytest.raises(CorruptError, match=says):
        oci.parse(json.dumps({**document, **change}).encode(), "x")


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000])
def test_what_is_no_manifest_at_all_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptError):
        oci.parse(data, "x")


def test_layers_that_are_not_the_bundles_files_are_refused_by_name(tmp_path: Path) -> None:
    small_bundle(tmp_path)
    cargo = packed(tmp_path)
    [weights] = [file for file in cargo.files if file.path == "model.safetensors"]
    others = [file for file in cargo.files if file is not weights]
    with pytest.raises(CorruptError, match=r"layer of model.safetensors is missing"):
        oci.require_all(others, cargo.bundle, "x")
    with pytest.raises(CorruptError, match=f"more.safetensors is not in its {FILE}"):
        oci.require_all([*cargo.files, oci.Layer("more.safetensors", "", "0" * 64, 1)], cargo.bundle, "x")
    with pytest.raises(CorruptError, match=r"model.safetensors has another digest"):
        oci.require_all([*others, oci.Layer(weights.path, "", "0" * 64, weights.size)], cargo.bundle, "x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ghcr.io/us/law:1.0", Reference("ghcr.io", "us/law", "1.0", "")),
        ("localhost:5000/law", Reference("localhost:5000", "law", "", "")),
        (f"127.0.0.1:5000/a/b_c:x@sha256:{'a' * 64}", Reference("127.0.0.1:5000", "a/b_c", "x", "a" * 64)),
        ("[::1]:5000/law:1", Reference("[::1]:5000", "law", "1", "")),
    ],
)
def test_a_place_is_read_and_written(text: str, expected: Reference) -> None:
    assert Reference.of(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    "text",
    ["law:1", "us/law:1", "ghcr.io/Us/law", "ghcr.io/law:1@sha256:12", "https://ghcr.io/law", "ghcr.io/../law", ""],
)
def test_what_names_no_place_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="REGISTRY/NAME:TAG"):
        Reference.of(text)


def test_only_this_machine_is_local() -> None:
    places = ["localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000", "127.0.0.1.example.org", "10.0.0.1:5000"]
    assert [Reference(host, "x", "", "").local for host in places] == [True] * 4 + [False] * 2


def test_logins_are_dockers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert logins.login("ghcr.io") == Login()
    secret = base64.b64encode(b"anna:a:b").decode()
    auths = {"ghcr.io": {"auth": secret}, "https://index.docker.io/v1/": {"auth": secret}, "kept.elsewhere": {}}
    (tmp_path / "config.json").write_text(json.dumps({"auths": auths, "credsStore": "desktop"}))
    assert logins.login("ghcr.io") == logins.login("docker.io") == Login("anna", "a:b")
    assert logins.login("kept.elsewhere") == logins.login("quay.io") == Login()
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(RefusedError, match="cannot be read"):
        logins.login("ghcr.io")


def test_a_challenge_is_read_and_a_token_asked_for() -> None:
    challenge = Challenge.of('Bearer realm="https://auth.io/token",service="r",scope="repository:x:pull",error="a, b"')
    assert challenge == Challenge("bearer", "https://auth.io/token", "r")
    assert challenge.token_request(Login(), "s:x")[:3] == ("GET", "https://auth.io/token?service=r&scope=s%3Ax", {})
    assert Challenge.of("") == Challenge("", "", "")
    for answer in (b"", b"{}", b"[1]", b'{"token": 1}', b'{"token": "a\\nb"}'):
        with pytest.raises(RefusedError):
            logins.token(answer, "r")
