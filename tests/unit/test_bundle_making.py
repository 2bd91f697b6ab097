"""The same inputs give the same bytes, and what has no place in a bundle does not get into one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.bundle import capsfile, lineage, making, record, release, signatures
from swarm.bundle.folder import kind_of
from swarm.bundle.manifest import FILE, Base, Finding, read
from swarm.bundle.verify import examined
from swarm.errors import CorruptError, NotFoundError, SpecError, UnreadyError, UsageError
from swarm.modelcard import Release
from swarm.proto import coordinator_pb2 as pb
from tests import bundles


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the signatures."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {path: data for path, data in found.items() if not path.startswith("signatures")}


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    """Whatever the files' times and rights are, and in which order a folder lists them."""
    anna = bundles.signer(tmp_path)
    bundles.released(tmp_path / "one", anna)
    model = tmp_path / "two" / "model"
    for path in sorted((tmp_path / "one" / "model").iterdir(), reverse=True):
        model.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, model / path.name)
        os.utime(model / path.name, (1, 1))
        (model / path.name).chmod(0o700)
    release.release(bundles.wanted(model, tmp_path / "two" / "other-name"), [anna])
    assert contents(tmp_path / "two" / "other-name") == contents(tmp_path / "one" / "bundle")
    one, two = tmp_path / "one" / "bundle" / "config.json", tmp_path / "two" / "other-name" / "config.json"
    assert one.stat().st_mode == two.stat().st_mode


def test_it_says_where_it_comes_from_and_names_only_who_agreed(tmp_path: Path) -> None:
    found = bundles.released(tmp_path, bundles.signer(tmp_path)).bundle
    assert found.created == "2023-11-14T22:13:20Z"
    assert (found.lineage.fingerprint, found.lineage.state, found.lineage.samples) == (bundles.RUN, bundles.STATE, 40)
    assert [(item.name, item.samples, item.rounds) for item in found.contributors] == [("Ada", 20, 2)]
    assert [(item.suite, item.metric, item.value) for item in found.evaluations] == [("heldout", "loss", 2.0)]
    assert "laptop" not in found.to_bytes().decode()
    assert found.lineage.spec == hashlib.sha256((tmp_path / "bundle" / "run.toml").read_bytes()).hexdigest()
    assert {part.path: part.kind for part in found.parts} == {
        "README.md": "card",
        "config.json": "config",
        "model.safetensors": "weights",
        "run.toml": "record",
        "tokenizer.json": "tokenizer",
    }


def test_the_card_says_caps_findings_and_how_to_verify(tmp_path: Path) -> None:
    (tmp_path / "caps.toml").write_text(CAPS)
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "clock.py").write_text("print('12:00')")
    caps, programs = capsfile.load(tmp_path / "caps.toml")
    model = bundles.export(tmp_path / "model", bundles.spec(anna := bundles.signer(tmp_path)))
    found = Finding(id="F1", title="says <b>no</b>", severity="low", state="mitigated")
    choice = making.Policy("1.0", caps, programs, (), ())
    wanted = release.wanted(making.exported(model), record.Record([], [found], True), choice, tmp_path / "bundle")
    release.release(wanted, [anna])
    card = (tmp_path / "bundle" / "README.md").read_text()
    for words in (
        "model_signing verify key",
        "advice",
        "no network",
        "16 years",
        "F1",
        r"says \<b\>no\</b\>",
        "weapons",
    ):
        assert words in card, words
    assert (tmp_path / "bundle" / "plugins" / "clock.py").read_text() == "print('12:00')"


CAPS = """
minimum_age = 16
[[plugins]]
name = "clock"
file = "plugins/clock.py"
description = "tells the time"
[[filters]]
topic = "weapons"
pattern = "bomb"
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("minimum_age = 99", "minimum_age"),
        ("sytem_prompt = ''", "sytem_prompt"),
        ("x = [", "holds no caps"),
        ("notice = 2026-01-01", "holds no caps"),
        ("[[plugins]]\nname='a'\nfile='../a.py'\ndescription=''", "plugins/NAME.py"),
        ("[[filters]]\ntopic='a'\npattern='('", "regular expression"),
    ],
)
def test_wrong_caps_are_refused_by_key(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "caps.toml").write_text(text)
    with pytest.raises(SpecError, match=words):
        capsfile.load(tmp_path / "caps.toml")


def test_a_plugin_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "caps.toml").write_text(CAPS)
    caps, programs = capsfile.load(tmp_path / "caps.toml")
    model = making.exported(bundles.export(tmp_path / "model", bundles.spec()))
    with pytest.raises(UsageError, match=r"plugins/clock\.py"):
        making.drafted(model, making.Policy("1.0", caps, programs, (), ()))


# ── what is refused ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return bundles.export(tmp_path / "model", bundles.spec())


@pytest.mark.parametrize("name", ["pytorch_model.bin", "modeling.py", "x.pkl", "signatures/a.sig", "gguf/a.txt", FILE])
def test_files_that_no_bundle_has(model: Path, name: str) -> None:
    (model / name).parent.mkdir(exist_ok=True)
    (model / name).write_text("{}")
    with pytest.raises(CorruptError) as error:
        making.exported(model)
    assert name in error.value.what


def test_links_and_special_files(model: Path) -> None:
    (model / "extra.json").symlink_to("/etc/hostname")
    with pytest.raises(CorruptError, match=r"extra\.json is a symbolic link"):
        making.exported(model)
    (model / "extra.json").unlink()
    os.mkfifo(model / "extra.json")
    with pytest.raises(CorruptError, match=r"extra\.json is neither"):
        making.exported(model)


def test_a_spec_that_was_changed_since_the_export(model: Path) -> None:
    (model / "run.toml").write_text((model / "run.toml").read_text().replace('"any"', '"low"'))
    with pytest.raises(CorruptError, match="not the run spec"):
        making.exported(model)


@pytest.mark.parametrize("name", ["run.toml", "lineage.json", "README.md", "model.safetensors"])
def test_a_folder_that_is_no_exported_model(model: Path, name: str) -> None:
    (model / name).unlink()
    with pytest.raises(NotFoundError, match=name[-9:]):
        making.exported(model)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("adapters/law/adapter_model.safetensors", "weights"),
        ("adapters/law/adapter_config.json", "config"),
        ("model.safetensors.index.json", "config"),
        ("gguf/q8.gguf", "gguf"),
        ("Modelfile", "config"),
        ("plugins/clock.py", "plugin"),
        ("plugins/deep/clock.py", None),
        ("model.py", None),
        ("LICENSE", "record"),
        ("garage-swarm.json", "record"),
    ],
)
def test_each_file_is_of_a_kind(path: str, kind: str | None) -> None:
    assert kind_of(path) == kind


# ── drafts ───────────────────────────────────────────────────────────────────────────────────────


def test_a_draft_waits_for_the_others_signatures(tmp_path: Path) -> None:
    anna, ben = bundles.signer(tmp_path, "anna"), bundles.signer(tmp_path, "ben")
    model = bundles.export(tmp_path / "model", bundles.spec(anna, ben, signatures=2))
    wanted = bundles.wanted(model, tmp_path / "bundle")
    with pytest.raises(UnreadyError, match="1 of 2 signatures"):
        release.release(wanted, [anna])
    assert not (tmp_path / "bundle").exists()
    assert examined(wanted.draft).signers == {anna.public.fingerprint}
    signatures.sign(wanted.draft, ben)
    assert release.lacking(wanted, []) == []
    assert release.release(wanted, []).signers == {anna.public.fingerprint, ben.public.fingerprint}
    assert not wanted.draft.exists()
    with pytest.raises(UsageError, match="there already"):
        release.release(wanted, [anna, ben])


def test_signatures_of_another_draft_do_not_count(tmp_path: Path) -> None:
    anna, ben = bundles.signer(tmp_path, "anna"), bundles.signer(tmp_path, "ben")
    model = bundles.export(tmp_path / "model", bundles.spec(anna, ben, signatures=2))
    with pytest.raises(UnreadyError):
        release.release(bundles.wanted(model, tmp_path / "bundle"), [anna])
    (model / "config.json").write_text('{"model_type": "other"}')
    with pytest.raises(UnreadyError):
        release.release(wanted := bundles.wanted(model, tmp_path / "bundle"), [ben])
    assert examined(wanted.draft).signers == {ben.public.fingerprint}


def test_a_torn_draft_is_made_anew(tmp_path: Path) -> None:
    anna = bundles.signer(tmp_path)
    wanted = bundles.wanted(bundles.export(tmp_path / "model", bundles.spec(anna)), tmp_path / "bundle")
    wanted.draft.mkdir()
    (wanted.draft / "config.json").write_text("half of")
    release.release(wanted, [anna])
    assert read(tmp_path / "bundle").version == "1.0"


def test_without_what_the_gate_wants_there_is_not_even_a_draft(tmp_path: Path) -> None:
    anna = bundles.signer(tmp_path)
    rules = bundles.spec(anna, evaluations=["heldout:loss <= 1"])
    wanted = bundles.wanted(bundles.export(tmp_path / "model", rules), tmp_path / "bundle")
    with pytest.raises(UnreadyError, match="heldout:loss is 2 by one member's word"):
        release.release(wanted, [anna])
    assert not wanted.draft.exists()


# ── lineage ──────────────────────────────────────────────────────────────────────────────────────


def entry(start: int, stop: int, round_: int = 0, member: str = "m", state: str = "counted") -> pb.LedgerEntry:
    return pb.LedgerEntry(range=pb.Range(start=start, stop=stop), state=state, round=round_, member_id=member)


def test_the_ledger_root_is_a_merkle_tree_of_rfc_6962() -> None:
    leaf = [hashlib.sha256(b"\0" + line).digest() for line in (b"0 m 0 5", b"0 n 5 9", b"1 m 9 12")]
    pair = hashlib.sha256(b"\1" + leaf[0] + leaf[1]).digest()
    entries = [entry(9, 12, 1), entry(0, 5), entry(5, 9, 0, "n"), entry(50, 60, 1, "n", "expired")]
    assert lineage.lines(entries) == ["0 m 0 5", "0 n 5 9", "1 m 9 12"]
    assert lineage.root(entries) == hashlib.sha256(b"\1" + pair + leaf[2]).hexdigest()
    assert lineage.root([]) == hashlib.sha256(b"").hexdigest()


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.randoms())
def test_the_root_does_not_depend_on_leases_or_their_order(sizes: list[int], random: Any) -> None:
    stops = [sum(sizes[: n + 1]) for n in range(len(sizes))]
    parts = [entry(stop - size, stop) for size, stop in zip(sizes, stops, strict=True)]
    random.shuffle(parts)
    assert lineage.root(parts) == lineage.root([entry(0, stops[-1])])


@given(st.integers(0, 3), st.integers(0, 1), st.sampled_from(["n", "m"]))
def test_the_root_depends_on_everything_else(start: int, round_: int, member: str) -> None:
    changed = (start, round_, member) != (0, 0, "m")
    assert (lineage.root([entry(start, 4, round_, member)]) != lineage.root([entry(0, 4)])) == changed


def test_the_base_is_named_by_its_weights_or_by_the_state_that_training_began_with() -> None:
    named, first = {"source": "org/base", "revision": "ab" * 20}, pb.Checkpoint(digest="dd" * 32)
    run = pb.Run(name="my-run", base=[pb.Blob(name="b", sha256="22" * 32), pb.Blob(name="a", sha256="11" * 32)])

    def base(**model: str) -> Base | None:
        made = bundles.spec(base_license="MIT")
        of = made.model_copy(update={"model": made.model.model_copy(update=model)})
        exported = Release(of, run, pb.Status(), pb.Checkpoint(digest=bundles.STATE), merged=False)
        return lineage.origin(exported, bundles.RUN, [], first).lineage.base

    adapters, whole = base(method="lora", **named), base(**named)
    assert base() is None  # a preset
    assert adapters is not None
    assert whole is not None
    assert adapters.sha256 == hashlib.sha256(f"{'11' * 32}\n{'22' * 32}\n".encode()).hexdigest()
    assert (whole.sha256, whole.source, whole.license) == ("dd" * 32, "org/base", "MIT")


@pytest.mark.parametrize(
    "said",
    [{"digest": "no digest"}, {"created_at": 1e300}, {"created_at": float("nan")}, {"metrics": {"bleu": float("inf")}}],
)
def test_what_a_coordinator_cannot_mean_is_refused(said: dict[str, Any]) -> None:
    kept = pb.Checkpoint(**{"digest": bundles.STATE} | said)
    exported = Release(bundles.spec(), pb.Run(name="my-run"), pb.Status(), kept, merged=False)
    with pytest.raises(CorruptError, match="makes no sense"):
        lineage.origin(exported, bundles.RUN, [], None)


# ── the record ───────────────────────────────────────────────────────────────────────────────────


def test_no_record_is_not_an_empty_one(tmp_path: Path) -> None:
    assert record.read(tmp_path, "s") == record.Record([], [], False)
    (tmp_path / record.FINDINGS).write_text("\n")
    assert record.read(tmp_path, "s") == record.Record([], [], True)


def test_what_is_about_another_checkpoint_is_left_out(tmp_path: Path) -> None:
    figure = {"suite": "arc", "metric": "acc", "value": 0.5, "samples": 3}
    lines = [figure, figure | {"state_digest": "s"}, figure | {"state_digest": "other"}]
    (tmp_path / record.EVALUATIONS).write_text("\n".join(map(json.dumps, lines)))
    found = record.read(tmp_path, "s").evaluations
    assert found is not None
    assert len(found) == 2


@pytest.mark.parametrize("line", ["{", "7", "[]", '{"suite": "arc"}', '{"suite": 1}', "null"])
def test_a_line_that_is_none_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / record.EVALUATIONS).write_text(f"\n{line}\n")
    with pytest.raises(CorruptError, match="Line 2 of "):
        record.read(tmp_path, "s")
