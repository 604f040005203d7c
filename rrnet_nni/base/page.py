"""The frame of every page that is written to a file: one style, dark or light, from a phone to a wide screen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources

#: A table of so many columns fits on a phone.
FEW_COLUMNS = 4


def page_style() -> str:
    return resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")


def html_page(title: str, parts: Iterable[str]) -> str:
    """A self-contained document: nothing in it comes from elsewhere."""
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>\n{page_style()}</style></head><body><main>\n{body}\n</main></body></html>\n"
    )


def html_table(heads: Sequence[str], rows: Iterable[Sequence[str]], classes: Sequence[str] = ()) -> str:
    """A table of cells that are HTML already; `classes` are those of the rows."""
    lines = []
    for number, row in enumerate(rows):
        cells = "".join(f'<td data-head="{escape(head)}">{cell}</td>' for head, cell in zip(heads, row, strict=True))
        marked = f' class="{classes[number]}"' if classes and classes[number] else ""
        lines.append(f"<tr{marked}>{cells}</tr>")
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    wide = ' class="many"' if len(heads) > FEW_COLUMNS else ""
    return f"<table{wide}><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def html_facts(facts: Mapping[str, str]) -> str:
    """The figures at the top of a page, each under its name."""
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    return f'<dl class="facts">{items}</dl>'


def html_figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"
