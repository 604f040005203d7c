"""Shapes of ring convolutions, checked once for every backend."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ConvGeometry:
    """Geometry of one ring convolution; `padding` is (top, left, bottom, right)."""

    channels: int
    height: int
    width: int
    out_channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    groups: int

    @property
    def out_height(self) -> int:
        return output_size(self.height, self.kernel[0], self.stride[0], self.padding[0], self.padding[2])

    @property
    def out_width(self) -> int:
        return output_size(self.width, self.kernel[1], self.stride[1], self.padding[1], self.padding[3])

    @property
    def depthwise(self) -> bool:
        """One filter per channel."""
        return self.groups == self.channels == self.out_channels


def conv_geometry(
    image: tuple[int, ...],
    weights: tuple[int, ...],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    groups: int,
) -> ConvGeometry:
    """Geometry of x [N, *image] with weights [O, C / groups, kh, kw]; raises ValueError where they do not fit."""
    channels, height, width = image
    out_channels, inputs, kernel_h, kernel_w = weights
    if groups < 1 or channels != inputs * groups or out_channels % groups:
        raise ValueError(f"weights {weights} do not fit {channels} channels in {groups} groups")
    geometry = ConvGeometry(channels, height, width, out_channels, (kernel_h, kernel_w), stride, padding, groups)
    if geometry.out_height < 1 or geometry.out_width < 1:
        raise ValueError(f"a {kernel_h}x{kernel_w} kernel does not fit an image of {height}x{width}")
    return geometry


def output_size(size: int, kernel: int, stride: int, pad_before: int, pad_after: int) -> int:
    """Length of a convolution's or pooling's output along one axis (floor mode)."""
    return (size + pad_before + pad_after - kernel) // stride + 1
