"""YAML as plain values, and the line of each."""

from __future__ import annotations

import re
from typing import Any, TypeAlias

import yaml

from .errors import Refusal

#: Keys and indexes from the top of a document down to a value.
Place: TypeAlias = tuple[int | str, ...]
#: Aliases can make a few lines stand for more values than a machine holds.
MOST_VALUES = 1_000_000


class _Loader(yaml.SafeLoader):
    """YAML 1.2's numbers: 1e-3 is one, where YAML 1.1 reads text."""


_Loader.yaml_implicit_resolvers = {
    first: list(pairs) for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(?:[0-9]+|[0-9]*\.[0-9]+)[eE][-+]?[0-9]+$"), list("-+.0123456789")
)


def read_lines(data: bytes, where: str) -> tuple[Any, dict[Place, int]]:
    """The document as dicts, lists and scalars, and place -> line, counted from 1.

    Raises:
        Refusal: it is no YAML, is empty, has a key twice, a key that is no text, or a node inside itself.
    """
    try:
        root = yaml.compose(data, Loader=_Loader)
        if root is None:
            raise Refusal(f"{where}: the file is empty")
        walk = _Walk(where)
        return walk.value(root, ()), walk.lines
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        words = ", ".join(filter(None, (error.context, error.problem)))
        raise Refusal(f"{where}{line}: not valid YAML ({words})") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise Refusal(f"{where}: not valid YAML ({' '.join(str(error).split())})") from None
    except RecursionError:
        raise Refusal(f"{where}: its values are nested too deep") from None


class _Walk:
    def __init__(self, where: str) -> None:
        self._where = where
        self._loader = _Loader("")
        self._open: set[int] = set()
        self._values = 0
        self.lines: dict[Place, int] = {}

    def value(self, node: yaml.Node, place: Place) -> Any:
        self.lines.setdefault(place, node.start_mark.line + 1)
        self._values += 1
        if self._values > MOST_VALUES:
            raise self._refusal(node, f"more than {MOST_VALUES} values")
        if isinstance(node, yaml.ScalarNode):
            return self._loader.construct_object(node)  # type: ignore[no-untyped-call]
        if id(node) in self._open:
            raise self._refusal(node, "a value holds itself")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*place, index)) for index, item in enumerate(node.value)]
            return self._mapping(node, place)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.Node, place: Place) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._refusal(key_node, "a key must be text")
            key = str(key_node.value)
            if key in values:
                dotted = ".".join(map(str, (*place, key)))
                raise self._refusal(key_node, f"the key '{dotted}' stands here a second time")
            self.lines[(*place, key)] = key_node.start_mark.line + 1
            values[key] = self.value(value_node, (*place, key))
        return values

    def _refusal(self, node: yaml.Node, sentence: str) -> Refusal:
        return Refusal(f"{self._where}:{node.start_mark.line + 1}: {sentence}")
