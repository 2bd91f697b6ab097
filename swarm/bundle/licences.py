"""Whether a model may have its licence, by those of its base and its data: by one small table, and no legal advice.

The table knows four families. Permissive: whatever licence the model has. Share-alike: the model must have the same
one, or one into which the licence itself lets its works pass. Non-commercial: the model must be non-commercial, too.
No derivatives: never. Whether weights are a work derived from data at all is disputed; the strict answer is taken.
What the table does not know, people must examine; `release.cleared` says that they did.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache
from typing import Any

from swarm.extras import require

_PERMISSIVE = {
    "0BSD", "Apache-2.0", "Artistic-2.0", "BlueOak-1.0.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0",
    "CC-BY-2.0", "CC-BY-3.0", "CC-BY-4.0", "CC0-1.0", "CDLA-Permissive-1.0", "CDLA-Permissive-2.0",
    "ISC", "MIT", "MIT-0", "ODC-By-1.0", "OGL-UK-3.0", "PDDL-1.0", "PSF-2.0", "Python-2.0", "Unlicense",
    "W3C", "WTFPL", "X11", "Zlib", "etalab-2.0",
}  # fmt: skip
_SHARE_ALIKE: dict[str, frozenset[str]] = {  # and into which other licences they let works pass
    "CC-BY-SA-3.0": frozenset({"CC-BY-SA-4.0"}),
    "CC-BY-SA-4.0": frozenset({"GPL-3.0-only", "GPL-3.0-or-later"}),
    "ODbL-1.0": frozenset(),
    "CDLA-Sharing-1.0": frozenset(),
    "MPL-2.0": frozenset(
        {"GPL-2.0-or-later", "GPL-3.0-only", "GPL-3.0-or-later", "AGPL-3.0-only", "AGPL-3.0-or-later"}
    ),
    "EUPL-1.2": frozenset({"GPL-2.0-only", "GPL-3.0-only", "AGPL-3.0-only", "CC-BY-SA-3.0", "MPL-2.0"}),
    "LGPL-2.1-only": frozenset({"GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0-only", "GPL-3.0-or-later"}),
    "LGPL-3.0-only": frozenset({"GPL-3.0-only", "GPL-3.0-or-later"}),
    "LGPL-3.0-or-later": frozenset({"LGPL-3.0-only", "GPL-3.0-only", "GPL-3.0-or-later"}),
    "GPL-2.0-only": frozenset(),
    "GPL-2.0-or-later": frozenset({"GPL-2.0-only", "GPL-3.0-only", "GPL-3.0-or-later"}),
    "GPL-3.0-only": frozenset({"AGPL-3.0-only"}),
    "GPL-3.0-or-later": frozenset({"GPL-3.0-only", "AGPL-3.0-only", "AGPL-3.0-or-later"}),
    "AGPL-3.0-only": frozenset(),
    "AGPL-3.0-or-later": frozenset({"AGPL-3.0-only"}),
}
_NOT_COMMERCIAL = tuple(f"CC-BY-NC-{version}" for version in ("2.0", "3.0", "4.0"))
_NOT_COMMERCIAL_ALIKE = tuple(f"CC-BY-NC-SA-{version}" for version in ("2.0", "3.0", "4.0"))
_NO_DERIVATIVES = ("CC-BY-ND-", "CC-BY-NC-ND-")


def wrong(expression: str) -> str:
    """What is wrong with an SPDX licence expression; empty when nothing is. Raises UsageError without `release`."""
    try:
        parsed = _parsed(expression)
    except ValueError as error:
        return str(error)
    unknown = [str(symbol) for symbol in parsed.symbols if not _is_known(symbol)]
    return f"SPDX knows no licence {', '.join(unknown)}; own ones are called LicenseRef-NAME" if unknown else ""


def objection(source: str, model: str, cleared: Collection[str] = ()) -> str:
    """Why a model made from something under `source` may not be under `model`, both sound SPDX expressions; empty when
    the table says that it may. Raises UsageError without `release`.
    """
    target = _parsed(model)
    return _through(_parsed(source), lambda key: _of_one(key, target, cleared), either=True)


def _of_one(source: str, model: Any, cleared: Collection[str]) -> str:
    """Who offers a choice of licences must be allowed to offer each; of several at once, one must fit."""
    if source in cleared:
        return ""
    return _through(model, lambda key: _between(source, key), either=False)


def _between(source: str, model: str) -> str:
    if source in _PERMISSIVE:
        return ""
    if source.startswith(_NO_DERIVATIVES):
        return f"{source} allows no derived works"
    if source in _NOT_COMMERCIAL:
        fits = model.startswith("CC-BY-NC-") and not model.startswith(_NO_DERIVATIVES)
        return "" if fits else f"{source} allows no commercial use, which {model} does"
    if source in _SHARE_ALIKE or source in _NOT_COMMERCIAL_ALIKE:
        fits = model == source or model in _SHARE_ALIKE.get(source, ())
        return "" if fits else f"{source} wants works made from it under the same licence, and {model} is another one"
    return f"{source} is not in the table of licences"


def _through(parsed: Any, of_one: Callable[[str], str], either: bool) -> str:
    """`of_one` for each licence of an expression. `either`: of A OR B one is enough, and of A AND B both count; else it
    is the other way round, as for a licence that is given and not taken.
    """
    if not hasattr(parsed, "args") or not parsed.args:
        return of_one(_key(parsed))
    found = [_through(part, of_one, either) for part in parsed.args]
    enough = type(parsed).__name__ == ("OR" if either else "AND")
    wrongs = [why for why in found if why]
    return "" if enough and len(wrongs) < len(found) else "; ".join(dict.fromkeys(wrongs))


def _key(symbol: Any) -> str:
    """An exception (WITH …) only allows more: the licence counts."""
    return str(getattr(symbol, "license_symbol", symbol).key)


def _parsed(expression: str) -> Any:
    """Raises ValueError when it is none."""
    require("release", "Checking licences", "license_expression")
    from boolean.boolean import ParseError
    from license_expression import ExpressionError

    try:
        parsed = _licensing().parse(expression)
    except (ExpressionError, ParseError, AttributeError, TypeError) as error:
        raise ValueError(f"it is no SPDX expression: {error}") from error
    if parsed is None:
        raise ValueError("there is none")
    return parsed


def _is_known(symbol: Any) -> bool:
    parts = (symbol.license_symbol, symbol.exception_symbol) if hasattr(symbol, "license_symbol") else (symbol,)
    known = _licensing().known_symbols
    return all(part.key.startswith("LicenseRef-") or part.key in known for part in parts)


@cache
def _licensing() -> Any:
    """The list of SPDX, which the library brings with it."""
    from license_expression import get_spdx_licensing

    return get_spdx_licensing()
