"""Plugins that try to get out: each is a real program in the real sandbox."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from peer.serving import sandbox
from peer.serving.plugins import Plugins, Result, granted, sandbox_for
from peer.serving.sandbox import Grant, Unconfined
from swarm.bundle.caps import Plugin
from swarm.errors import RefusedError, UsageError

NOTHING = Grant()
pytestmark = [pytest.mark.processes]

_TRY = """
import json, sys
said = json.load(sys.stdin)
def attempt():
{body}
try:
    print(json.dumps(["done", attempt()]))
except BaseException as error:
    print(json.dumps(["failed", type(error).__name__]))
"""
needs_bwrap = pytest.mark.skipif(sandbox.found()[0] is None, reason=sandbox.found()[1])


def call(body: str, grant: Grant = NOTHING, unsandboxed: bool = False, **rights: object) -> Result:
    """What a plugin answers whose work is `body`."""
    plugin = Plugin(name="it", file="plugins/it.py", description="", parameters={"x": ""}, **rights)  # type: ignore[arg-type]
    program = _TRY.format(body="".join(f"    {line}\n" for line in body.strip().splitlines()))
    known = {"it": plugin}
    plugins = Plugins(known, {"it": program.encode()}, {"it": grant}, sandbox_for(known, unsandboxed))
    return plugins.call("it", {"x": "1"})


@needs_bwrap
def test_it_answers() -> None:
    assert call("return said['arguments']") == Result('["done", {"x": "1"}]', True)


@needs_bwrap
@pytest.mark.parametrize(
    "body",
    [
        "return open('/etc/passwd').read()",
        "return open('/proc/1/environ').read()",
        "import os\nreturn os.listdir('/home')",
        "import os\nreturn os.listdir('/tmp')",
        "import os\nreturn os.listdir('/dev')",
        "import os\nos.symlink('/etc/passwd', '/link')\nreturn open('/link').read()",
        "open('/plugin.py', 'w')",
        "open('/written', 'w')",
        "import os\nos.mkdir('/usr/folder')",
        "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_STREAM)",
        "import socket\nsocket.socket(socket.AF_INET6, socket.SOCK_DGRAM)",
        "import socket\nsocket.socket(socket.AF_UNIX).connect('\\0abstract')",
        "import socket\nsocket.socketpair()",
        "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "number = 206 if os.uname().machine == 'x86_64' else 0\n"
        "if libc.syscall(number, 1000, ctypes.byref(ctypes.c_ulong(0))) != 0: raise OSError",  # io_setup
        "import socket\nsocket.socket(40, socket.SOCK_STREAM)",  # vsock, of which there are no namespaces
        "import os\nos.fork()",
        "import os\nos.posix_spawn('/plugin.py', ['x'], {})",
        "import threading\nthreading.Thread(target=print).start()",
        "import os\nos.memfd_create('x')",
        "import os\nos.kill(1, 9) or os.kill(1, 0) or os.kill(3, 9)",
        "import ctypes\nif ctypes.CDLL(None, use_errno=True).ptrace(16, 1, 0, 0) < 0: raise OSError",
        "import ctypes\nif ctypes.CDLL(None).unshare(0x10000000) < 0: raise OSError",
        "import ctypes\nif ctypes.CDLL(None).mount(b'x', b'/', b'tmpfs', 0, None) < 0: raise OSError",
        "return bytearray(1 << 30)",
    ],
)
def test_it_gets_nowhere(body: str) -> None:
    said = json.loads(call(body).text)
    assert said[0] == "failed"
    assert said[1] in (
        "FileNotFoundError",
        "PermissionError",
        "OSError",
        "RuntimeError",
        "MemoryError",
        "ProcessLookupError",
    )


@needs_bwrap
def test_it_sees_nothing_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_MINE", "x")
    said = call("import os\nreturn [sorted(os.environ), os.getuid(), os.getpid(), sorted(os.listdir('/'))]").text
    _, (environment, user, pid, files) = json.loads(said)
    assert not {"SECRET_OF_MINE", "HOME", "USER", "PATH"} & set(environment)
    assert (user, pid < 10) == (65534, True)
    assert not {"etc", "home", "proc", "dev", "tmp", "var"} & set(files)


@needs_bwrap
@pytest.mark.parametrize(
    "body", ["while True: pass", "import time\ntime.sleep(99)", "import os\nos.close(1)\nwhile 1: pass"]
)
def test_it_is_ended(body: str) -> None:
    began = time.monotonic()
    assert call(body, seconds=0.5) == Result("The tool gave no answer: it took longer than 0.5 s.", False)
    assert time.monotonic() - began < 5


@needs_bwrap
@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("while True: print('x' * 1000)", "printed more"),
        ("print('not JSON')", "not JSON"),
        ("import os\nos._exit(3)", "code 3"),
    ],
)
def test_what_it_prints_is_bounded(body: str, why: str) -> None:
    result = call(body)
    assert not result.ok
    assert why in result.text
    assert len(result.text) < 200


@pytest.fixture
def listener() -> Iterator[int]:
    """A port of this machine on which connections are taken."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@needs_bwrap
def test_the_network_only_when_it_was_granted(listener: int) -> None:
    body = f"import socket\nsocket.create_connection(('127.0.0.1', {listener}), 2).close()\nreturn 1"
    assert "failed" in call(body, network=True).text, "declared, but not granted"
    assert call(body, Grant(network=True), network=True).text == '["done", 1]'
    local = "import socket\nsocket.socket(socket.AF_UNIX)"
    assert "failed" in call(local, Grant(network=True), network=True).text, "other programs' local sockets stay shut"


@needs_bwrap
def test_folders_only_as_they_were_granted(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("hello")
    (tmp_path / "way-out").symlink_to("/etc/passwd")
    reads = Grant(read=(tmp_path,))
    assert call("return open(said['read'][0] + '/note').read()", reads).text == '["done", "hello"]'
    assert "failed" in call("return open(said['read'][0] + '/way-out').read()", reads).text
    assert "failed" in call("open(said['read'][0] + '/new', 'w')", reads).text
    assert "done" in call("open(said['write'][0] + '/new', 'w').write('x')", Grant(write=(tmp_path,))).text
    assert (tmp_path / "new").read_text() == "x"
    too_large = "f = open(said['write'][0] + '/big', 'wb')\nf.truncate(1 << 30)"
    assert "failed" in call(too_large, Grant(write=(tmp_path,))).text


@needs_bwrap
def test_nothing_of_it_lives_on() -> None:
    before = {process.pid for process in psutil.process_iter()}
    call("import os\nos.setsid() if os.getpid() != os.getsid(0) else 0\nimport time\ntime.sleep(60)", seconds=0.5)
    time.sleep(0.2)
    new = [process for process in psutil.process_iter(["name", "status"]) if process.pid not in before]
    assert [process for process in new if process.info["name"] == "bwrap" and _is_ours(process)] == []


def _is_ours(process: psutil.Process) -> bool:
    """Whether it lives, and neither it nor what it comes from is another test's, which may run beside this one."""
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    try:
        return process.info["status"] != psutil.STATUS_ZOMBIE and ours.issuperset(one.pid for one in process.parents())
    except psutil.NoSuchProcess:
        return False


def test_without_a_sandbox_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = Plugin(name="it", file="plugins/it.py", description="")
    monkeypatch.setenv("PATH", "/nowhere")
    sandbox.found.cache_clear()
    try:
        with pytest.raises(RefusedError, match="bwrap"):
            sandbox_for({"it": plugin}, False)
        assert sandbox_for({}, False) == Unconfined(), "nothing to keep in"
    finally:
        sandbox.found.cache_clear()


def test_unsandboxed_it_still_has_limits() -> None:
    assert call("return said['arguments']", unsandboxed=True).ok
    assert "MemoryError" in call("return bytearray(1 << 30)", unsandboxed=True).text
    assert "took longer" in call("while True: pass", unsandboxed=True, seconds=0.5).text
    assert "printed more" in call("while True: print('x' * 1000)", unsandboxed=True).text


def test_only_declared_rights_can_be_granted(tmp_path: Path) -> None:
    plugin = Plugin(name="it", file="plugins/it.py", description="", network=True, read=("notes",))
    known = {"it": plugin}
    assert granted(["it:network", f"it:read={tmp_path}"], known) == {"it": Grant(True, (tmp_path,))}
    for said in (
        "it:write=/tmp",
        "it:read",
        "other:network",
        "it:network=/tmp",
        "it:file=/tmp",
        "it:read=/nowhere",
        "it",
    ):
        with pytest.raises(UsageError, match="--allow"):
            granted([said], known)


def test_what_the_model_says_wrongly_is_told_it() -> None:
    plugin = Plugin(name="it", file="plugins/it.py", description="", parameters={"x": "a number"})
    plugins = Plugins({"it": plugin}, {}, {}, Unconfined())
    for name, arguments in (("other", {}), ("it", []), ("it", {"y": 1}), ("it", "x")):
        assert plugins.call(name, arguments) == Result("There is no such call; there are: it(x: a number).", False)
    assert plugins.call("it", {"x": "long" * 9999}) == Result("The arguments are too long.", False)
