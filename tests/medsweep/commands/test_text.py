"""Names are other people's text, and terminals are not all UTF-8: neither ends or garbles a run."""

import codecs
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.commanding import Medsweep
from helpers.micro import FACTORS, write_micro
from medsweep.terminal import plain

ROOT = Path(__file__).parents[3]
NAMES = ("[red]large[/red]", "[/b] half", "tail [2]", ":smile: größer")
ARMS = "arms:\n" + "".join(
    f'  "{name}": {{synthesise.count: {count}}}\n' for count, name in zip((4, 5, 6, 7), NAMES, strict=True)
)


def test_square_brackets_in_arm_names_are_shown_as_they_are(tmp_path: Path, medsweep: Medsweep) -> None:
    sweep = write_micro(tmp_path, (FACTORS, ARMS))
    planned = medsweep("plan", sweep, "--store", "store", "--all")
    assert planned.exit_code == 0, planned.output
    for name in NAMES:
        assert name in planned.output


@pytest.mark.parametrize("locale", ["ascii", pytest.param("latin-1", marks=pytest.mark.slow)])
def test_a_run_ends_well_where_the_terminal_knows_few_signs(copy: Path, locale: str) -> None:
    arms = zip((NAMES[0], NAMES[3]), ("b-sg", "mc-sg"), strict=True)
    text = "".join(f'  "{name}": {{gan.pipeline: {pipeline}, synthesise.count: 4}}\n' for name, pipeline in arms)
    write_micro(copy, (FACTORS, f"arms:\n{text}"))
    known = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"} if locale == "ascii" else {}
    ran = subprocess.run(
        [sys.executable, "-m", "medsweep", "run", "micro.yaml", "--runner", "local", "--wandb", "disabled"],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": locale} | known,
        check=False,
        capture_output=True,
    )
    told, errors = ran.stdout.decode(locale), ran.stderr.decode(locale)
    assert ran.returncode == 0, errors
    assert "report: " in told
    assert "Traceback" not in errors


def test_signs_that_an_encoding_lacks_have_a_plain_form() -> None:
    codecs.register_error("plain-in-test", plain)
    text = "\N{MINUS SIGN}0.03 \N{PLUS-MINUS SIGN} 0.01, caf\N{LATIN SMALL LETTER E WITH ACUTE} \N{SNOWMAN} \udcff"
    assert text.encode("ascii", "plain-in-test") == b"-0.03 +- 0.01, cafe ? ?"
