"""What comes from the model hub, which is asked for a sign of life first: its library tries for half a minute."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download

# The hub's HTTP library has changed before; its errors module imports the base error of the one in use.
from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]
from huggingface_hub.utils.tqdm import disable_progress_bars

from peer.base import adopt
from swarm.chunks import Manifest
from swarm.errors import DataError, ModelError, SwarmError
from swarm.transfer import require_space

_SECONDS = 5.0
_WANTED = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]


def require_model(name: str, revision: str, error: type[SwarmError]) -> None:
    """Raise `error` in plain words when the hub is out of reach or has no such model or revision."""
    _require("model", name, revision, error)


def require_dataset(name: str, error: type[SwarmError]) -> None:
    """Raise `error` in plain words when the hub is out of reach or has no such data set."""
    _require("dataset", name, None, error)


def snapshot(name: str, revision: str, error: type[SwarmError]) -> Path:
    """The folder with a model's weights (safetensors), configuration and tokenizer, in the hub's own cache.

    A download that was interrupted goes on. Raises `error` when the hub does not give them.
    """
    require_model(name, revision, error)
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=_WANTED))
    except (HfHubHTTPError, HTTPError, OSError) as failure:
        remedy = "Try again: it goes on where it stopped."
        raise error(f"The download of {name} from the hub stopped: {failure}.", remedy) from failure


def fetch(name: str, revision: str, files: Sequence[Manifest], cache: Path) -> None:
    """Bring a model's files from the hub to `cache`, verified; a fetch that broke off goes on where it stopped.

    Raises ModelError when the hub is out of reach, or its files are not the run's; DiskError.
    """
    require_model(name, revision, ModelError)
    try:
        _bring("model", name, revision, files, cache)
    except (HfHubHTTPError, HTTPError, OSError) as failure:
        remedy = "Try again: what has arrived is kept. Or join without --from-hub."
        raise ModelError(f"The hub did not give {name}: {failure}.", remedy) from failure
    except ModelError as other:
        remedy = "Join without --from-hub, and tell the run's maintainer."
        raise ModelError(f"What the hub gives as {name} is not the base of this run: {other.what}", remedy) from other


def fetch_shard(name: str, shard: Manifest, blobs: Path) -> None:
    """Bring one shard from a data set of the hub, where it has its own name, to `blobs`, verified.

    Raises DataError when the hub is out of reach or gives something else; DiskError.
    """
    remedy = "The swarm's own copy is used."
    require_dataset(name, DataError)
    try:
        _bring("dataset", name, None, [shard], blobs)
    except (HfHubHTTPError, HTTPError, OSError) as failure:
        raise DataError(f"The hub did not give {shard.name} of {name}: {failure}.", remedy) from failure
    except ModelError as other:
        raise DataError(f"What the hub gives as {shard.name} of {name} is not this run's.", remedy) from other


def _bring(kind: str, name: str, revision: str | None, files: Sequence[Manifest], blobs: Path) -> None:
    """Fetch next to `blobs` and move what is right there. Raises ModelError for what is not, and what the hub raises.

    What had arrived of a file is kept when the network fails.
    """
    folder = blobs.parent / "hub" / (revision or kind)
    folder.mkdir(parents=True, exist_ok=True)
    require_space(folder, sum(manifest.size for manifest in files))
    disable_progress_bars()
    for manifest in files:
        hf_hub_download(name, manifest.name, repo_type=kind, revision=revision, local_dir=folder)
    try:
        adopt(files, folder, blobs, Path.replace)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _require(kind: str, name: str, revision: str | None, error: type[SwarmError]) -> None:
    if constants.HF_HUB_OFFLINE:
        return  # only the local cache is asked then, and that answers at once
    try:
        HfApi().repo_info(name, repo_type=kind, revision=revision, timeout=_SECONDS)
    except HfHubHTTPError as refusal:
        where = f"{kind} {name}" + (f" at revision {revision}" if revision else "")
        remedy = "Check the name; for a private or gated one, log in with `hf auth login` first."
        raise error(f"The hub gives no {where} (HTTP {refusal.response.status_code}).", remedy) from refusal
    except (HTTPError, OSError) as failure:
        raise error(
            f"The hub {constants.ENDPOINT} is out of reach, so the {kind} {name} cannot be fetched: {failure}.",
            "Check the network; if it was fetched before, set HF_HUB_OFFLINE=1; or give a local path instead.",
        ) from failure
