"""The pages in a real browser: dark and light, from a phone to a wide screen, and the ways between them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import onnx
import pytest
from helpers.browser import CHROMIUM, chromium
from helpers.example_result import RESULT, example_report
from helpers.networks.small_onnx_models import mixed_model

from rrnet_nni.fpga.compiler.compile import compile_model
from rrnet_nni.reports.report_page import save_report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
WIDE = """() => [...document.querySelectorAll("*")]
    .filter(one => one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 0)
    .filter(one => !["visible", "hidden"].includes(getComputedStyle(one).overflowX) || one === document.documentElement)
    .map(one => `${one.tagName} ${one.id} ${one.className}`)"""
OUTSIDE = """() => [...document.querySelectorAll("main *:not(svg *)")]
    .filter(one => one.getBoundingClientRect().right > innerWidth + 1).map(one => one.outerHTML.slice(0, 99))"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of a run, of a trial, and of its build, all with large numbers and long names."""
    folder = tmp_path_factory.mktemp("pages")
    large = replace(RESULT, comparisons=12_345_678, relus=1_234_567, latency_ms=12345.678, makespan_ms=12345.678)
    report = example_report(folder, large, replace(large, latency_weight=1e-5, accuracy=1.0, latency_ms=99999.0))
    onnx.save(mixed_model(), folder / "a_model_with_rather_a_long_name.onnx")
    compile_model(folder / "a_model_with_rather_a_long_name.onnx", folder / "run0" / "build")
    (folder / "model.onnx").touch()
    (folder / "page").mkdir()
    front = save_report(report, folder / "page")
    return {"front": front, "trial": front.with_name("trial-0.html"), "build": folder / "run0/build/report.html"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.mark.parametrize("width", [400, 800, 1600])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_scrolls_sideways_and_words_stand_out(
    pages: dict[str, Path], browser: Any, theme: str, width: int
) -> None:
    context = browser.new_context(color_scheme=theme, viewport={"width": width, "height": 900})
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    for path in pages.values():
        page.goto(path.as_uri())
        assert page.evaluate(WIDE) == []
        assert page.evaluate(OUTSIDE) == []
        ground = brightness(page, "body", "backgroundColor")
        assert ground > 200 if theme == "light" else ground < 60
        for words in ("h1", "td", "svg text", "canvas"):
            if page.locator(words).count():
                colour = "fill" if words.startswith("svg") else "color"
                assert abs(brightness(page, words, colour) - ground) > 120, (path.name, words)
    assert problems == []
    context.close()


def brightness(page: Any, selector: str, of: str) -> float:
    colour = page.eval_on_selector(selector, f"one => getComputedStyle(one).{of}")
    red, green, blue = (float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3])
    return (red + green + blue) / 3


def test_every_link_leads_to_a_page_that_is_there_and_back(pages: dict[str, Path], browser: Any) -> None:
    page = browser.new_page()
    page.goto(pages["front"].as_uri())
    page.get_by_role("link", name="trial").first.click()
    assert page.url == pages["trial"].as_uri()
    page.get_by_role("link", name="build").click()
    assert page.url.split("#")[0] == pages["build"].as_uri()
    page.get_by_role("link", name="report of the run").click()
    assert page.url == pages["trial"].as_uri()
    page.get_by_role("link", name="A <run>").click()
    assert page.url == pages["front"].as_uri()
    targets = page.eval_on_selector_all("a", "links => links.map(link => link.href)")
    assert len(targets) == 2 + 1 + 2  # two trials, one build, two files
    assert all(os.path.exists(urlsplit(target).path) for target in targets)
    page.goto(pages["build"].as_uri() + "#from=javascript:alert(1)//x.html")
    assert page.locator("nav a").count() == 0
    page.close()


def test_a_click_on_a_head_sorts_the_builds_table(pages: dict[str, Path], browser: Any) -> None:
    page = browser.new_page()
    page.goto(pages["build"].as_uri())

    def latencies() -> list[float]:
        return [float(words) for words in page.locator("#traffic td:last-child").all_inner_texts()]

    assert len(latencies()) > 5
    page.locator("#traffic th").last.click()
    assert latencies() == sorted(latencies(), reverse=True)
    page.locator("#traffic th").last.click()
    assert latencies() == sorted(latencies())
    page.close()
