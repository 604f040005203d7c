"""Who imports a node, and how: on views as they are, on the tensors behind them, or on tensors made of them."""

from __future__ import annotations

import onnx

from .importer import Importer, Unsupported
from .operators import ELEMENTWISE, IMPORTERS, READS_VIEWS, OperatorImporter
from .quantized import check_integers, pass_integers_on
from .views import View, base_of_all, factor_on_base, in_base_layout, materialize, put_view, view_of


def importer_for(node: onnx.NodeProto) -> OperatorImporter | None:
    """The importer of this operator, if there is one."""
    return IMPORTERS.get(_key(node))


def import_node(graph: Importer, node: onnx.NodeProto, operation: OperatorImporter) -> None:
    """Import one node.

    Raises:
        Unsupported: why it cannot be compiled.
    """
    _check_count(graph, node)
    check_integers(graph, node)
    viewed = [name for name in node.input if name in graph.views and name not in graph.names]
    if _key(node) in READS_VIEWS or not viewed:
        operation(graph, node)
    elif _key(node) not in ELEMENTWISE or not (
        _on_bases(graph, node, operation) or _factor_on_base(graph, node, operation)
    ):
        for name in viewed:
            materialize(graph, node, name)
        operation(graph, node)
    pass_integers_on(graph, node)


def _check_count(graph: Importer, node: onnx.NodeProto) -> None:
    """Refuse inputs that the operator does not have, which no importer would read, and too few of them."""
    if not onnx.defs.has(node.op_type, graph.opset, _key(node)[0]):
        return
    schema = onnx.defs.get_schema(node.op_type, graph.opset, _key(node)[0])
    count = len(node.input)
    if count < schema.min_input:
        raise Unsupported(f"it has {count} inputs, expected at least {schema.min_input}")
    if count > schema.max_input:
        raise Unsupported(f"it has {count} inputs, expected at most {schema.max_input}")


def _key(node: onnx.NodeProto) -> tuple[str, str]:
    return (node.domain if node.domain != "ai.onnx" else "", node.op_type)


def _factor_on_base(graph: Importer, node: onnx.NodeProto, operation: OperatorImporter) -> bool:
    """A product with a factor per channel, in whatever layout both are, on the tensors behind them."""
    names = [name for name in node.input if name in graph.views or name in graph.names]
    if node.op_type != "Mul" or len(names) != 2:
        return False
    views = sorted((view_of(graph, name) for name in names), key=lambda view: -view.index.size)
    factor = factor_on_base(graph, *views)
    if factor is None:
        return False
    moved = onnx.NodeProto()
    moved.CopyFrom(node)
    moved.input[:] = [views[0].base, factor]
    moved.output[0] = f"{node.output[0]}.inner"
    graph.names |= {base: base for base in moved.input}
    operation(graph, moved)
    put_view(graph, node.output[0], View(graph.names[moved.output[0]], views[0].index))
    return True


def _on_bases(graph: Importer, node: onnx.NodeProto, operation: OperatorImporter) -> bool:
    """Compute on the tensors behind the views; the result is the same view of the result's tensor."""
    names = [name for name in dict.fromkeys(node.input) if name in graph.views or name in graph.names]
    views = base_of_all(graph, names)
    if views is None:
        return False
    moved = onnx.NodeProto()
    moved.CopyFrom(node)
    bases = {name: view.base for name, view in zip(names, views, strict=True)}
    for position, name in enumerate(node.input):
        if name in bases:
            moved.input[position] = bases[name]
        elif name in graph.constants:
            moved.input[position] = f"{name}.as.{views[0].base}"
            graph.constants[moved.input[position]] = in_base_layout(graph, views[0], graph.constants[name])
    graph.names |= {base: base for base in bases.values()}
    moved.output[0] = f"{node.output[0]}.inner"
    operation(graph, moved)
    put_view(graph, node.output[0], View(graph.names[moved.output[0]], views[0].index))
    return True


__all__ = ["Unsupported", "import_node", "importer_for"]
