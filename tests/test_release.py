"""One version everywhere, and forms that GitHub can read."""

import tomllib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import medsweep

ROOT = Path(__file__).parents[1]
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")


def test_the_version_is_the_same_everywhere() -> None:
    cited = YAML(typ="safe").load(ROOT / "CITATION.cff")
    built = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert cited["version"] == built["version"] == medsweep.__version__
    assert cited["license"] == built["license"]
    assert cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "date-released"} <= set(cited)


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_has_what_github_asks_for(form: Path) -> None:
    read = YAML(typ="safe").load(form)
    assert {"name", "description", "body"} <= set(read)
    ids = [element["id"] for element in read["body"]]
    assert len(set(ids)) == len(ids)
    for element in read["body"]:
        assert element["type"] in ("input", "textarea", "checkboxes", "dropdown", "markdown")
        assert element["attributes"]["label"]


def test_there_are_forms() -> None:
    assert [form.stem for form in FORMS] == ["bug", "idea"]
