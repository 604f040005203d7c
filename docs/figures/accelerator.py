"""Draw docs/figures/accelerator.svg: the units of one accelerator. Run: python docs/figures/accelerator.py"""

from __future__ import annotations

from pathlib import Path

BLUE, RED, DARK, PALE = "#256d85", "#b4472e", "#1c2430", "#f4f7f9"
#: Units that execute a queue each: title, file of the kernels, what they do.
UNITS = [
    ("LOAD", "share_io.cpp", "shares, opened\nwords, weights"),
    ("ARRAY", "array.cpp", "blocks of 8x8 pixels,\ndense, depthwise"),
    ("COMPARATOR", "comparison.cpp", "leaves, AND tree,\nor dcf.cpp"),
    ("ALU", "opened.cpp, local.cpp", "mask, square, truncate,\naffine, sums"),
    ("SEND", "message.h", "party 0's\nmessages"),
    ("RECEIVE", "message.h", "party 1's\nmessages"),
    ("STORE", "share_io.cpp", "shares, opened\nwords"),
]
WIDTH, GAP, LEFT, TOTAL = 128, 12, 14, 990


def box(x: float, y: float, width: float, height: float, title: str, lines: list[tuple[str, bool]]) -> str:
    parts = [f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="{PALE}" stroke="{BLUE}"/>']
    middle = x + width / 2
    parts.append(f'<text x="{middle}" y="{y + 20}" text-anchor="middle" font-weight="bold">{title}</text>')
    for number, (text, code) in enumerate(lines):
        style = f'font-family="monospace" font-size="10.5" fill="{RED}"' if code else ""
        parts.append(f'<text x="{middle}" y="{y + 38 + 16 * number}" text-anchor="middle" {style}>{text}</text>')
    return "".join(parts)


def arrow(path: str, both: bool = False) -> str:
    start = ' marker-start="url(#back)"' if both else ""
    return f'<path d="{path}" fill="none" stroke="{DARK}" marker-end="url(#arrow)"{start}/>'


def draw() -> str:
    parts = [
        box(LEFT, 16, 300, 62, "board memory, 128-bit AXI", [("gmem0: instructions.bin, operands.bin", True)]),
        box(LEFT + 330, 16, 300, 62, "board memory, 128-bit AXI", [("gmem1: shares, opened words, biases", True)]),
        box(LEFT + 660, 16, 300, 62, "board memory, 128-bit AXI", [("gmem2: corrections, comparison keys", True)]),
        box(LEFT, 112, 960, 62, "dispatcher", [("seven queues in order; a wait (queue, n) holds after n", False)]),
    ]
    parts.append(arrow(f"M{LEFT + 150} 78 V108"))
    for number, (title, source, text) in enumerate(UNITS):
        x = LEFT + number * (WIDTH + GAP)
        lines = [(source, True), *((line, False) for line in text.split("\n"))]
        parts.append(box(x, 208, WIDTH, 94, title, lines))
        parts.append(arrow(f"M{x + WIDTH / 2} 174 V204"))
        parts.append(arrow(f"M{x + WIDTH / 2} 306 V334", both=True))
    parts.append(
        box(LEFT, 338, 960, 58, "buffer on the chip", [("tiles from below, bands of weights from above", False)])
    )
    keystreams = "masks, OT tables, comparison functions: aes.cpp, dcf.cpp"
    parts.append(box(LEFT, 424, 460, 58, "AES-128 cores", [(keystreams, False)]))
    parts.append(box(LEFT + 500, 424, 460, 58, "network", [("128-bit streams to and from the other party", False)]))
    parts.append(arrow(f"M{LEFT + 230} 424 V400"))
    parts.append(arrow(f"M{LEFT + 730} 424 V400", both=True))
    heads = (
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 L8 4 L0 8 z" fill="{DARK}"/></marker>'
        '<marker id="back" viewBox="0 0 8 8" refX="1" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M8 0 L0 4 L8 8 z" fill="{DARK}"/></marker></defs>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {TOTAL} 498" width="{TOTAL}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" rx="8" fill="white"/>{heads}{"".join(parts)}</svg>\n'
    )


if __name__ == "__main__":
    Path(__file__).with_suffix(".svg").write_text(draw())
