"""A bundle is refused by name for whatever is not as it was released."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.bundle import release, signatures, trust
from swarm.bundle.keys import Signer
from swarm.bundle.manifest import FILE, Signing
from swarm.bundle.verify import Examined, examined, judge, verified
from swarm.errors import CorruptError, NotFoundError, OtherRunError, SwarmError, UntrustedError
from tests import bundles

FILES = ("README.md", "bundle.json", "config.json", "model.safetensors", "run.toml", "tokenizer.json", "sig", "pub")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Signer]:
    """A bundle that no test changes, and who signed it."""
    folder = tmp_path_factory.mktemp("made")
    anna = bundles.signer(folder)
    bundles.released(folder, anna)
    return folder / "bundle", anna


@pytest.fixture
def bundle(made: tuple[Path, Signer], tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made[0], tmp_path / "bundle"))


def why(bundle: Path, anna: Signer, kind: type[SwarmError] = CorruptError, **more: Any) -> str:
    """How it is refused."""
    with pytest.raises(kind) as error:
        verified(bundle, [anna.public.fingerprint], home=bundle.parent / "home", **more)
    assert error.value.remedy
    return error.value.what


def test_what_was_released_is_verified(made: tuple[Path, Signer], tmp_path: Path) -> None:
    folder, anna = made
    found = verified(folder, [anna.public.fingerprint], bundles.RUN, home=tmp_path)
    assert (found.name, found.version, found.lineage.round) == ("my-run", "1.0", 2)
    assert verified(folder, [str(anna.path.with_suffix(".pub"))], home=tmp_path) == found


def place(folder: Path, name: str) -> Path:
    return next((folder / "signatures").glob(f"*.{name}")) if name in ("sig", "pub") else folder / name


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(FILES), where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_refused_by_name(made: tuple[Path, Signer], name: str, where: float, bit: int) -> None:
    folder, anna = made
    with TemporaryDirectory() as temporary:
        copy = Path(shutil.copytree(folder, Path(temporary) / "bundle"))
        path = place(copy, name)
        data = bytearray(path.read_bytes())
        data[int(where * len(data))] ^= 1 << bit
        path.write_bytes(data)
        assert path.name in why(copy, anna)


@settings(max_examples=100, deadline=None)
@given(name=st.sampled_from(FILES), kept=st.floats(0, 1, exclude_max=True), more=st.binary(max_size=3))
def test_a_file_that_is_cut_off_or_goes_on_is_refused_by_name(
    made: tuple[Path, Signer], name: str, kept: float, more: bytes
) -> None:
    folder, anna = made
    with TemporaryDirectory() as temporary:
        copy = Path(shutil.copytree(folder, Path(temporary) / "bundle"))
        path = place(copy, name)
        data = path.read_bytes()
        path.write_bytes(data + more if more else data[: int(kept * len(data))])
        assert path.name in why(copy, anna)


@pytest.mark.parametrize("name", ["README.md", "config.json", "model.safetensors", "run.toml", "tokenizer.json"])
def test_a_missing_file_is_named(made: tuple[Path, Signer], bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    assert f"{name} is missing" in why(bundle, made[1])


def test_without_a_manifest_it_is_no_bundle(made: tuple[Path, Signer], bundle: Path) -> None:
    (bundle / FILE).unlink()
    assert "no bundle" in why(bundle, made[1], NotFoundError)


@pytest.mark.parametrize("end", ["sig", "pub"])
def test_half_a_signature_is_refused(made: tuple[Path, Signer], bundle: Path, end: str) -> None:
    place(bundle, end).unlink()
    assert "KEYID.sig and KEYID.pub" in why(bundle, made[1])


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", ".hidden", ".git/config", "adapters/x/config.json", "a b", "signatures/note.txt"]
)
def test_a_file_too_many_is_named(made: tuple[Path, Signer], bundle: Path, name: str) -> None:
    (bundle / name).parent.mkdir(parents=True, exist_ok=True)
    (bundle / name).write_text("x")
    assert name.partition("/")[0] in why(bundle, made[1])


def test_no_name_of_a_strangers_file_reaches_the_terminal_as_it_is(made: tuple[Path, Signer], bundle: Path) -> None:
    (bundle / "a\x1b[2J").symlink_to("/")
    assert why(bundle, made[1]).isprintable()


def test_links_and_special_files_are_refused(made: tuple[Path, Signer], bundle: Path) -> None:
    """Also when what they lead to is right."""
    (bundle / "config.json").rename(bundle.parent / "elsewhere.json")
    (bundle / "config.json").symlink_to(bundle.parent / "elsewhere.json")
    assert "config.json is a symbolic link" in why(bundle, made[1])
    (bundle / "config.json").unlink()
    os.mkfifo(bundle / "config.json")
    assert "config.json is neither a file nor a folder" in why(bundle, made[1])


def test_a_linked_folder_is_refused(made: tuple[Path, Signer], bundle: Path) -> None:
    (bundle / "signatures").rename(bundle.parent / "signatures")
    (bundle / "signatures").symlink_to(bundle.parent / "signatures")
    assert "signatures is a symbolic link" in why(bundle, made[1])


# ── signatures ───────────────────────────────────────────────────────────────────────────────────


def rewritten(bundle: Path, change: Any) -> None:
    """The signature's JSON, changed."""
    path = place(bundle, "sig")
    said = json.loads(path.read_text())
    path.write_text(json.dumps(change(said) or said, separators=(",", ":")))


def without_hint(said: Any) -> None:
    del said["verificationMaterial"]["publicKey"]["hint"]


def longer_base64(said: Any) -> None:
    said["dsseEnvelope"]["signatures"][0]["sig"] += "===="


def no_signatures(said: Any) -> None:
    said["dsseEnvelope"]["signatures"] = []


def two_signatures(said: Any) -> None:
    said["dsseEnvelope"]["signatures"] *= 2


def a_letter_beside_it(said: Any) -> None:
    """Nobody signs the id of the key."""
    said["dsseEnvelope"]["signatures"][0]["keyid"] = "a letter"


def a_timestamp(said: Any) -> None:
    said["verificationMaterial"]["timestampVerificationData"] = {"rfc3161Timestamps": [{"signedTimestamp": "aGVsbG8="}]}


def another_kind(said: Any) -> None:
    said["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.3"


@pytest.mark.parametrize(
    "change",
    [
        without_hint,
        longer_base64,
        no_signatures,
        two_signatures,
        a_letter_beside_it,
        a_timestamp,
        another_kind,
        lambda said: [said],
        lambda said: 7,
    ],
)
def test_a_signature_that_is_written_otherwise_is_refused(
    made: tuple[Path, Signer], bundle: Path, change: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    rewritten(bundle, change)
    assert "is no signature of this bundle" in why(bundle, made[1])
    assert not capsys.readouterr().out  # the library prints when it meets an old form


def test_the_signature_of_another_bundle_is_refused(made: tuple[Path, Signer], tmp_path: Path) -> None:
    bundles.released(tmp_path, made[1], recall="https://example.org")
    shutil.copy(place(made[0], "sig"), place(tmp_path / "bundle", "sig"))
    assert "bundle.json" in why(tmp_path / "bundle", made[1])


def test_a_signer_cannot_leave_files_out(made: tuple[Path, Signer], bundle: Path) -> None:
    """model-signing lets a signature say which files do not count; in a bundle all do."""
    from model_signing import hashing, signing

    config = signing.Config().use_elliptic_key_signer(private_key=made[1].path)
    config.set_hashing_config(hashing.Config().set_ignored_paths(paths=["signatures", "config.json"]))
    config.sign(bundle, place(bundle, "sig"))
    assert "config.json" in why(bundle, made[1])


def test_who_is_unknown_is_not_trusted(made: tuple[Path, Signer], tmp_path: Path) -> None:
    stranger = bundles.signer(tmp_path, "stranger")
    said = why(made[0], stranger, UntrustedError)
    assert made[1].public.fingerprint in said
    with pytest.raises(UntrustedError, match="nobody yet"):
        verified(made[0], home=tmp_path)


def test_a_strangers_signature_does_no_harm_and_no_good(made: tuple[Path, Signer], bundle: Path) -> None:
    stranger = bundles.signer(bundle.parent, "stranger")
    signatures.sign(bundle, stranger)
    verified(bundle, [made[1].public.fingerprint], home=bundle.parent)
    for end in ("sig", "pub"):
        (bundle / "signatures" / f"{made[1].public.fingerprint}.{end}").unlink()
    assert "none of whom is trusted" in why(bundle, made[1], UntrustedError)
    assert "0 of its 1 signers" in why(bundle, stranger, UntrustedError)


def test_without_any_signature_it_is_signed_by_nobody(made: tuple[Path, Signer], bundle: Path) -> None:
    shutil.rmtree(bundle / "signatures")
    assert "signed by nobody" in why(bundle, made[1], UntrustedError)


def test_too_few_of_its_signers_are_not_enough(tmp_path: Path) -> None:
    anna, ben, cleo = (bundles.signer(tmp_path, name) for name in ("anna", "ben", "cleo"))
    rules = bundles.spec(anna, ben, cleo, signatures=2)
    wanted = bundles.wanted(bundles.export(tmp_path / "model", rules), tmp_path / "bundle")
    release.release(wanted, [anna, ben])
    verified(tmp_path / "bundle", [anna.public.fingerprint], home=tmp_path)
    for end in ("sig", "pub"):
        (tmp_path / "bundle" / "signatures" / f"{ben.public.fingerprint}.{end}").unlink()
    assert "1 of its 3 signers signed, and 2 must" in why(tmp_path / "bundle", anna, UntrustedError)


def test_another_run_is_refused_by_name(made: tuple[Path, Signer]) -> None:
    said = why(made[0], made[1], OtherRunError, run="cd" * 16)
    assert bundles.RUN in said
    assert "cd" * 16 in said


# ── trust that is remembered ─────────────────────────────────────────────────────────────────────


def test_whom_the_user_agreed_to_is_trusted_from_then_on(made: tuple[Path, Signer], tmp_path: Path) -> None:
    found = examined(made[0])
    trust.remember(tmp_path, found.bundle, trust.proposed(found.bundle, found.signers))
    assert verified(made[0], home=tmp_path) == found.bundle


def test_a_run_cannot_ask_for_fewer_signers_later(made: tuple[Path, Signer], tmp_path: Path) -> None:
    """One of two maintainers, who makes a bundle by rules of their own, is not enough for whom knew both."""
    found, ben = examined(made[0]), bundles.signer(tmp_path, "ben")
    names = (made[1].public.fingerprint, ben.public.fingerprint)
    trust.remember(tmp_path, found.bundle, Signing(signers=names, needed=2))
    with pytest.raises(UntrustedError, match="1 of the 2 trusted signers"):
        verified(made[0], home=tmp_path)


def test_what_is_remembered_and_torn_trusts_nobody(made: tuple[Path, Signer], tmp_path: Path) -> None:
    (tmp_path / trust.FILE).write_text('{"runs": {"')
    with pytest.raises(CorruptError, match=r"signers\.json"):
        verified(made[0], home=tmp_path)


def test_who_is_forgotten_lowers_no_number(tmp_path: Path) -> None:
    a, b, c = (letter * 32 for letter in "abc")
    two_of_three, two_of_two, other = (Signing(signers=who, needed=2) for who in ((a, b, c), (a, b), (b, c)))
    left = trust.without({"one": two_of_three, "two": two_of_two, "three": other}, a)
    assert left == {"one": Signing(signers=(b, c), needed=2), "three": other}


SETS = st.sets(st.sampled_from(["a", "b", "c", "d"]).map(lambda name: name * 32))


@given(signed=SETS, trusted=SETS, listed=SETS, needed=st.integers(1, 3), wanted=st.integers(1, 3))
def test_nothing_is_accepted_that_too_few_trusted_people_signed(
    made: tuple[Path, Signer], signed: set[str], trusted: set[str], listed: set[str], needed: int, wanted: int
) -> None:
    said = examined_once(made[0]).bundle.model_copy(
        update={"signing": Signing(signers=tuple(sorted(listed)), needed=needed)}
    )
    enough = len(signed & trusted) >= wanted and (not listed or len(signed & listed) >= needed)
    try:
        judge(Examined(said, "", frozenset(signed)), trust.Trust(frozenset(trusted), wanted))
    except UntrustedError:
        assert not enough
    else:
        assert enough


_KNOWN: dict[Path, Examined] = {}


def examined_once(folder: Path) -> Examined:
    if folder not in _KNOWN:
        _KNOWN[folder] = examined(folder)
    return _KNOWN[folder]


# ── the library ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("asked for the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_signing_and_verifying_ask_nobody(no_network: None, tmp_path: Path) -> None:
    anna = bundles.signer(tmp_path)
    bundles.released(tmp_path, anna)
    assert verified(tmp_path / "bundle", [anna.public.fingerprint], home=tmp_path)


def test_model_signing_alone_verifies_the_folder(made: tuple[Path, Signer]) -> None:
    words = ["--signature", place(made[0], "sig"), "--public_key", made[1].path.with_suffix(".pub"), made[0]]
    done = subprocess.run(
        [sys.executable, "-m", "model_signing", "verify", "key", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "succeeded" in done.stdout


def test_the_library_is_loaded_only_when_it_is_needed() -> None:
    code = (
        "import sys, swarm.bundle.verify, swarm.bundle.release\n"
        "print([name for name in ('model_signing', 'license_expression', 'torch') if name in sys.modules])\n"
        "import swarm.bundle.openssf\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "False"]


def test_without_the_library_the_error_says_how_to_get_it(
    made: tuple[Path, Signer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swarm.extras.find_spec", lambda name: None)
    with pytest.raises(SwarmError) as error:
        examined(made[0])
    assert "pip install 'garage-swarm[bundle]'" in error.value.remedy
