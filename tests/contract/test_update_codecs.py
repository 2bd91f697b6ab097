"""Every codec of local mode against `peer.codecs.base.Codec`, and what each promises of its own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peer.codecs import Codec, Floats, codec_of, decode, encode, payload_size
from peer.codecs.selection import BLOCK, largest_on, largest_on_host
from peer.codecs.sparse import Sparse
from swarm.errors import CorruptError
from swarm.sections import Local

CODECS = {
    **{name: codec_of(Local(codec=name)) for name in ("sparse", "int8", "fp16", "none")},  # type: ignore[arg-type]
    "sparse, all kept": Sparse(BLOCK),
    "sparse, one kept": Sparse(1),
    "sparse, chosen by torch": Sparse(64, largest_on("cpu")),
}
SHAPES = {"matrix": (70, 130), "vector": (5,), "block": (64, 64), "one": (1,)}

every_codec = pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS.keys())


def values(codec: Codec, count: int, seed: int, scale: float = 1e-3) -> Floats:
    drawn = np.random.default_rng(seed).standard_normal(count) * scale
    return drawn.astype(codec.dtype)


def update(codec: Codec) -> dict[str, Floats]:
    return {name: values(codec, int(np.prod(shape)), 1).reshape(shape) for name, shape in SHAPES.items()}


@every_codec
@given(count=st.integers(1, 3 * BLOCK), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_the_size_is_known_before_and_what_is_decoded_is_encoded_to_itself(codec: Codec, count: int, seed: int) -> None:
    data = codec.encode(values(codec, count, seed))
    assert len(data) == codec.size(count)
    once = codec.decode(memoryview(data), count)
    assert once.shape == (count,)
    assert once.dtype == codec.dtype
    twice = codec.decode(memoryview(codec.encode(once)), count)
    assert np.allclose(once, twice, rtol=1e-2, atol=0)


@every_codec
def test_a_payload_is_the_tensors_in_the_order_of_their_names(codec: Codec) -> None:
    wanted = update(codec)
    payload = encode(codec, wanted)
    assert len(payload) == payload_size(codec, SHAPES)
    found = dict(decode(codec, payload, SHAPES))
    assert list(found) == sorted(SHAPES)
    for name, got in found.items():
        alone = codec.decode(memoryview(codec.encode(wanted[name].reshape(-1))), wanted[name].size)
        assert np.array_equal(got, alone.reshape(SHAPES[name]))


@every_codec
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_found_by_the_receiver(codec: Codec, wrong: float) -> None:
    bad = update(codec)
    bad["matrix"][3, 4] = wrong
    with pytest.raises(CorruptError, match="not finite"):
        dict(decode(codec, encode(codec, bad), SHAPES))


@every_codec
def test_a_payload_of_another_size_is_refused(codec: Codec) -> None:
    payload = encode(codec, update(codec))
    for other in (payload[:-1], payload + b"\0", b""):
        with pytest.raises(CorruptError, match="bytes instead of"):
            list(decode(codec, other, SHAPES))


@every_codec
@given(junk=st.binary(min_size=64, max_size=64))
@settings(max_examples=30, deadline=None)
def test_any_bytes_give_finite_values_or_an_error(codec: Codec, junk: bytes) -> None:
    payload = (junk * (payload_size(codec, SHAPES) // 64 + 1))[: payload_size(codec, SHAPES)]
    try:
        found = dict(decode(codec, payload, SHAPES))
    except CorruptError:
        return
    assert all(np.isfinite(tensor).all() for tensor in found.values())


def test_sparse_keeps_the_largest_of_each_block_with_their_signs() -> None:
    codec, given_ = Sparse(64), values(CODECS["sparse"], 2 * BLOCK, 3)
    found = codec.decode(memoryview(codec.encode(given_)), 2 * BLOCK)
    for block, got in zip(given_.reshape(2, BLOCK), found.reshape(2, BLOCK), strict=True):
        kept = np.flatnonzero(got)
        assert len(kept) == 64
        assert np.abs(block[kept]).min() >= np.sort(np.abs(block))[-64] * (1 - 2**-11)
        assert np.array_equal(np.sign(got[kept]), np.sign(block[kept]))
        assert len(np.unique(np.abs(got[kept]))) == 2


def test_sparse_costs_what_the_design_says() -> None:
    assert Sparse(64).size(10_000_000) / 10_000_000 == pytest.approx(0.0283, abs=1e-4)


def test_int8_is_within_half_a_step() -> None:
    codec, given_ = CODECS["int8"], values(CODECS["int8"], BLOCK, 4)
    found = codec.decode(memoryview(codec.encode(given_)), BLOCK)
    assert np.abs(found - given_).max() <= np.abs(given_).max() / 127 / 2 * 1.001


def test_none_changes_no_bit() -> None:
    codec, given_ = CODECS["none"], values(CODECS["none"], 1000, 5)
    assert np.array_equal(codec.decode(memoryview(codec.encode(given_)), 1000), given_)


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e30])
def test_small_and_large_updates_survive(scale: float) -> None:
    for name in ("sparse", "int8", "none"):
        given_ = values(CODECS[name], BLOCK, 6, scale)
        found = CODECS[name].decode(memoryview(CODECS[name].encode(given_)), BLOCK)
        assert np.abs(found).max() == pytest.approx(np.abs(given_).max(), rel=0.5)


@given(rows=st.integers(1, 3), kept=st.integers(1, 200), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_torch_chooses_the_same_values_as_numpy(rows: int, kept: int, seed: int) -> None:
    blocks = values(CODECS["sparse"], rows * BLOCK, seed).reshape(rows, BLOCK)
    chosen = [np.sort(way(blocks, kept), axis=1) for way in (largest_on_host, largest_on("cpu"))]
    assert np.array_equal(*chosen)
