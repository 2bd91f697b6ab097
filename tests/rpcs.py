"""What nodes can be asked: every rpc_* method of every servicer."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import peer.exchange
from peer.exchange.butterfly import ExactAllReduce

from hivemind.p2p import ServicerBase  # isort: skip - after peer.exchange

_NOT_SERVED = {ExactAllReduce}  # `Servicer` hands its calls on


def handlers_of(servicer: type[Any]) -> set[str]:
    """As hivemind finds them."""
    servicer._collect_rpc_handlers()
    return {f"{servicer.__name__}.{found.method_name}" for found in servicer._rpc_handlers}


def handlers_of_ours() -> set[str]:
    """Those of all servicers in our modules."""
    for module in pkgutil.iter_modules(peer.exchange.__path__, "peer.exchange."):
        importlib.import_module(module.name)
    ours = [found for found in _below(ServicerBase) if found.__module__.startswith("peer.")]
    return {name for found in ours if found not in _NOT_SERVED for name in handlers_of(found)}


def _below(kind: type[Any]) -> Iterator[type[Any]]:
    for found in kind.__subclasses__():
        yield found
        yield from _below(found)
