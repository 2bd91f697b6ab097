"""A bundle as a model's repository on the Hugging Face Hub: the bundle's files and no others, in one commit."""

from __future__ import annotations

import re
from pathlib import Path

from swarm.bundle.push import Cargo
from swarm.errors import RefusedError, SwarmError, UnreachableError, UsageError

SCHEME = "hf:"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


def repository(target: str) -> str:
    """ORG/NAME of hf:ORG/NAME. Raises UsageError."""
    name = target.removeprefix(SCHEME)
    if not _NAME.fullmatch(name):
        raise UsageError(f"{target!r} names no repository of the hub.", "Write hf:ORG/NAME.")
    return name


def upload(folder: Path, cargo: Cargo, name: str, private: bool) -> str:
    """Make the repository where there is none, and let its newest commit be the bundle: that commit's address.

    What the hub has already is not sent again; who looks meanwhile sees the commit before. Raises UnreachableError,
    RefusedError, SwarmError.
    """
    from huggingface_hub import HfApi

    # The hub's HTTP library has changed before; its errors module imports the base error of the one in use.
    from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]

    hub = HfApi()
    message = f"{cargo.bundle.name} {cargo.bundle.version}"
    files = [file.path for file in cargo.files]
    try:
        hub.create_repo(name, private=private or None, exist_ok=True)
        done = hub.upload_folder(
            repo_id=name, folder_path=folder, commit_message=message, allow_patterns=files, delete_patterns="*"
        )
    except HfHubHTTPError as refusal:
        raise _refused(name, refusal.response.status_code, str(refusal.server_message or "")) from refusal
    except (HTTPError, OSError) as failure:
        raise UnreachableError(
            f"The hub did not take {name}: {failure}.",
            "Check the network and run it again; what arrived is kept there.",
        ) from failure
    return str(done.commit_url)


def _refused(name: str, status: int, said: str) -> SwarmError:
    words = f"HTTP {status} {''.join(filter(str.isprintable, said))[:300]}".strip()
    if status in (401, 403):
        remedy = "Log in with `hf auth login`, with a token that may write there."
        return RefusedError(f"The hub does not let us write {name}: {words}.", remedy)
    return SwarmError(f"The hub did not take {name}: {words}.", "Try again; if it stays so, see status.huggingface.co.")
