"""The figures of a run: accuracy over latency, θ over the epochs, how far two executions differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rrnet_nni.base.figures import ACCENT, INK, LINE, QUIET, inline_svg

from .results import Result, format_weight, results_on_front

#: Candidates that compare, whose probability is drawn; their rivals do not.
COMPARING = ("relu", "maxpool")
#: Points nearer to each other than this part of an axis get one label.
NEAR = 0.04
#: Points nearer than this part of an axis have their labels on different sides.
CROWDED = 0.25


def front_figure(results: Sequence[Result], chosen: int | None = None) -> str:
    """SVG: test accuracy over modelled latency, a point a network with its λ, the front as steps."""

    def draw(figure: Any, axis: Any) -> None:
        x, y = _points(results)
        front = results_on_front(results)
        steps = [(result.latency_ms, 100 * result.accuracy) for result in front]
        axis.step(*zip(*steps), where="post", color=LINE, zorder=1)
        axis.scatter(x, y, s=36, color=ACCENT, zorder=2, clip_on=False)
        if chosen is not None:
            axis.scatter([x[chosen]], [y[chosen]], s=150, facecolors="none", edgecolors=INK, zorder=3, clip_on=False)
        axis.set(xlabel="modelled 2PC latency of one image [ms]", xlim=_limits(x))
        axis.set(ylabel="test accuracy [%]", ylim=percent_limits(y))
        _label_points(axis, results, x, y)

    return inline_svg("front", "test accuracy over modelled latency", 3.2, draw)


def theta_figure(search: Sequence[Mapping[str, Any]]) -> str:
    """SVG: a row a gate, a column an epoch; the colour is θ of the candidate that compares."""
    gates = list(search[-1]["theta"])
    values = np.array([[_comparing(record["theta"].get(gate, {})) for record in search] for gate in gates])
    first, last = search[0]["epoch"] + 1, search[-1]["epoch"] + 1

    def draw(figure: Any, axis: Any) -> None:
        from matplotlib.colors import LinearSegmentedColormap

        colours = LinearSegmentedColormap.from_list("gates", ["#2f86a3", "#d9d9d9", "#c4553a"])
        shown = axis.imshow(
            np.ma.masked_invalid(values),
            aspect="auto",
            cmap=colours,
            vmin=0,
            vmax=1,
            extent=(first - 0.5, last + 0.5, len(gates) - 0.5, -0.5),
            interpolation="none",
        )
        axis.set_yticks(range(len(gates)), gates)
        axis.set_xlabel("epoch of the search")
        axis.xaxis.get_major_locator().set_params(integer=True)
        bar = figure.colorbar(shown, ax=axis, label="θ of ReLU or MaxPool")
        bar.outline.set_visible(False)

    return inline_svg(
        "theta", "probability of the comparing candidate of every gate over the epochs", _rows(gates), draw
    )


def difference_figure(differences: Sequence[float]) -> str:
    """SVG: for every image, the largest absolute difference of a logit."""

    def draw(figure: Any, axis: Any) -> None:
        if differences:
            axis.stairs(differences, fill=True, color=ACCENT)
        axis.set(xlabel="test image", ylabel="largest |difference| of a logit", xlim=(0, max(1, len(differences))))
        axis.set_ylim(0, 1.05 * max([*differences, 1e-9]))
        axis.xaxis.get_major_locator().set_params(integer=True)

    return inline_svg("difference", "largest difference of a logit, image by image", 2.2, draw)


def _points(results: Sequence[Result]) -> tuple[list[float], list[float]]:
    return [result.latency_ms for result in results], [100 * result.accuracy for result in results]


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """Limits around values, with room for labels; values that are equal but for rounding stay one point."""
    low, high = min(values), max(values)
    room = max(0.12 * (high - low), 1e-3 * high)
    return low - room, high + room


def percent_limits(values: Sequence[float]) -> tuple[float, float]:
    """Limits around percentages that end at 100 and have room below the lowest."""
    low, high = min(values), max(values)
    room = max(0.12 * (high - low), 0.5)
    return max(0.0, low - room), min(100.0, high + room)


def _label_points(axis: Any, results: Sequence[Result], x: Sequence[float], y: Sequence[float]) -> None:
    """The λ of every point beside it; points that lie on each other share a label."""
    (left, right), (low, high) = axis.get_xlim(), axis.get_ylim()
    places: list[tuple[float, float, list[str]]] = []
    for result, latency, accuracy in sorted(zip(results, x, y), key=lambda one: one[1:]):
        weight = format_weight(result.latency_weight)
        across, up = (latency - left) / (right - left), (accuracy - low) / (high - low)
        near = [place for place in places if abs(place[0] - across) < NEAR and abs(place[1] - up) < NEAR]
        near[0][2].append(weight) if near else places.append((across, up, [weight]))
    before: tuple[float, float, bool] | None = None
    for across, up, weights in places:
        side, shift = ("right", -7) if across > 0.75 else ("left", 7)
        below = up > 0.5
        if before and across - before[0] < CROWDED and abs(up - before[1]) < CROWDED:
            below = not before[2]
        before = across, up, below
        axis.annotate(
            f"λ {', '.join(weights)}",
            (across, up),
            xycoords="axes fraction",
            xytext=(shift, -10 if below else 8),
            textcoords="offset points",
            ha=side,
            va="center",
            color=QUIET,
        )


def _comparing(probabilities: Mapping[str, float]) -> float:
    return next((probabilities[name] for name in COMPARING if name in probabilities), float("nan"))


def _rows(gates: Sequence[str]) -> float:
    return 0.9 + 0.17 * len(gates)
