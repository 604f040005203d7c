"""Every ring backend is exact modulo 2^32, for every geometry."""

import contextlib
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga import ring
from rrnet_nni.fpga.native.library import CompilationUnavailable
from rrnet_nni.fpga.ring import device, dispatch
from rrnet_nni.fpga.ring.compiled import CompiledBackend
from rrnet_nni.fpga.ring.device import DeviceBackend
from rrnet_nni.fpga.ring.geometry import conv_geometry
from rrnet_nni.fpga.ring.limbs import LimbBackend
from rrnet_nni.fpga.ring.tiles import TileBackend

BACKENDS: list[Any] = [LimbBackend(), DeviceBackend("cpu")]
with contextlib.suppress(Refusal):
    BACKENDS.append(DeviceBackend("cuda"))
with contextlib.suppress(CompilationUnavailable):
    BACKENDS.append(CompiledBackend())
    BACKENDS.append(TileBackend())


def exact_conv(x, weights, stride, padding, groups):
    """uint64 arithmetic wraps at 2^64, of which 2^32 is a divisor."""
    geometry = conv_geometry(x.shape[1:], weights.shape, stride, padding, groups)
    top, left, bottom, right = padding
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right))).astype(np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view(padded, geometry.kernel, axis=(2, 3))
    windows = windows[:, :, :: stride[0], :: stride[1]]
    n, channels = x.shape[:2]
    grouped = windows.reshape(n, groups, channels // groups, *windows.shape[2:])
    filters = weights.reshape(groups, -1, *weights.shape[1:]).astype(np.uint64)
    result = np.einsum("ngihwyx,goiyx->ngohw", grouped, filters)
    return result.reshape(n, -1, *result.shape[3:]).astype(np.uint32)


@st.composite
def convolutions(draw):
    groups = draw(st.sampled_from([1, 1, 2, 3, 8]))
    inputs, outputs = draw(st.integers(1, 9)), draw(st.integers(1, 20))
    if draw(st.booleans()):
        inputs, outputs = 1, 1
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    padding = tuple(draw(st.integers(0, 2)) for _ in range(4))
    size = (draw(st.integers(4, 9)), draw(st.integers(4, 9)))
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = generator.integers(0, 2**32, (draw(st.integers(1, 3)), groups * inputs, *size), dtype=np.uint32)
    weights = generator.integers(0, 2**32, (groups * outputs, inputs, *kernel), dtype=np.uint32)
    return x, weights, stride, padding, groups


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: type(backend).__name__)
@given(case=convolutions())
@settings(max_examples=60, deadline=None)
def test_convolution_is_exact(backend, case):
    x, weights, stride, padding, groups = case
    expected = exact_conv(x, weights, stride, padding, groups)
    packed = backend.pack(weights, groups)
    assert np.array_equal(backend.conv2d(x, packed, stride, padding, None), expected)
    total = expected.copy()
    assert np.array_equal(backend.conv2d(x, packed, stride, padding, total), expected + expected)


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: type(backend).__name__)
@pytest.mark.parametrize("depth", [1, 17, 1500])
def test_matrix_product_is_exact(backend, depth):
    generator = np.random.default_rng(depth)
    x = generator.integers(0, 2**32, (3, depth), dtype=np.uint32)
    weights = generator.integers(0, 2**32, (37, depth), dtype=np.uint32)
    packed = backend.pack(weights[:, :, None, None], 1)
    assert np.array_equal(backend.matmul(x, packed, None), x @ weights.T)


@pytest.mark.parametrize("backend", BACKENDS[1:], ids=lambda backend: type(backend).__name__)
@pytest.mark.parametrize(
    ("images", "inputs", "outputs", "size", "kernel", "stride"),
    [(3, 40, 33, 34, 3, 1), (2, 130, 17, 45, 2, 1), (9, 200, 48, 4, 3, 2), (1, 3, 16, 70, 7, 2)],
)
def test_images_of_several_blocks_are_convolved_exactly(backend, images, inputs, outputs, size, kernel, stride):
    generator = np.random.default_rng(size)
    x = generator.integers(0, 2**32, (images, inputs, size, size), dtype=np.uint32)
    weights = generator.integers(0, 2**32, (outputs, inputs, kernel, kernel), dtype=np.uint32)
    pads = (1, 0, 2, 1)
    result = backend.conv2d(x, backend.pack(weights, 1), (stride, stride), pads, None)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 2), (0, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(2, 3))[:, :, ::stride, ::stride]
    rows = np.ascontiguousarray(windows.transpose(0, 2, 3, 1, 4, 5)).reshape(-1, inputs * kernel**2)
    expected = rows @ weights.reshape(outputs, -1).T
    assert np.array_equal(result.transpose(0, 2, 3, 1).reshape(len(rows), outputs), expected)


def test_tiles_that_compute_wrongly_are_not_used(monkeypatch):
    monkeypatch.setattr(dispatch, "passes_self_test", lambda backend: type(backend) is not TileBackend)
    assert type(dispatch._fastest()) is CompiledBackend


def test_deep_convolution_of_the_largest_words_is_exact():
    x = np.full((1, 700, 3, 3), 2**32 - 1, np.uint32)
    weights = np.full((33, 700, 3, 3), 2**32 - 1, np.uint32)
    assert (ring.ring_conv2d(x, weights) == np.uint32(6300)).all()


def test_the_compiled_backend_is_used_where_there_is_a_compiler():
    assert ring.backend_name() == "compiled"


def test_a_backend_that_computes_wrongly_is_refused():
    class Wrong(dispatch.LimbBackend):
        def conv2d(self, *arguments):
            return super().conv2d(*arguments) + np.uint32(1)

    assert not dispatch.passes_self_test(Wrong())


def test_without_a_compiler_the_limbs_take_over(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("RRNET_RING_BACKEND", raising=False)
    assert dispatch._backend.__wrapped__().name == "limbs"
    monkeypatch.setenv("RRNET_RING_BACKEND", "compiled")
    with pytest.raises(Refusal, match="RRNET_RING_BACKEND=compiled: no C compiler"):
        dispatch._backend.__wrapped__()


def test_a_device_that_multiplies_rightly_is_used_where_it_is_asked_for(monkeypatch):
    monkeypatch.setenv("RRNET_RING_BACKEND", "cuda")
    monkeypatch.setattr(dispatch, "DeviceBackend", lambda: DeviceBackend("cpu"))
    assert dispatch._backend.__wrapped__().name == "cuda"
    monkeypatch.setattr(dispatch, "passes_self_test", lambda backend: False)
    with pytest.raises(Refusal, match="RRNET_RING_BACKEND=cuda: the device multiplies wrongly"):
        dispatch._backend.__wrapped__()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setenv("RRNET_RING_BACKEND", "cuda")
    with pytest.raises(Refusal, match="torch sees no CUDA device here"):
        dispatch._backend.__wrapped__()


def test_windows_that_do_not_fit_on_a_device_at_once_are_convolved_in_parts(monkeypatch):
    monkeypatch.setattr(device, "_WINDOW_BYTES", 1)
    generator = np.random.default_rng(0)
    x = generator.integers(0, 2**32, (3, 4, 6, 5), dtype=np.uint32)
    weights = generator.integers(0, 2**32, (6, 2, 3, 3), dtype=np.uint32)
    backend = DeviceBackend("cpu")
    result = backend.conv2d(x, backend.pack(weights, 2), (1, 2), (1, 1, 0, 1), None)
    assert np.array_equal(result, exact_conv(x, weights, (1, 2), (1, 1, 0, 1), 2))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_device_passes_the_self_test():
    assert dispatch.passes_self_test(DeviceBackend())


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        ring.ring_conv2d(np.zeros((1, 3, 4, 4), np.uint32), np.zeros((2, 2, 3, 3), np.uint32))
    with pytest.raises(ValueError, match="does not fit an image"):
        ring.ring_conv2d(np.zeros((1, 2, 2, 2), np.uint32), np.zeros((2, 2, 3, 3), np.uint32))
    with pytest.raises(TypeError, match="uint32"):
        ring.ring_matmul(np.zeros((1, 3), np.int64), np.zeros((2, 3), np.uint32))
