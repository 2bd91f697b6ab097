"""How updates of local mode are written."""

from __future__ import annotations

import numpy as np

from peer.codecs.base import Codec, Floats, Shapes, decode, encode, payload_size
from peer.codecs.dense import Int8, Plain
from peer.codecs.sparse import Sparse
from swarm.sections import Local

__all__ = ["Codec", "Floats", "Shapes", "codec_of", "decode", "encode", "payload_size"]


def codec_of(settings: Local) -> Codec:
    """The codec that a run spec names."""
    match settings.codec:
        case "sparse":
            return Sparse(settings.kept)
        case "int8":
            return Int8()
        case "fp16":
            return Plain("<f2", np.float32)
        case "none":
            return Plain("<f8", np.float64)
