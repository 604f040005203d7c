"""The five networks of Fig. 3(b) written by hand, without torch: an oracle independent of the search spaces.

32x32 images, ten classes. Every activation is ReLU or X2act, every pooling MaxPool or AvgPool, all alike.
"""

from __future__ import annotations

from rrnet_nni.fpga.program.operators import (
    Add,
    AvgPool,
    Conv,
    Linear,
    MaxPool,
    NamedOperator,
    OperatorShape,
    Relu,
    X2act,
)

NETWORKS = ("vgg16", "mobilenet_v2", "resnet18", "resnet34", "resnet50")
IMAGE_SIZE, CLASSES = 32, 10
MOBILENET_BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)  # expansion, channels, blocks, first stride


class _Network:
    """Appends operators while it keeps the size of the current activation."""

    def __init__(self, polynomial: bool) -> None:
        self.polynomial = polynomial
        self.channels, self.size = 3, IMAGE_SIZE
        self.operators: list[NamedOperator] = []

    def append(self, shape: OperatorShape) -> None:
        self.operators.append(NamedOperator(f"{len(self.operators)}.{type(shape).__name__.lower()}", shape))

    def conv(self, out_channels: int, kernel: int, stride: int = 1, groups: int = 1, of: tuple[int, int] = ()) -> None:
        channels, size = of or (self.channels, self.size)
        pad = (kernel // 2,) * 4
        shape = Conv(
            channels, size, size, (kernel, kernel), (stride, stride), pad, out_channels=out_channels, groups=groups
        )
        self.append(shape)
        self.channels, self.size = out_channels, shape.out_height

    def act(self) -> None:
        elements = self.channels * self.size**2
        self.append(X2act(elements) if self.polynomial else Relu(elements))

    def pool(self, kernel: int, pad: int = 0) -> None:
        kind = AvgPool if self.polynomial else MaxPool
        shape = kind(self.channels, self.size, self.size, (kernel, kernel), (2, 2), (pad,) * 4)
        self.append(shape)
        self.size = shape.out_height

    def head(self) -> list[NamedOperator]:
        if self.size > 1:
            self.append(AvgPool(self.channels, self.size, self.size, (self.size, self.size), (1, 1)))
        self.append(Linear(self.channels, CLASSES))
        return self.operators


def _vgg16(net: _Network) -> None:
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            net.conv(width, 3)
            net.act()
        net.pool(2)


def _resnet(net: _Network, depths: tuple[int, ...], bottleneck: bool, plain_stem: bool = False) -> None:
    net.conv(64, 3)
    net.act()
    if not plain_stem:
        net.pool(3, pad=1)
    for stage, depth in enumerate(depths):
        for block in range(depth):
            _residual(net, 64 * 2**stage, 2 if stage and not block else 1, bottleneck)


def _residual(net: _Network, width: int, stride: int, bottleneck: bool) -> None:
    before = (net.channels, net.size)
    if bottleneck:
        net.conv(width, 1)
        net.act()
        net.conv(width, 3, stride)
        net.act()
        net.conv(4 * width, 1)
    else:
        net.conv(width, 3, stride)
        net.act()
        net.conv(width, 3)
    if before != (net.channels, net.size):
        net.conv(net.channels, 1, stride, of=before)
    net.append(Add(net.channels * net.size**2))
    net.act()


def _mobilenet_v2(net: _Network) -> None:
    net.conv(32, 3)
    net.act()
    for expansion, width, depth, first_stride in MOBILENET_BLOCKS:
        for block in range(depth):
            _inverted_residual(net, expansion, width, first_stride if not block else 1)
    net.conv(1280, 1)
    net.act()


def _inverted_residual(net: _Network, expansion: int, width: int, stride: int) -> None:
    before = (net.channels, net.size)
    if expansion > 1:
        net.conv(expansion * net.channels, 1)
        net.act()
    net.conv(net.channels, 3, stride, groups=net.channels)
    net.act()
    net.conv(width, 1)
    if before == (net.channels, net.size):
        net.append(Add(net.channels * net.size**2))


def paper_network(name: str, polynomial: bool) -> list[NamedOperator]:
    """Operators of one of `NETWORKS`, all ReLU + MaxPool or all X2act + AvgPool."""
    net = _Network(polynomial)
    if name == "vgg16":
        _vgg16(net)
    elif name == "mobilenet_v2":
        _mobilenet_v2(net)
    else:
        depths = {"resnet18": (2, 2, 2, 2)}.get(name, (3, 4, 6, 3))
        _resnet(net, depths, bottleneck=name == "resnet50")
    return net.head()


def plain_stem_resnet18(polynomial: bool) -> list[NamedOperator]:
    """The other ResNet-18 of the literature: no pooling after the stem, 557,056 activations."""
    net = _Network(polynomial)
    _resnet(net, (2, 2, 2, 2), bottleneck=False, plain_stem=True)
    return net.head()
