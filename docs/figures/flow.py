"""Draw docs/figures/flow.svg: the road from a task file to two parties. Run: python docs/figures/flow.py"""

from __future__ import annotations

from pathlib import Path

STAGES = [
    ("task file", "rrnet.yml", "backbone, images,\ndevice, protocol"),
    ("search", "rrnet search", "DARTS + λ·Lat(α),\none trial per λ"),
    ("train", "rrnet train", "X2act and ReLU,\none recipe"),
    ("export", "model.onnx", "X2act as a\nlocal function"),
    ("compile", "rrnet-2pc-compile", "fixed point on Z_2^32,\nschedule"),
    ("execute", "rrnet-2pc-run", "two parties,\nonly logits open"),
]
WIDTH, HEIGHT, GAP = 148, 92, 26


def draw() -> str:
    total = len(STAGES) * WIDTH + (len(STAGES) - 1) * GAP + 20
    parts = []
    for i, (title, command, text) in enumerate(STAGES):
        x = 10 + i * (WIDTH + GAP)
        parts.append(f'<rect x="{x}" y="40" width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#f4f7f9" stroke="#256d85"/>')
        parts.append(f'<text x="{x + WIDTH / 2}" y="62" text-anchor="middle" font-weight="bold">{title}</text>')
        parts.append(
            f'<text x="{x + WIDTH / 2}" y="80" text-anchor="middle" font-family="monospace" fill="#b4472e">'
            f"{command}</text>"
        )
        for line, words in enumerate(text.split("\n")):
            parts.append(f'<text x="{x + WIDTH / 2}" y="{100 + 16 * line}" text-anchor="middle">{words}</text>')
        if i:
            start, end = x - GAP, x - 4
            parts.append(f'<path d="M{start} 86 H{end}" stroke="#1c2430" marker-end="url(#arrow)"/>')
    lut_x = 10 + (WIDTH + GAP)
    parts.append(
        f'<text x="{lut_x + WIDTH / 2}" y="164" text-anchor="middle" fill="#256d85">'
        "latency table: what every ReLU costs on the device pair</text>"
    )
    parts.append(
        f'<path d="M{lut_x + WIDTH / 2} 150 V136" stroke="#256d85" stroke-dasharray="3 3" marker-end="url(#arrow)"/>'
    )
    arrow = (
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#1c2430"/></marker></defs>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} 180" width="{total}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" rx="8" fill="white"/>{arrow}{"".join(parts)}</svg>\n'
    )


if __name__ == "__main__":
    Path(__file__).with_suffix(".svg").write_text(draw())
