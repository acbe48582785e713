"""The report: self-contained, in order, made of the records' own words, and every number leads to its trials."""

import base64
import hashlib
import html
import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from helpers.made_report import LEGEND, context
from helpers.simulated_results import CONTROL, NO_POOLS, arm, simulate
from medsweep.analysis.report.page import write_report
from medsweep.analysis.study.analyse import analyse
from medsweep.analysis.table.reduction import AnalysisRules


@pytest.fixture(scope="module")
def made(eight_arms_made):
    analysis, path = eight_arms_made
    return analysis, path, path.read_text(encoding="utf-8")


def without_data(page: str) -> str:
    return re.sub(r"data:[a-z/+-]+;base64,[^\"]*", "data:", page)


def visible(page: str) -> str:
    text = re.sub(r"<(script|style)>.*?</\1>", "", without_data(page), flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]*>", "", text)).replace("\N{NO-BREAK SPACE}", " ")


class Outline(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.images: list[dict] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "a":
            self.links.append(found["href"])
        if tag == "img":
            self.images.append(found)


def test_nothing_points_outwards(made):
    page = made[2]
    targets = re.findall(r"(?:src|href)\s*=\s*[\"']([^\"']*)", page) + re.findall(r"url\(([^)]*)\)", page)
    assert len(targets) > 100
    assert {target[0] for target in targets} == {"#", "d"}
    assert all(
        target.startswith(("#", "data:image/", "data:text/csv", "data:application/x-tex", "data:,"))
        for target in targets
    )
    assert "@import" not in page


def test_the_policy_knows_the_one_script_by_its_hash(made):
    page = made[2]
    (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert html.unescape(policy) == (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'"
    )
    assert not re.search(r"\son[a-z]+=", without_data(page))


def test_every_link_inside_has_its_target_and_no_name_is_taken_twice(made):
    outline = Outline(made[2])
    assert len(set(outline.ids)) == len(outline.ids)
    targets = {link[1:] for link in outline.links if link.startswith("#")}
    assert targets <= set(outline.ids)
    assert {f"trials-{number}" for number in range(1, 9)} <= targets


def test_every_verdict_is_told_in_full(made):
    analysis, _, page = made
    text = visible(page)
    assert analysis.headline in text
    for answer in analysis.answers:
        assert answer.lead in text
        assert answer.short in text
        assert answer.detail in text
    assert analysis.scope in text
    assert "One data set." in text
    for phrase in ("trend towards", "no effect", "p = .000", "p = 0.", "nan", "None", "np."):
        assert phrase not in text


def test_the_parts_come_in_the_order_in_which_a_reviewer_asks(made):
    page = made[2]
    marks = ["<h1>counts", 'class="question"', 'class="headline"', 'class="meta"', "The control, real only, reaches"]
    marks += ['class="verdicts"', 'id="figure-forest"', 'id="table-by-class"', 'id="figure-classes"']
    marks += ['id="table-failures"', 'id="table-lost-trials"', 'id="figure-grid-1"', 'id="table-worst"']
    marks += ['id="table-needed"', 'id="figure-scores"', 'id="table-describe-dice"']
    marks += ['id="table-effects"', 'id="figure-paired"', 'id="table-robust"', 'id="table-null"']
    marks += ['id="figure-dose"', 'id="table-shapes"', 'id="table-trends"']
    marks += ['id="figure-runs"', 'id="table-runs"', 'id="table-components"', 'id="table-cohort"']
    marks += [
        'id="figure-factors"',
        'id="table-factors"',
        'id="table-omnibus"',
        'id="figure-ranks"',
        'id="table-ranks"',
    ]
    marks += ['id="table-nemenyi"', 'id="figure-pairwise"', 'id="table-pairs"', 'id="figure-rankmap"']
    marks += ['id="table-stability"', 'id="table-explore-hd95_mm"', 'id="table-pools-fidelity"']
    marks += ['id="table-power"', 'id="table-exclusions"', 'id="table-causes"', 'id="table-arms"', 'id="table-plan"']
    marks += ['id="methods"', 'id="references"', 'id="reproduction"', "medsweep run sweeps/counts.yaml", 'id="trials"']
    places = [page.index(mark) for mark in marks]
    assert places == sorted(places)


def test_an_arm_leads_to_its_trials_and_their_commands(made):
    analysis, _, page = made
    first = next(one for one in analysis.trials if one.arm == "b-sg, 16 patients")
    place = [one.name for one in analysis.arms].index(first.arm) + 1
    assert f'<a href="#trials-{place}">b-sg, 16 patients</a>' in page
    block = page[page.index(f'id="trials-{place}"') :]
    block = block[: block.index("</details>")]
    assert block.count("<code>score-") == 4 * 2
    assert f"<code>score-{first.digest[:16]}</code>" in block
    assert html.escape(f"medsweep show {first.digest[:16]} --store 'my store'", quote=False) in block.replace(
        "&#39;", "'"
    )


def test_what_the_user_wrote_is_text_not_markup(made):
    page = made[2]
    assert "Does &lt;b&gt;more&lt;/b&gt; help &amp; why?" in page
    assert "out of &lt;memory&gt;" in page


def test_every_picture_is_told_in_words_that_are_not_its_caption(made):
    images = Outline(made[2]).images
    assert len(images) == 12
    for image in images:
        assert image["alt"]
    alts = {image["alt"] for image in images}
    assert len(alts) == len(images)
    forest = next(alt for alt in alts if alt.startswith("Forest plot"))
    assert "mc-sg, 16 patients +0.027, inconclusive" in forest


def test_pictures_name_their_intervals(made):
    text = visible(made[2])
    # in the primary picture and its kin, the interval of the verdicts; elsewhere it is said whose it is
    assert text.count("95% CI for all arms at once") >= 3
    for stem in ("forest", "classes", "dose"):
        caption = made[2][made[2].index(f'id="figure-{stem}"') :].partition("</figure>")[0]
        assert "CI for all arms at once" in visible(caption)
    assert "mean with the 95% CI over patients" in text


def test_pairs_have_a_legend_of_classes(made):
    figure = made[2][made[2].index('id="figure-grid-1"') :].partition("</figure>")[0]
    for name, colour in LEGEND:
        assert f'<i style="background: {colour}"></i>{name}' in figure


def test_rules_and_flow_of_n_are_declared(made):
    text = visible(made[2])
    assert "12 patients in the results → 11 (1 left out: a score is missing in some arm) → n = 11 in every arm" in text
    tables = {path.stem: path for path in (made[1].parent / "tables").iterdir()}
    causes = pd.read_csv(tables["causes"], index_col="status")
    assert list(causes.index) == ["ok", "empty-both", "empty-reference", "missed", "diverged", "absent", "no row"]
    assert causes["scores"].tolist() == [376, 0, 0, 4, 0, 4, 0]
    assert (causes["rule"] != "").all()
    omnibus = pd.read_csv(tables["omnibus"], index_col="test")
    assert omnibus["n"].tolist() == [11, 11, 11]


def test_numbers_lie_beside_the_page(made):
    analysis, path, _ = made
    stored = json.loads((path.parent / "analysis.json").read_text(encoding="utf-8"))
    assert stored == json.loads(analysis.to_json())
    names = {file.name for file in (path.parent / "tables").iterdir()}
    assert {"effects.csv", "runs.csv", "trends.csv", "exclusions.csv", "arms.csv", "explore-hd95_mm.csv"} <= names
    assert (path.parent / "figures" / "forest.csv").stat().st_size > 0


def test_filters_are_told_of_arms_that_dropped_something_and_exposure_of_all(sketched, tmp_path):
    arms = [arm(CONTROL, 0), arm("x", 8), arm("x, filtered", 8)]
    told = {
        CONTROL: {"retention": 1.0, "real_slices_seen": 80.0},
        "x": {"retention": 1.0, "real_slices_seen": 40.0},
        "x, filtered": {"retention": 0.25, "kept_vendi": 3.5, "random_vendi": 7.0, "real_slices_seen": 40.0},
    }
    rows = [(name, 0, 0, name, metric, value) for name, found in told.items() for metric, value in found.items()]
    pools = pd.DataFrame(rows, columns=NO_POOLS.columns)
    analysis = analyse(simulate(arms, {}, patients=4, seeds=1), pools, AnalysisRules(), arms=arms)
    write_report(tmp_path, analysis, context(tmp_path, grids=()))
    filters = (tmp_path / "tables" / "filters.csv").read_text(encoding="utf-8").splitlines()
    assert filters == ["arm,retention,kept vendi,random vendi", '"x, filtered",0.25,3.5,7']
    exposure = (tmp_path / "tables" / "exposure.csv").read_text(encoding="utf-8").splitlines()
    assert exposure[0] == "arm,real slices seen"
    assert len(exposure) == 4
    assert not (tmp_path / "tables" / "pools.csv").exists()


def test_the_page_repeats_byte_for_byte(made, tmp_path):
    analysis, path, page = made
    runs = frozenset(trial.run_id for trial in analysis.trials)
    again = write_report(tmp_path, analysis, context(path.parent, wandb_runs=runs))
    assert again.read_text(encoding="utf-8") == page


def test_the_smallest_sweep_has_a_report(tmp_path):
    arms = [arm(CONTROL, 0), arm("x", 8)]
    analysis = analyse(simulate(arms, {}, patients=2, seeds=1), NO_POOLS, AnalysisRules(), arms=arms)
    bare = context(tmp_path, plan=(), grids=(), failures=(), limits=(), versions={})
    page = write_report(tmp_path, analysis, bare).read_text(encoding="utf-8")
    assert "No omnibus test: two arms" in page
    assert "figure-ranks" not in page
    assert "Synthetic images" not in page
    assert "every statement is conditional on the trained networks" in page


def test_an_arm_that_always_diverged_still_has_a_report(tmp_path):
    arms = [arm(CONTROL, 0), arm("x", 8), arm("y", 16)]
    table = simulate(arms, {}, patients=6, seeds=2)
    broken = table["arm"] == "y"
    table = table.assign(status=table["status"].mask(broken, "diverged"), value=table["value"].mask(broken))
    analysis = analyse(table, NO_POOLS, AnalysisRules(primary="hd95_mm", margin=1.0), arms=arms)
    text = visible(write_report(tmp_path, analysis, context(tmp_path)).read_text(encoding="utf-8"))
    assert "y: training diverged in 2 of 2 runs" in text
    assert " nan" not in text


def test_spectra_are_drawn_where_there_are_any(sketched, made, tmp_path):
    rows = [(kind, "t1", cycles, 1.0, 0.5) for kind in ("b-sg", "mc-sg") for cycles in range(1, 9)]
    curves = pd.DataFrame(rows, columns=["kind", "modality", "cycles", "real", "synthetic"])
    page = write_report(tmp_path, made[0], context(tmp_path, spectra=curves)).read_text(encoding="utf-8")
    assert 'id="figure-spectra"' in page
    assert "Curves of the ratio of synthetic to real power by frequency for b-sg, mc-sg." in page
    assert 'id="figure-spectra"' not in made[2]
