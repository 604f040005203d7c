"""The page, in a real browser: a digit drawn by mouse is shared, classified by two servers and shown."""

import numpy as np
import pytest
from helpers.browser import CHROMIUM, chromium
from helpers.parties.served import Servers, contrasting_pixels, write_digits_sized_build


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    root = tmp_path_factory.mktemp("page")
    write_digits_sized_build(root / "build")
    with Servers(root, dealt=(60, 60), named=True, options_of=(("--no-filling",), ())) as servers:
        yield servers


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with chromium() as browser:
        yield browser


def draw(page, points):
    """Strokes through points of the drawing area, in hundredths of its side."""
    box = page.locator("#drawing").bounding_box()
    at = [(box["x"] + x / 100 * box["width"], box["y"] + y / 100 * box["height"]) for x, y in points]
    page.mouse.move(*at[0])
    page.mouse.down()
    for each in at[1:]:
        page.mouse.move(*each, steps=5)
    page.mouse.up()


def shown(page, party):
    """Pixels of what a server saw, and the words of what it learnt."""
    script = "canvas => Array.from(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data)"
    pixels = np.array(page.eval_on_selector(f"#share-{party}", script)).reshape(-1, 4)[:, 0]
    return pixels, page.inner_text(f"#learnt-{party}")


@pytest.mark.parametrize(("theme", "width"), [("light", 1100), ("dark", 390)])
def test_a_drawn_digit_is_classified_and_each_server_saw_noise(servers, browser, theme, width):
    page = browser.new_context(color_scheme=theme, viewport={"width": width, "height": 850}, bypass_csp=True).new_page()
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(servers.urls[theme == "dark"] + "/")  # either server has the page
    page.wait_for_function("document.getElementById('address-1').textContent !== ''")
    draw(page, [(50, 15), (50, 85)])
    page.wait_for_selector("#result strong, #result.fault")
    assert page.inner_text("#result strong") in "0123456789"
    assert page.locator("#logits li").count() == 10
    assert page.inner_text("#logits li:first-child span:first-child") == page.inner_text("#result strong")
    for party in (0, 1):
        pixels, learnt = shown(page, party)
        assert len(pixels) == 256
        assert 90 < pixels.mean() < 165
        assert pixels.std() > 55
        assert learnt != "nothing yet"
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert not problems
    page.get_by_role("button", name="Clear").click()
    assert page.inner_text("#result") == "Nothing drawn yet."


def test_the_browsers_client_computes_what_the_python_client_does(servers, browser):
    from rrnet_nni.fpga.runtime.service.client import PrivateClassifier

    pixels = contrasting_pixels()
    page = browser.new_context(bypass_csp=True).new_page()
    page.goto(servers.urls[0] + "/")
    script = """async ([urls, pixels]) => {
        const { PrivateClassifier } = await import("/client.js");
        const classifier = await PrivateClassifier.connect(urls, "build");
        const logits = [];
        for (const each of pixels) logits.push((await classifier.classify(Uint8ClampedArray.from(each))).logits);
        return logits;
    }"""
    found = page.evaluate(script, [list(servers.urls), pixels.reshape(len(pixels), -1).tolist()])
    with PrivateClassifier(servers.urls) as classifier:
        assert np.abs(np.array(found) - classifier.logits(pixels)).max() < 0.2
