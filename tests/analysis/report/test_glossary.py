"""Words of the report are explained where they stand, and the docs say the same."""

import html
import re
from pathlib import Path

from medsweep.analysis.report.glossary import TERMS, Hovers
from medsweep.analysis.study.analyse import Analysis
from tools import glossary_page


def test_a_word_is_explained_once_in_a_section() -> None:
    hovers = Hovers()
    first = hovers.explained("The margin & the Margins of a margin; unadjusted, not adjusted")
    assert first.count("<abbr ") == 3
    assert first.startswith(
        f'The <abbr title="{html.escape(TERMS["margin"])}">margin</abbr> &amp; the Margins of a margin; '
    )
    assert "<abbr" not in hovers.explained("the margin, again")
    hovers.begin()
    assert "<abbr" in hovers.explained("the margin, in another section")


def test_longer_words_come_before_shorter_ones_in_them() -> None:
    found = Hovers().explained("a dose response and a <seed>")
    assert re.findall(r">([^<]*)</abbr>", found) == ["dose response", "seed"]
    assert "&lt;" in found


def test_captions_and_heads_of_a_report_have_hovers(eight_arms_made: tuple[Analysis, Path]) -> None:
    page = eight_arms_made[1].read_text(encoding="utf-8")
    captions = " ".join(re.findall(r'<(?:p class="caption"|figcaption).*?</(?:p|figcaption)>', page, re.DOTALL))
    heads = " ".join(re.findall(r"<thead>.*?</thead>", page, re.DOTALL))
    assert f'<abbr title="{html.escape(TERMS["adjusted"])}">adjusted</abbr>' in heads
    assert f'<abbr title="{html.escape(TERMS["margin"])}">margin</abbr>' in captions
    assert f'<abbr title="{html.escape(TERMS["SD"])}">SD</abbr>' in heads
    told = r"<thead>.*?</thead>|<p class=.caption.*?</p>|<figcaption.*?</figcaption>"
    assert "<abbr" not in re.sub(told, "", page, flags=re.DOTALL)


def test_the_page_says_what_the_hovers_say() -> None:
    assert glossary_page.PAGE.read_text(encoding="utf-8") == glossary_page.written(), "python -m tools.glossary_page"


def test_the_words_stand_in_order() -> None:
    assert list(TERMS) == sorted(TERMS, key=str.lower)
