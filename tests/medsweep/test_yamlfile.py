"""Files that no sweep needs, each refused in one line before it costs time or memory."""

import subprocess
import sys
from pathlib import Path

import pytest

from medsweep.errors import UserError
from medsweep.yamlfile import read_yaml

ROOT = Path(__file__).parents[2]
LEVELS = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 9))
BOMB = f"l0: &l0 [x]\n{LEVELS}"
REFUSED = {
    "python tag": ("sweep: !!python/object/apply:os.system ['true']\n", ":1: the tag tag:yaml.org,2002:python/object"),
    "own tag": ("sweep: x\nfixed: !secret abc\n", ":2: the tag !secret means nothing here"),
    "flow": ("sweep: " + "[" * 3000 + "]" * 3000, ":1: nested deeper than 64 levels"),
    "maps": ("sweep: " + "{a: " * 3000 + "1" + "}" * 3000, ":1: nested deeper than 64 levels"),
    "dashes": ("sweep:\n  " + "- " * 3000 + "x\n", ":2: nested deeper than 64 levels"),
    "blocks": ("\n".join(" " * depth + "a:" for depth in range(3000)), "nested deeper than 64 levels"),
    "bomb": (BOMB, "its aliases stand for more than 100,000 values"),
    "itself": ("sweep: &a [1, *a]\n", ":1: its aliases stand for more than"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_each_is_one_line_with_its_place(tmp_path: Path, kind: str) -> None:
    text, told = REFUSED[kind]
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_yaml(path)
    assert told in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


LIMITED = """
import resource, sys
from pathlib import Path
from medsweep.errors import UserError
from medsweep.yamlfile import read_yaml
before = resource.getrusage(resource.RUSAGE_SELF)
try:
    read_yaml(Path(sys.argv[1]))
except UserError:
    after = resource.getrusage(resource.RUSAGE_SELF)
    # ru_maxrss would begin with the size of the process that started this one
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    sys.stdout.write(f"{after.ru_utime - before.ru_utime} {int(peak.split()[1]) / 1024}")
"""


@pytest.mark.parametrize("kind", ["bomb", "dashes", "blocks", "flow"])
def test_it_costs_less_than_a_second_of_cpu_and_200_mb(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(REFUSED[kind][0])
    words = [sys.executable, "-c", LIMITED, str(path)]
    told = subprocess.run(words, env={"PYTHONPATH": str(ROOT)}, check=True, capture_output=True, text=True).stdout
    seconds, mib = map(float, told.split())
    assert seconds < 2.0  # a second, and as much again for a machine that is busy
    assert mib < 200


def test_honest_anchors_merges_and_deep_enough_nesting_are_read(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    deep = "{a: " * 30 + "1" + "}" * 30
    path.write_text(f"base: &base {{x: 1, y: !!str 2}}\nother:\n  <<: *base\n  y: '[not] a [list'\ndeep: {deep}\n")
    data = read_yaml(path).data
    assert data["base"] == {"x": 1, "y": "2"}
    assert data["other"] == {"x": 1, "y": "[not] a [list"}
