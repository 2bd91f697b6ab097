"""Nothing that comes from strangers is executed: no pickle and its like, no code of model repositories, no eval.

Two looks: at every line of the three packages, and at what all decoders of network bytes call while they run.
"""

from __future__ import annotations

import ast
import builtins
import io
import marshal
import pickle
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from coordinator import backup
from coordinator.blobs import Blobs
from peer.held import Part
from swarm.chunks import Manifest
from swarm.errors import CorruptError, InviteError, SpecError, UsageError
from swarm.invite import Invite
from swarm.proto import coordinator_pb2 as pb
from swarm.runspec import example, loads
from tests.fuzz.decoders import table
from tests.fuzz.run import fuzz

ROOT = Path(__file__).parents[2]
FILES = [path for package in ("swarm", "peer", "coordinator") for path in sorted((ROOT / package).rglob("*.py"))]

_MODULES = {
    "pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "runpy", "code",
    "codeop", "zipfile", "imp", "torch.package", "torch.hub", "torch.jit", "numpy.lib.format",
}  # fmt: skip
_BUILTINS = {"eval", "exec", "compile", "__import__", "execfile"}
_CALLS = {
    "torch.load", "torch.jit.load", "torch.hub.load", "np.load", "numpy.load", "np.fromregex", "os.system", "os.popen",
    "shutil.unpack_archive", "subprocess.getoutput", "subprocess.getstatusoutput",
}  # fmt: skip
_METHODS = {"extractall", "load_state_dict_from_url", "read_pickle"}
_IMPORTS_BY_NAME = {
    "swarm/__init__.py": "from a table of its own names",
    "peer/measuring.py": "what is installed on this machine offers it as a metric; the run spec only chooses",
}
_OWN_ADAPTER = {
    ("peer/export.py", "PeftModel"),  # reads what the lines before it wrote, as safetensors
    ("peer/serving/transformers_engine.py", "PeftModel"),  # reads what peer/serving/plain.py let through
    ("peer/modelfolder.py", "PeftModel"),  # the line before it wants safetensors
}


@cache
def trees() -> dict[str, ast.Module]:
    """Each file's syntax; read by the first test that looks, not by whoever collects tests."""
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in FILES}


def calls() -> Iterator[tuple[str, ast.Call]]:
    for file, tree in trees().items():
        yield from ((file, node) for node in ast.walk(tree) if isinstance(node, ast.Call))


def where(file: str, node: ast.AST) -> str:
    return f"{file}:{getattr(node, 'lineno', 0)}"


def test_no_module_that_executes_what_it_reads_is_imported() -> None:
    found = []
    for file, tree in trees().items():
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            found += [f"{where(file, node)} {name}" for name in names if name in _MODULES]
    assert not found


def test_no_function_that_executes_what_it_reads_is_called() -> None:
    found = []
    for file, node in calls():
        name = ast.unparse(node.func)
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if name in _BUILTINS | _CALLS or method in _METHODS:
            found.append(f"{where(file, node)} {name}")
    assert not found


def test_no_shell_reads_a_command() -> None:
    found = [where(file, node) for file, node in calls() for word in node.keywords if word.arg == "shell"]
    assert not found


def test_modules_are_imported_by_name_only_where_that_name_is_ours() -> None:
    names = ("import_module", "entry_points", "spec_from_file_location", "resolve_name")
    found = {file for file, node in calls() if ast.unparse(node.func).rpartition(".")[2] in names}
    assert found == set(_IMPORTS_BY_NAME)


@cache
def _loaders(file: str) -> set[str]:
    """Other names of from_pretrained and from_config."""
    return {
        target.id
        for node in ast.walk(trees()[file])
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Attribute)
        and node.value.attr in ("from_pretrained", "from_config")
        for target in node.targets
        if isinstance(target, ast.Name)
    }  # fmt: skip


def loads_of_transformers() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(place, class, the keywords that are constants) of each call that reads a model's folder."""
    for file, node in calls():
        name = ast.unparse(node.func)
        owner, _, method = name.rpartition(".")
        if method in ("from_pretrained", "from_config") or name in _loaders(file):
            words = {word.arg or "": getattr(word.value, "value", None) for word in node.keywords}
            if (file, owner) not in _OWN_ADAPTER:
                yield where(file, node), owner, words


def test_code_of_model_repositories_is_off_at_every_call() -> None:
    """Said each time: the library's default could change."""
    found = list(loads_of_transformers())
    assert len(found) > 8
    assert not [place for place, _, words in found if words.get("trust_remote_code") is not False]


def test_weights_are_read_as_safetensors_only() -> None:
    """transformers would take pytorch_model.bin, a pickle, where it finds nothing else."""
    weights = [
        (file, node)
        for file, node in calls()
        for owner in [ast.unparse(node.func)]
        if "ModelFor" in owner and owner.endswith("from_pretrained")
    ]
    assert weights
    for file, node in weights:
        words = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
        assert words.get("use_safetensors") is True, where(file, node)
    assert "use_safetensors=True" in (ROOT / "peer" / "export.py").read_text()


# ── while it runs ───────────────────────────────────────────────────────────────────────────────


def test_no_decoder_executes_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """hivemind's serializers and protocols are among them."""
    rows = table().values()
    for row in rows:
        fuzz(row, 0.01, seed=3)
    touched: list[str] = []

    def trap(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def sprung(*given: Any, **more: Any) -> Any:
            caller = sys._getframe(1)
            if caller.f_globals["__name__"].startswith("importlib."):
                return real(*given, **more)  # a module of this machine that is imported when it is first needed
            touched.append(f"{name} by {caller.f_code.co_filename}:{caller.f_lineno}")
            raise AssertionError(touched[-1])

        return sprung

    with monkeypatch.context() as patch:
        for module, names in ((pickle, ("loads", "load", "Unpickler")), (marshal, ("loads", "load"))):
            for name in names:
                patch.setattr(module, name, trap(f"{module.__name__}.{name}", getattr(module, name)))
        patch.setattr(builtins, "eval", trap("eval", eval))
        patch.setattr(builtins, "exec", trap("exec", exec))
        crashes = {row.name: found.crashes for row in rows if (found := fuzz(row, 0.03, seed=4)).crashes}
    assert not touched
    assert not crashes


def test_a_pickle_is_no_message_of_any_decoder(capsys: pytest.CaptureFixture[str]) -> None:
    data = pickle.dumps(_Evil())
    for row in table().values():
        with suppress(*row.errors):
            row.take(data)
    assert "executed" not in capsys.readouterr().out
    pickle.loads(data)
    assert "executed" in capsys.readouterr().out


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("executed",)


# ── names that become paths ─────────────────────────────────────────────────────────────────────

NAMES = (
    "../x", "../../../../tmp/x", "/tmp/x", "a/../../x", "..", ".", "", "a\0b", "x" * 5000, "con", "nul.json", "~/x",
    "a\\..\\x", "\u202e", "é" * 200, "./x", "a/b", "$HOME", "`id`", "%2e%2e%2fx",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_from_the_network_is_no_path(name: str, tmp_path: Path) -> None:
    """Blobs and uploads, files in chunks, the run's and the invite's names."""
    (tmp_path / "blobs").mkdir()
    with pytest.raises(UsageError):
        Blobs(tmp_path / "blobs").receive(name, 3, 0, [b"abc"], "anna")
    with pytest.raises(CorruptError):
        Part(Manifest.of(pb.Blob(name="x", sha256=name, size=3)), tmp_path / "blobs").open()
    if name != "con":  # a name like others, but to Windows
        with pytest.raises(InviteError):
            Invite.parse(f"swarm://h:1/{name}?fp={'0' * 32}&token=t&x=/")
    assert [path.name for path in tmp_path.rglob("*")] == ["blobs"]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("con",)])
def test_a_runs_name_is_no_path(name: str) -> None:
    text = example().to_toml().replace('"my-run"', _quoted(name), 1)
    with pytest.raises(SpecError):
        loads(text)


def _quoted(name: str) -> str:
    return '"' + "".join(f"\\u{ord(letter):04x}" for letter in name) + '"'


@pytest.mark.parametrize("name", ["../x", "/tmp/fuzz-x", "a/../../x", "..", "./../x"])
def test_a_backup_that_was_built_to_deceive_writes_nothing_outside(name: str, tmp_path: Path) -> None:
    path = tmp_path / "backup.tar"
    note = b'{"format": "garage-swarm-backup-1", "run": "r", "round": 1, "made_at": 1.0, "files": {}}'
    with tarfile.open(path, "w") as tar:
        for member, data in ((backup.NOTE, note), (name, b"evil")):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    with pytest.raises(CorruptError, match="lies outside of it"):
        backup.restore(path, tmp_path / "deep" / "run")
    assert not (tmp_path / "x").exists()
    assert not Path("/tmp/fuzz-x").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_a_backup_restores_plain_files_only(kind: bytes, tmp_path: Path) -> None:
    path = tmp_path / "backup.tar"
    with tarfile.open(path, "w") as tar:
        note = b'{"format": "garage-swarm-backup-1", "run": "r", "round": 1, "made_at": 1.0, "files": {}}'
        info = tarfile.TarInfo(backup.NOTE)
        info.size = len(note)
        tar.addfile(info, io.BytesIO(note))
        link = tarfile.TarInfo("run.toml")
        link.type, link.linkname = kind, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(CorruptError):
        backup.restore(path, tmp_path / "run")
    assert not (tmp_path / "run").exists()


_NO_FILES = '{"format": "garage-swarm-backup-1", "run": "r", "round": 1, "made_at": 1, "files": []}'


@pytest.mark.parametrize("text", ["[" * 5000, _NO_FILES])
def test_a_backup_whose_note_is_none_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / backup.NOTE).write_text(text)
    with pytest.raises(CorruptError):
        backup.restore(tmp_path / "backup", tmp_path / "run")
