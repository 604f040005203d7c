"""What readers ask is answered at most two clicks behind the start page, menus and search left aside."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CLICKS = 2
#: Question -> the page that answers, without its ending, and words of the answer.
QUESTIONS = {
    "How do I run without a dealer?": ("how-to/without-a-dealer", "--preprocessing two-party"),
    "What does a ReLU cost in bytes?": ("reference/protocol-costs", "bytes an element, sent by 0 / 1"),
    "How do I add a device?": ("how-to/own-device", "A device is one YAML file"),
    "How do I price a protocol of my own?": ("how-to/own-protocol", "A protocol is a cost model"),
    "How do I add a protocol that parties execute?": (
        "extending",
        "A folder in fpga/protocols/ with a ProtocolDescriptor",
    ),
    "Which protocol suits a long link?": ("how-to/wan", "rounds cost more than bytes"),
    "How do I bring a backbone of my own?": ("reference/backbones", '[project.entry-points."rrnet_nni.backbones"]'),
    "Is this secure against a malicious client?": ("explanation/trust", "not secure against a malicious client"),
    "What does each party learn?": ("explanation/trust", "What is revealed, and to whom"),
    "Which test holds a claim about security?": ("reference/claims", "test_every_message_is_uniform"),
    "How do I search a network for my own pictures?": ("how-to/own-images", "rrnet init my_images"),
    "How do I go on with a search that I stopped?": ("how-to/commands", "rrnet run FILE --resume ID goes on"),
    "How do I use several machines?": ("how-to/many-machines", "platform: remote"),
    "How do I run two parties on two machines?": ("how-to/two-hosts", "The client gets its part of the build"),
    "Which operators may my ONNX model have?": ("reference/onnx", "GlobalAveragePool"),
    "What may I give to the client?": ("reference/build", "Give the client client/ and nothing else"),
    "How do I serve several models?": ("how-to/operate-a-service", "Several models are several NAME=BUILD"),
    "How does a program ask the service?": ("reference/service", "PrivateClassifier("),
    "How accurate is a network without any ReLU?": ("results/accuracy", "X2act + AvgPool"),
    "What keeps polynomials from diverging?": ("explanation/x2act", "range loss"),
    "How fast is it beside CrypTen, over a WAN too?": ("results/protocols", "of CrypTen's time: loopback, lan, wan"),
    "Does fixed point cost accuracy?": ("results/fixed-point", "same class"),
    "When does replacing ReLU not pay?": ("results/replacing-relu", "there ReLU reduction no longer pays"),
    "Does the accelerator fit the chip?": ("results/accelerator", "usable (of the chip)"),
    "How do I look at a waveform?": ("reference/accelerator-simulation", "gtkwave wave.vcd"),
    "May material be used twice?": ("explanation/material-and-link", "The same mask twice reveals"),
    "What does an exit status of 2 mean?": ("how-to/commands", "2 for bad usage or bad input"),
    "What is an opened word?": ("glossary", "An opened word is a masked one that both parties know"),
}
Look = Callable[[str], tuple[str, list[str]]]


def plain(text: str) -> str:
    return " ".join(re.sub(r"[`*_]|\]\([^)]*\)|\[(?=[A-Za-z`])", "", text).split())


def clicks(start: str, look: Look) -> Mapping[str, int]:
    """Page -> how many links of articles lead to it from the start page, where these are at most CLICKS."""
    reached, edge = {start: 0}, [start]
    for distance in range(1, CLICKS + 1):
        linked = {target for page in edge for target in look(page)[1]}
        edge = sorted(linked - set(reached))
        reached |= dict.fromkeys(edge, distance)
    return reached


def unanswered(look: Look) -> list[str]:
    reached = clicks("index", look)
    return [
        question
        for question, (page, words) in QUESTIONS.items()
        if page not in reached or plain(words) not in plain(look(page)[0])
    ]


def within(page: str, link: str) -> str | None:
    """The page to which a link of `page` leads; None for one that leaves the site."""
    target = unquote(link).partition("#")[0]
    if not target or "://" in target or not target.endswith((".md", ".html")):
        return None
    path = posixpath.normpath(PurePosixPath(page).parent / target)
    return None if path.startswith("..") else str(PurePosixPath(path).with_suffix(""))


def test_at_least_twenty_questions_are_answered_within_two_links_of_the_sources() -> None:
    assert len(QUESTIONS) >= 20

    def look(page: str) -> tuple[str, list[str]]:
        path = DOCS / f"{page}.md"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        links = re.findall(r"\]\(([^)\s]+)\)", text)
        return text, [target for link in links if (target := within(page, link))]

    assert unanswered(look) == []


class Article(HTMLParser):
    """Text and links of what is between a page's menus."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.links = "", list[str]()
        self._inside = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._inside |= tag == "article"
        link = dict(attributes).get("href")
        if self._inside and tag == "a" and link:
            self.links.append(link)

    def handle_endtag(self, tag: str) -> None:
        self._inside &= tag != "article"

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.text += data


@pytest.mark.slow
def test_the_same_holds_for_the_built_site_by_what_a_reader_clicks(built_site: Path) -> None:
    def look(page: str) -> tuple[str, list[str]]:
        article = Article()
        path = built_site / f"{page}.html"
        article.feed(path.read_text(encoding="utf-8") if path.exists() else "")
        return article.text, [target for link in article.links if (target := within(page, link))]

    assert unanswered(look) == []
