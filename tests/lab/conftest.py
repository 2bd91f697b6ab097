"""The lab's tests run where a lab can be built, and say elsewhere why not."""

from __future__ import annotations

import pytest

from tests.lab import kernel


@pytest.fixture(scope="session")
def why_not() -> str:
    return kernel.missing()


@pytest.fixture(autouse=True)
def needs_a_lab(why_not: str) -> None:
    if why_not:
        pytest.skip(why_not)
