"""The page in a real browser: it asks for nothing, complains of nothing, sorts, copies, prints, and fits a phone."""

import base64
import importlib.util
import json
import os
import shutil
import time

import pytest

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def missing() -> str | None:
    """What keeps the tests from running, by name."""
    if importlib.util.find_spec("selenium") is None:
        return "the Python package selenium is not installed"
    for programs, package in ((("chromium", "chromium-browser"), "chromium"), (("chromedriver",), "chromium-driver")):
        if not any(map(shutil.which, programs)):
            return f"{package} is not installed (apt-get install {package})"
    return None


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    reason = missing()
    if reason is not None:
        if os.environ.get("CI"):
            pytest.fail(f"in CI the page must be seen in a browser: {reason}")
        pytest.skip(reason)
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("chromium-browser")
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    yield found
    found.quit()


@pytest.fixture
def page(driver, eight_arms_made):
    """The page, freshly opened at 1280 x 900."""
    show(driver, 1280)
    driver.get_log("performance")
    driver.get_log("browser")
    # a load of its own each time: only the hash would change otherwise
    driver.get("about:blank")
    driver.get(eight_arms_made[1].as_uri())
    # the script is the last thing in the page
    until(lambda: driver.find_elements("css selector", "th button"))
    return driver


def show(driver, width: int, scheme: str = "light") -> None:
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def until(holds) -> None:
    """Wait for what a click leads to; the limit of the whole test ends a wait in vain."""
    while not holds():
        time.sleep(0.02)


def unfold(driver, section: str) -> None:
    """As a reader does, by the contents."""
    driver.find_element("css selector", f"nav a[href='#{section}']").click()
    fold = driver.find_element("css selector", f"details.fold:has(#{section})")
    until(lambda: fold.get_property("open"))


def column(driver, table: str, index: int) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map(row => row.cells[arguments[1]].textContent)"
    cells = driver.execute_script(script, f"#table-{table} tbody tr", index)
    return [cell.replace("\N{NO-BREAK SPACE}", " ") for cell in cells]


def heads(driver, table: str) -> list:
    return driver.find_elements("css selector", f"#table-{table} thead th")


def head(driver, table: str, name: str):
    return next(one for one in heads(driver, table) if one.text.strip() == name)


def test_it_asks_for_nothing_and_complains_of_nothing(page):
    time.sleep(0.3)
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    # what the browser's own start page still asks for belongs to another document
    asked = [one["request"]["url"] for one in sent if one["documentURL"] == page.current_url]
    assert [url for url in asked if not url.startswith("data:")] == [page.current_url]
    assert page.get_log("browser") == []


def test_the_policy_stops_what_is_not_the_pages_own(page):
    script = """
        const done = arguments[0];
        const stopped = [];
        window.foreign = false;
        document.addEventListener("securitypolicyviolation", (event) => stopped.push(event.effectiveDirective));
        const inline = document.createElement("script");
        inline.textContent = "window.foreign = true";
        document.body.append(inline);
        const image = new Image();
        image.src = "http://127.0.0.1:9/x.png";
        const end = () => setTimeout(() => done([window.foreign, ...new Set(stopped)].join(" ")), 100);
        fetch("http://127.0.0.1:9/").then(end, end);
    """
    assert set(page.execute_async_script(script).split()) == {"false", "script-src-elem", "img-src", "connect-src"}


def test_every_picture_is_there(page):
    images = page.execute_script(
        "return [...document.images].map(image => [image.complete, image.naturalWidth, image.alt])"
    )
    assert len(images) == 12
    assert all(complete and width > 0 and alt for complete, width, alt in images)


def test_numbers_sort_as_numbers_up_down_and_back(page):
    name = head(page, "effects", "difference")
    before = column(page, "effects", 2)
    numbers = [float(cell.replace("\N{MINUS SIGN}", "-")) for cell in before]
    button = name.find_element("css selector", "button")
    assert name.get_attribute("aria-sort") == "none"
    for way, expected in (("ascending", sorted(numbers)), ("descending", sorted(numbers)[::-1]), ("none", numbers)):
        button.click()
        assert name.get_attribute("aria-sort") == way
        assert [float(cell.replace("\N{MINUS SIGN}", "-")) for cell in column(page, "effects", 2)] == expected
    assert column(page, "effects", 2) == before


def test_p_values_sort_with_their_bounds(page):
    index = [one.text.strip() for one in heads(page, "effects")].index("p, patients")
    head(page, "effects", "p, patients").find_element("css selector", "button").click()

    def key(text: str) -> float:
        """``< .001`` before ``.001``, ``> .99`` after ``.99``."""
        return float(text.strip("<> ")) + {"<": -1e-9, ">": 1e-9}.get(text[0], 0)

    cells = column(page, "effects", index)
    assert cells == sorted(cells, key=key)
    assert len(set(cells)) > 3


def test_names_sort_naturally_by_keyboard_and_one_column_at_a_time(page):
    from selenium.webdriver.common.keys import Keys

    head(page, "effects", "difference").find_element("css selector", "button").click()
    name = head(page, "effects", "arm")
    name.find_element("css selector", "button").send_keys(Keys.ENTER)
    assert column(page, "effects", 0) == [
        "b-sg, 8 patients",
        "b-sg, 16 patients",
        "b-sg, 32 patients",
        "mc-sg, 8 patients",
        "mc-sg, 16 patients",
        "mc-sg, 16 patients, IoU filter 0.7",
        "mc-sg, 32 patients",
    ]
    sorted_heads = page.find_elements("css selector", "#table-effects th[aria-sort]:not([aria-sort=none])")
    assert [one.text.strip() for one in sorted_heads] == ["arm"]


def test_what_is_not_a_number_comes_last_both_ways(page):
    unfold(page, "all-arms")
    name = head(page, "ranks", "z")
    button = name.find_element("css selector", "button")
    for _ in range(2):
        button.click()
        assert column(page, "ranks", 3)[-1] == "\N{EM DASH}"


def test_controls_have_names_and_a_visible_focus(page):
    script = """
        return [...document.querySelectorAll("button, a[href], summary, [tabindex='0']")].map(control => {
            const by = (control.getAttribute("aria-labelledby") || "").split(" ").filter(Boolean);
            const label = by.map(id => document.getElementById(id)?.textContent || "").join(" ");
            return (control.getAttribute("aria-label") || label || control.textContent).trim();
        })
    """
    names = page.execute_script(script)
    assert len(names) > 150
    assert all(names)
    for selector in ("#table-effects th button", ".skip", ".scroll"):
        outline = page.execute_script(
            "const found = document.querySelector(arguments[0]); found.focus({focusVisible: true});"
            "return getComputedStyle(found).outlineStyle",
            selector,
        )
        assert outline == "solid"


def test_headings_descend_without_a_gap_and_the_language_is_set(page):
    levels = page.execute_script(
        "return [...document.querySelectorAll('h1,h2,h3,h4')].map(one => Number(one.tagName[1]))"
    )
    assert levels[0] == 1
    assert set(levels[1:]) == {2}
    assert page.execute_script("return document.documentElement.lang") == "en"
    contents = page.execute_script("return [...document.querySelectorAll('nav a')].map(one => one.hash.slice(1))")
    ids = page.execute_script("return [...document.querySelectorAll('h2')].map(one => one.id)")
    assert contents == ids


def test_what_is_unfolded_can_be_read_in_minutes(page):
    """About 1,500 words; the rest, of which there is more, opens on demand."""
    main = "const main = document.querySelector('main'); "
    words = page.execute_script(f"{main} return main.innerText.split(/\\s+/).length")
    whole = page.execute_script(f"{main} return main.textContent.split(/\\s+/).length")
    assert 800 < words < 1650
    assert whole > 2 * words
    folded = page.execute_script("return [...document.querySelectorAll('details.fold h2')].map(one => one.id)")
    order = page.execute_script("return [...document.querySelectorAll('h2')].map(one => one.id)")
    assert order[order.index("retraining") + 1 :] == folded


def test_letters_have_one_size_in_all_pictures(page):
    """Pictures differ in width; all are scaled alike."""
    for width in (1280, 400):
        show(page, width)
        scales = page.execute_script(
            "return [...document.querySelectorAll('.fold')].map(one => { one.open = true; }) && "
            "[...document.querySelectorAll('figure.drawn img')].map("
            "image => image.getBoundingClientRect().width / Number(image.style.getPropertyValue('--inches')))"
        )
        assert len(scales) == 11
        assert max(scales) < 1.03 * min(scales)


def test_a_link_to_trials_opens_their_list(page):
    link = page.find_element("css selector", "#table-effects tbody a")
    target = page.find_element("css selector", f"details{link.get_attribute('hash')}")
    assert not target.get_property("open")
    link.click()
    until(lambda: target.get_property("open"))
    assert "medsweep show" in target.text


def test_the_methods_can_be_copied(page):
    page.execute_cdp_cmd("Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]})
    unfold(page, "methods")
    button = page.find_element("xpath", "//button[text()='Copy methods']")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
    button.click()
    until(lambda: button.text == "Copied")
    copied = page.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    methods = page.find_element("css selector", "[data-copy=methods]").text
    assert copied.split() == methods.split()
    assert copied.startswith("Design: ")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 400, 1280])
def test_no_width_makes_the_page_scroll_sideways(page, width, scheme):
    show(page, width, scheme)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width


def test_dark_and_light_can_both_be_read(page):
    script = """
        const channel = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number).map(v => {
            v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
        const light = (text) => { const [r, g, b] = channel(text); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        const back = light(getComputedStyle(document.body).backgroundColor);
        return ["p", "figcaption", ".caption", "td", "a", ".short", "th", "summary"].map(selector => {
            const ink = light(getComputedStyle(document.querySelector("main " + selector)).color);
            return (Math.max(ink, back) + 0.05) / (Math.min(ink, back) + 0.05);
        })
    """
    backs = set()
    for scheme in ("light", "dark"):
        show(page, 1280, scheme)
        backs.add(page.execute_script("return getComputedStyle(document.body).backgroundColor"))
        assert min(page.execute_script(script)) >= 4.5
    assert len(backs) == 2


def test_paper_holds_the_whole_story(page, tmp_path):
    made = page.execute_cdp_cmd("Page.printToPDF", {"printBackground": True, "preferCSSPageSize": True})
    document = base64.b64decode(made["data"])
    assert document.startswith(b"%PDF")
    assert len(document) > 100_000
    stories = "return [...document.querySelectorAll('main details:not(.trials)')].map(one => one.open)"
    page.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert set(page.execute_script(stories)) == {True}
    page.execute_script("dispatchEvent(new Event('afterprint'))")
    assert set(page.execute_script(stories)) == {False}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    hidden = page.execute_script(
        "return ['nav', '.tools', '.skip'].map(one => getComputedStyle(document.querySelector(one)).display)"
    )
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert hidden == ["none"] * 3
