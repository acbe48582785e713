"""medsweep works from a folder that holds packages of the user's own called as its inner ones are."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from helpers.micro import WITHOUT_GENERATORS, write_micro

ROOT = Path(__file__).parents[1]
SMALLER = (("folds: 2", "folds: 2, only: [0]"), WITHOUT_GENERATORS, ("steps: 12", "steps: 4"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's folder: a sweep, and packages whose import fails the test."""
    for name in ("analysis", "trainers", "sweeps"):
        (tmp_path / "project" / name).mkdir(parents=True)
        (tmp_path / "project" / name / "__init__.py").write_text(f"raise RuntimeError('the {name} of the user')\n")
    write_micro(tmp_path / "project", *SMALLER)
    return tmp_path / "project"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the content of the wheel, as pip would install it."""
    folder = tmp_path_factory.mktemp("wheel")
    words = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    with zipfile.ZipFile(next(folder.glob("medsweep-*.whl"))) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def medsweep(project: Path, paths: list[Path | str], *words: str) -> str:
    """What the command prints that is started in ``project`` with ``paths`` on the path."""
    path = os.pathsep.join(map(str, paths))
    code = "import sys, medsweep.__main__; print(medsweep.__file__); sys.exit(medsweep.__main__.main())"
    environment = os.environ | {"PYTHONPATH": path, "WANDB_MODE": "disabled"}
    command = [sys.executable, "-c", code, *words]
    ran = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.parametrize("runner", ["local", pytest.param("ray", marks=pytest.mark.slow)])
def test_own_packages_of_the_user_are_left_alone(project: Path, runner: str) -> None:
    shown = medsweep(project, [".", ROOT], "run", "micro.yaml", "--runner", runner, "--wandb", "disabled")
    assert str(ROOT / "medsweep") in shown
    assert "report: results/micro/report.html" in shown
    assert (project / "results" / "micro" / "results.parquet").is_file()


def test_an_installed_wheel_plans_and_runs_there(project: Path, wheel: Path) -> None:
    assert {path.name for path in wheel.iterdir() if path.suffix != ".dist-info"} == {"medsweep"}
    shown = medsweep(project, [wheel, "."], "plan", "quickstart")
    assert str(wheel / "medsweep") in shown
    assert "4 arms x 1 fold(s) x 5 seed(s)" in shown
    shown = medsweep(project, [wheel, "."], "run", "micro.yaml", "--runner", "local", "--wandb", "disabled")
    assert "report: results/micro/report.html" in shown
