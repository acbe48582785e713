"""What is made once for all tests of the report."""

import pytest

from helpers.made_report import eight_arm_report
from helpers.sketches import sketch_pictures


@pytest.fixture(scope="session")
def eight_arms_made(tmp_path_factory):
    """(analysis, path of its page), with Markdown and LaTeX beside it."""
    return eight_arm_report(tmp_path_factory.mktemp("report"))


@pytest.fixture
def sketched(monkeypatch):
    """Reports whose pictures are laid out and not drawn."""
    sketch_pictures(monkeypatch)
