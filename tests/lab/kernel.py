"""What the lab asks of the kernel: commands, namespaces that carry their owner's pid, and their end."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

_COMMAND_SECONDS = 20.0
_DEATH_SECONDS = 5.0
_NAME = re.compile(r"lab-(\d+)-\d+-.+")


class LabError(Exception):
    """A command of the lab's failed; says which, and what it said."""


def run(*command: str, feed: str = "") -> str:
    """The command's output. Raises LabError when it fails or takes too long."""
    try:
        done = subprocess.run(command, input=feed, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=True)
    except subprocess.CalledProcessError as error:
        raise LabError(f"{' '.join(command)}: {error.stderr.strip()}") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(command)}: no end after {_COMMAND_SECONDS:g} s") from error
    return done.stdout


def ip(namespace: str, *lines: str) -> None:
    """Lines of `ip -batch` in one namespace; "" is this process's own."""
    where = ["-n", namespace] if namespace else []
    run("ip", *where, "-batch", "-", feed="\n".join(lines))


def shown(namespace: str, *query: str) -> Any:
    """What `ip -json` answers."""
    return json.loads(run("ip", "-n", namespace, "-json", *query) or "[]")


def inside(namespace: str, *command: str) -> list[str]:
    """The command line that runs `command` in a namespace, as the same process."""
    return ["ip", "netns", "exec", namespace, *command]


def missing() -> str:
    """Why the lab cannot be built here, or nothing."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "the lab needs root on Linux, for network namespaces"
    if absent := [name for name in ("ip", "tc", "nft") if shutil.which(name) is None]:
        return f"the lab needs {', '.join(absent)}: install iproute2 and nftables"
    if not Path("/dev/net/tun").exists():
        return "the lab needs /dev/net/tun"
    try:
        add(probe := f"lab-{os.getpid()}-0-probe")
        remove(probe)
    except LabError as error:
        return f"network namespaces cannot be made here ({error})"
    return ""


def add(namespace: str) -> None:
    """Make a namespace with a loopback, without IPv6 and without a memory of earlier connections."""
    run("ip", "netns", "add", namespace)
    ip(namespace, "link set lo up")
    settings = "net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 net.ipv4.tcp_no_metrics_save=1"
    for setting in settings.split():
        set_(namespace, setting)


def set_(namespace: str, setting: str) -> None:
    """A line of sysctl, for one namespace."""
    name, value = setting.split("=")
    run(*inside(namespace, "sh", "-c", f"echo {value} > /proc/sys/{name.replace('.', '/')}"))


def namespaces() -> list[str]:
    """Those of all labs on this machine, also of dead ones."""
    return [line.split()[0] for line in run("ip", "netns", "list").splitlines() if _NAME.fullmatch(line.split()[0])]


def processes(namespace: str) -> list[int]:
    """Who runs in it."""
    return [int(pid) for pid in run("ip", "netns", "pids", namespace).split()]


def remove(namespace: str) -> None:
    """End what runs in it, and it; its interfaces go with it, and with them the other ends of its veth pairs."""
    end = time.monotonic() + _DEATH_SECONDS
    while (left := processes(namespace)) and time.monotonic() < end:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    run("ip", "netns", "delete", namespace)


def reap() -> None:
    """Remove the labs of processes that are no more."""
    for namespace in namespaces():
        owner = _NAME.fullmatch(namespace)
        if owner and not psutil.pid_exists(int(owner[1])):
            with suppress(LabError):  # another lab may be reaping at the same time
                remove(namespace)
