"""Where plugins run: bubblewrap (https://github.com/containers/bubblewrap), in new namespaces, with Python's own files
and nothing else of this machine.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

_PROGRAM = "/plugin.py"
_PROBE_SECONDS = 10.0
_LIBRARIES = ("/lib64", "/usr/lib64")  # and those of the machine's own architecture
_NAMES = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/ssl", "/etc/pki", "/etc/ca-certificates")


@dataclass(frozen=True)
class Grant:
    """Rights of one plugin that the user agreed to."""

    network: bool = False
    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()


class Sandbox(Protocol):
    """How a program of a bundle is started."""

    def command(self, program: int, rules: int, grant: Grant) -> list[str]:
        """`program` and `rules` are open files: Python source, and a filter of system calls, or -1 without one."""

    def folders(self, grant: Grant) -> dict[str, list[str]]:
        """Under which names the program finds what was granted."""


@dataclass(frozen=True)
class Bubblewrap:
    """`path` is bwrap's."""

    path: str

    def command(self, program: int, rules: int, grant: Grant) -> list[str]:
        """No privileges, no /proc, no /dev, no writable place; all ends with whoever started it."""
        names = ("user", "ipc", "pid", "uts", "cgroup-try", *(() if grant.network else ("net",)))
        return [
            self.path,
            *(f"--unshare-{name}" for name in names),
            *[
                "--die-with-parent",
                "--new-session",
                "--cap-drop",
                "ALL",
                "--uid",
                "65534",
                "--gid",
                "65534",
                "--clearenv",
            ],
            *(part for path in python_files() for part in ("--ro-bind", path, path)),
            *(part for path in _NAMES * grant.network for part in ("--ro-bind-try", path, path)),
            *_bound("--ro-bind", "/read", grant.read),
            *_bound("--bind", "/write", grant.write),
            *("--perms", "0444", "--ro-bind-data", str(program), _PROGRAM, "--remount-ro", "/", "--chdir", "/"),
            *(("--seccomp", str(rules)) if rules >= 0 else ()),
            *("--", *python(_PROGRAM)),
        ]

    def folders(self, grant: Grant) -> dict[str, list[str]]:
        """See `Sandbox`."""
        return {
            "read": [f"/read/{at}" for at in range(len(grant.read))],
            "write": [f"/write/{at}" for at in range(len(grant.write))],
        }


@dataclass(frozen=True)
class Unconfined:
    """For users who say so: only limits of time, memory and output are left."""

    def command(self, program: int, rules: int, grant: Grant) -> list[str]:
        """See `Sandbox`."""
        return python(f"/dev/fd/{program}")

    def folders(self, grant: Grant) -> dict[str, list[str]]:
        """See `Sandbox`."""
        return {"read": [str(path) for path in grant.read], "write": [str(path) for path in grant.write]}


@cache
def found() -> tuple[Sandbox | None, str]:
    """What this machine has, once it was seen to work; without one the reason."""
    path = shutil.which("bwrap")
    if path is None:
        return None, "bubblewrap (bwrap) is not installed"
    with Path("/dev/null").open("rb") as nothing:
        command = Bubblewrap(path).command(nothing.fileno(), -1, Grant())
        done = _tried(command, nothing.fileno())
    return (Bubblewrap(path), "") if not done else (None, f"bubblewrap does not work here: {done}")


def python(program: str) -> list[str]:
    """The interpreter below any virtual environment, with its standard library alone."""
    return [_interpreter(), "-I", "-S", "-B", "-X", "utf8", program]


@cache
def python_files() -> tuple[str, ...]:
    """What Python needs to run: itself, its standard library, the system's shared libraries."""
    named = (_interpreter(), sysconfig.get_path("stdlib"), str(_own_library() or ""))
    multiarch = sysconfig.get_config_var("MULTIARCH") or ""
    shared = [*_LIBRARIES, *(f"{root}/{multiarch}" for root in ("/lib", "/usr/lib") if multiarch)]
    return tuple(dict.fromkeys(path for path in (*named, *shared) if path and Path(path).exists()))


def _interpreter() -> str:
    return str(Path(getattr(sys, "_base_executable", sys.executable)).resolve())


def _own_library() -> Path | None:
    """libpython, where the interpreter is not all in one file."""
    name, folder = sysconfig.get_config_var("INSTSONAME"), sysconfig.get_config_var("LIBDIR")
    return Path(folder, name) if name and folder and name.endswith((".so.1.0", ".so")) else None


def _bound(how: str, below: str, folders: Sequence[Path]) -> list[str]:
    return [part for at, folder in enumerate(folders) for part in (how, str(folder), f"{below}/{at}")]


def _tried(command: Sequence[str], *files: int) -> str:
    """Why it failed; empty when it did not."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PROBE_SECONDS, pass_fds=files, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    said = done.stderr.decode(errors="replace").strip()
    return "" if done.returncode == 0 else said.partition("\n")[0] or f"exit code {done.returncode}"
