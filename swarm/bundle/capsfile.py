"""Caps as people write them: a TOML file, and beside it the programs of its plugins."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from pydantic import ValidationError

from swarm.bundle.caps import Caps
from swarm.errors import SpecError


def load(path: Path) -> tuple[Caps, dict[str, Path]]:
    """The caps, and each plugin's program by its path in the bundle. Raises SpecError that lists what is wrong."""
    try:
        raw = json.dumps(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SpecError(f"The caps {path} cannot be read: {error.strerror}.", "Check the path.") from error
    except (ValueError, TypeError, RecursionError) as error:  # TypeError: TOML knows dates, and caps have none
        raise SpecError(f"{path} holds no caps: {error}.", _REMEDY) from error
    try:
        caps = Caps.model_validate_json(raw)
    except ValidationError as error:
        wrongs = [f"  {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise SpecError("\n".join([f"{path} holds no caps:", *wrongs]), _REMEDY) from None
    return caps, {plugin.file: path.parent / plugin.file for plugin in caps.plugins}


_REMEDY = "docs/bundle.md explains every key."
