"""Sentences fold between words on a terminal, and stay whole elsewhere."""

import os

import pytest

from medsweep.commands.prose import folded, say

SENTENCE = "medsweep: warning, data: 8 cases (la_003, la_004), /a/path/that/is/longer/than/the/terminal/is/wide"


@pytest.mark.parametrize("columns", [40, 80])
def test_words_are_never_cut(columns: int) -> None:
    lines = folded(SENTENCE, columns).splitlines()
    assert len(lines) > 1
    assert " ".join(lines).split() == SENTENCE.split()
    assert all(len(line) <= columns for line in lines if "/" not in line)


@pytest.mark.parametrize("err", [False, True])
def test_a_terminal_folds_and_a_pipe_does_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, err: bool
) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((40, 24)))
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True, raising=False)
    say(SENTENCE, err=err)
    assert capsys.readouterr()[err].count("\n") == 3
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: False, raising=False)
    say(SENTENCE, err=err)
    assert capsys.readouterr()[err] == f"{SENTENCE}\n"
