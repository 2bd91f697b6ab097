"""How updates of local mode are written."""

from __future__ import annotations

import numpy as np

from peer.codecs.base import Codec, Floats, Shapes, decode, encode, payload_size
from peer.codecs.dense import Int8, Plain
from peer.codecs.selection import largest_on, largest_on_host
from peer.codecs.sparse import Sparse
from swarm.sections import Local

__all__ = ["Codec", "Floats", "Shapes", "codec_of", "decode", "encode", "payload_size"]


def codec_of(settings: Local, device: str = "cpu") -> Codec:
    """The codec that a run spec names, for a model on `device`, as torch names it: what costs most is done there."""
    match settings.codec:
        case "sparse":
            return Sparse(settings.kept, largest_on(device) if device.startswith("cuda") else largest_on_host)
        case "int8":
            return Int8()
        case "fp16":
            return Plain("<f2", np.float32)
        case "none":
            return Plain("<f8", np.float64)
