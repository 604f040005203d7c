"""A network's distance from exploding: contrast is raised around each image's mean, and the bound takes it back."""

from __future__ import annotations

from pathlib import Path

import accuracy
import contrast
import pytest
import torch
from accuracy_plan import Run

from rrnet_nni.evaluators.accuracy import evaluate
from rrnet_nni.evaluators.images.data import DataOptions, load_dataset

RUN = Run("held-out/x2act", "resnet8", 0.125, "x2act", 1, training={"precision": "float32", "channels_last": False})


def test_contrast_grows_around_the_mean_of_each_image() -> None:
    images = torch.randint(0, 256, (4, 3, 6, 6), dtype=torch.uint8)
    found = contrast.raised(images, 1.5)
    values = images.float()
    assert torch.allclose(found.mean((1, 2, 3)), values.mean((1, 2, 3)), atol=1e-3)
    assert torch.allclose(found.std((1, 2, 3)), 1.5 * values.std((1, 2, 3)), rtol=1e-4)


def test_rows_bound_what_was_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = DataOptions("synthetic", image_size=16, train_images=64, test_images=20, cache_dir=str(tmp_path / "images"))
    bench = accuracy.Bench(tmp_path, load_dataset(data), held_out=12)
    accuracy.work(bench, [RUN], None)
    met: list[tuple[float | None, float]] = []

    def spy(network, dataset, images, labels):  # type: ignore[no-untyped-def]
        met.append((dataset.contrast_bound, float(dataset.normalized(images).std((1, 2, 3), correction=0).max())))
        return evaluate(network, dataset, images, labels)

    monkeypatch.setattr(contrast, "evaluate", spy)
    found = list(contrast.rows(bench, RUN))
    assert len(found) == len(met) == len(contrast.RAISED) * len(contrast.BOUNDS)
    deviation = sum(bench.choosing.std) / 3
    for row, (bound, largest) in zip(found, met, strict=True):
        assert (bound is None) == (row["bound"] is None)
        if bound is not None:
            assert bound == pytest.approx(row["bound"] * deviation)
            assert largest < 1.05 * row["bound"]
    assert max(largest for _, largest in met) > 1.5
    assert {row["images"] for row in found} == {12, 6}
    assert contrast.table(found).count("exploded") == len(found)
