"""No test of a recipe fetches anything."""

import pytest
from fake_apt import FakeApt, install_fake_apt


@pytest.fixture(autouse=True)
def apt(monkeypatch) -> FakeApt:
    return install_fake_apt(monkeypatch)
