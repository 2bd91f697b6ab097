"""What every engine must do, on the same tiny model: transformers, and llama.cpp where it is installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import pytest

from peer.serving.engine import Engine, Sampling, load
from peer.serving.llama import LlamaCpp
from peer.serving.opened import Opened, opened
from swarm.errors import UsageError
from tests.tiny_bundle import tiny_bundle, trusted


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    return opened(
        tiny_bundle(tmp_path_factory.mktemp("engines") / "bundle", chats=[("Hello", "Hello to you.")]),
        signers=(trusted(),),
    )


@pytest.fixture(scope="module", params=["transformers", "llama.cpp"])
def engine(
    request: pytest.FixtureRequest, bundle: Opened, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    if request.param == "transformers":
        made: Engine = load(bundle, "cpu")
    elif find_spec("llama_cpp") is None:
        pytest.skip("llama-cpp-python is not installed")
    else:
        from peer.gguf import Named, write

        path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
        write(bundle.folder, path, "f32", Named("tiny"))
        made = LlamaCpp.load(path, bundle.ends, 4096)
    yield made
    made.close()


def prompt(bundle: Opened) -> list[int]:
    found = bundle.tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hello"}], add_generation_prompt=True, return_dict=False
    )
    return list(found)


def drawn(engine: Engine, bundle: Opened, sampling: Sampling) -> list[int]:
    return list(engine.tokens(prompt(bundle), sampling, ""))


def test_it_goes_on_until_the_model_ends(engine: Engine, bundle: Opened) -> None:
    tokens = drawn(engine, bundle, Sampling(50, temperature=0.0))
    assert bundle.tokenizer.decode(tokens) == "Hello to you."
    assert not bundle.ends & set(tokens)


def test_it_takes_no_more_tokens_than_it_may(engine: Engine, bundle: Opened) -> None:
    assert len(drawn(engine, bundle, Sampling(2, temperature=0.0))) == 2
    assert drawn(engine, bundle, Sampling(0)) == []


def test_a_seed_draws_the_same_again(engine: Engine, bundle: Opened) -> None:
    hot = [drawn(engine, bundle, Sampling(8, 2.0, seed=seed)) for seed in (1, 1, 2)]
    assert hot[0] == hot[1] != hot[2]


def test_a_small_nucleus_is_the_likeliest_token(engine: Engine, bundle: Opened) -> None:
    assert drawn(engine, bundle, Sampling(4, 1.0, top_p=0.01)) == drawn(engine, bundle, Sampling(4, 0.0))


def test_it_can_be_left_at_any_token(engine: Engine, bundle: Opened) -> None:
    with closing(engine.tokens(prompt(bundle), Sampling(50, 0.0), "")) as tokens:
        begun = list(islice(tokens, 2))
    assert drawn(engine, bundle, Sampling(50, 0.0))[:2] == begun, "what was left leaves nothing behind"


def test_it_says_what_it_is(engine: Engine) -> None:
    assert engine.name
    assert engine.context == 2048


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "llama_cpp", None)
    with pytest.raises(UsageError, match=r"garage-swarm\[llama\]"):
        LlamaCpp.load(Path("none.gguf"), frozenset(), 9)
