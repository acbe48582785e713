"""The image of the pods is built from committed lines, with the versions that everything here is tested with."""

import re
import shlex
import subprocess
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
KNOWN = {"FROM", "RUN", "ENV", "WORKDIR", "COPY", "USER", "CMD"}


def instructions() -> list[tuple[str, str]]:
    """Name and rest of each instruction, with continued lines joined and comments left out."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in joined.splitlines() if line.strip()]


def given(name: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.lower().replace("_", "-").split("==") for line in lines if not line.startswith("#"))


def test_every_line_is_one_that_a_builder_and_a_shell_read() -> None:
    assert {name for name, _ in instructions()} == KNOWN
    for script in given("RUN"):
        subprocess.run(["sh", "-n", "-c", script], check=True)
    for words in given("ENV"):
        assert all(re.fullmatch(r"[A-Z_]+=\S+", word) for word in shlex.split(words))


def test_only_files_of_the_project_are_copied_and_sent() -> None:
    sources = [source for words in given("COPY") for source in words.split()[:-1]]
    assert [source for source in sources if not (ROOT / source).exists()] == []
    rules = (ROOT / "docker" / "Dockerfile.dockerignore").read_text().split()
    assert rules[rules.index("*") :][: len(sources) + 1] == ["*", *(f"!{source}" for source in sources)]
    links = [path for path in (ROOT / "medsweep").iterdir() if path.is_symlink()]
    assert {str(path.resolve().relative_to(ROOT)) for path in links} <= set(sources)


def test_what_is_installed_has_the_versions_of_the_tests() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (image,) = given("FROM")
    python = re.fullmatch(r"python:(\d+\.\d+)-slim-bookworm", image)
    assert python is not None
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(r"PYTHON \?= python(\S+)", makefile)[1] == python[1]  # type: ignore[index]
    (pip,) = [shlex.split(script) for script in given("RUN") if "pip" in script]
    assert pip[:-1] == ["pip", "install", "--no-cache-dir", "--constraint", "constraints.txt"]
    extras = {name: project["optional-dependencies"][name] for name in pip[-1][2:-1].split(",")}
    pins, extra = pinned(), extras["cluster"]
    for text in [*project["dependencies"], *(text for texts in extras.values() for text in texts)]:
        asked = Requirement(text)
        assert asked.specifier.contains(pins[asked.name.lower()]), text
    assert "default" in Requirement(extra[0]).extras, "KubeRay submits through the dashboard"
    for name in ("aiohttp", "aiohttp-cors", "opencensus", "virtualenv", "py-spy"):
        assert name in pins, "a part of ray[default]"


def test_the_page_and_the_file_name_the_same_command() -> None:
    page = (ROOT / "docs" / "how-to" / "clusters.md").read_text()
    command = next(line[2:].strip() for line in DOCKERFILE.read_text().splitlines() if "docker build" in line)
    assert command in page
