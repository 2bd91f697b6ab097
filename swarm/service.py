"""Files with which an operating system starts a join when the user logs in: systemd, launchd, Windows' task scheduler.

Pure text. The invite is not in them, because other users may read such files: they name a file that holds it.
"""

from __future__ import annotations

import plistlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from swarm.errors import LASTING

_TASK = "http://schemas.microsoft.com/windows/2004/02/mit/task"


@dataclass(frozen=True)
class Service:
    """What is started: `command` is the whole join, `environment` what it needs beside the user's own."""

    run: str
    command: Sequence[str]
    environment: Mapping[str, str]

    @property
    def label(self) -> str:
        """Its name for the system."""
        return f"garage-swarm-{self.run}"


def systemd(service: Service) -> str:
    """A user unit. It ends as Ctrl-C does, is started again after a failure, and yields to everything else."""
    environment = "".join(
        f"Environment={_quoted(f'{key}={value}')}\n" for key, value in sorted(service.environment.items())
    )
    return (
        "[Unit]\n"
        f"Description=Garage Swarm: {service.run}\n"
        "StartLimitIntervalSec=0\n"  # however long the network is away at login
        "\n"
        "[Service]\n"
        f"ExecStart={' '.join(map(_quoted, service.command))}\n"
        f"{environment}"
        "KillSignal=SIGINT\n"
        "KillMode=mixed\n"
        "TimeoutStopSec=30\n"
        "Restart=on-failure\n"
        "RestartSec=60\n"
        f"RestartPreventExitStatus={' '.join(str(error.exit_code) for error in LASTING)}\n"
        "Nice=10\n"
        "\n"
        "[Install]\n"
        "WantedBy=default.target\n"
    )


def launchd(service: Service) -> bytes:
    """A launch agent for macOS."""
    return plistlib.dumps(
        {
            "Label": service.label,
            "ProgramArguments": list(service.command),
            "EnvironmentVariables": dict(service.environment),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": 60,
            "Nice": 10,
            "ProcessType": "Background",
        }
    )


def windows(service: Service, distribution: str = "") -> bytes:
    """A task for Windows' scheduler, which starts the join inside WSL2: hivemind does not run on Windows itself."""
    settings = [f"{key}={value}" for key, value in sorted(service.environment.items())]
    inside = shlex.join(["env", *settings, *service.command] if settings else list(service.command))
    where = f"--distribution {distribution} " if distribution else ""
    ElementTree.register_namespace("", _TASK)
    task = ElementTree.Element(f"{{{_TASK}}}Task", version="1.4")
    _add(task, "RegistrationInfo", Description=f"Garage Swarm: {service.run}")
    triggers = _add(task, "Triggers")
    _add(triggers, "LogonTrigger", Enabled="true")
    _add(task, "Settings", MultipleInstancesPolicy="IgnoreNew", DisallowStartIfOnBatteries="false",
         StopIfGoingOnBatteries="false", ExecutionTimeLimit="PT0S", Priority="7")  # fmt: skip
    actions = _add(task, "Actions")
    _add(actions, "Exec", Command="wsl.exe", Arguments=f"{where}--exec sh -c {shlex.quote(inside)}")
    written: bytes = ElementTree.tostring(task, encoding="utf-16", xml_declaration=True)
    return written


def _add(parent: ElementTree.Element, name: str, **texts: str) -> ElementTree.Element:
    made = ElementTree.SubElement(parent, f"{{{_TASK}}}{name}")
    for key, text in texts.items():
        ElementTree.SubElement(made, f"{{{_TASK}}}{key}").text = text
    return made


def _quoted(word: str) -> str:
    """As systemd reads it: % and $ mean something there."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'
