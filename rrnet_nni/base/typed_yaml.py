"""YAML files read into frozen dataclasses: every mistake is refused with the file, the line and the key.

A dataclass says what is allowed by its type hints (int, float, str, bool, Literal, tuple, optional and nested
dataclasses) and by a `__post_init__` that raises `ValueError("<key> must …, not …")`, the key first.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from .errors import Refusal

Described = TypeVar("Described")


def read_yaml(
    path: Path, described: type[Described], derived: Mapping[type, Mapping[str, str]] | None = None
) -> Described:
    """Read `path` as one `described` dataclass.

    Args:
        derived: dataclass -> key -> reason, for keys that a file may not set because they follow from something else.

    Raises:
        Refusal: the file is missing, is not YAML, or holds an unknown key, a missing key, a wrong type or an
            impossible value; the sentence names file, line and key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Refusal(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(f"{path}: cannot be read ({error})") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise Refusal(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    if root is None:
        raise Refusal(f"{path}: the file is empty")
    return _Reader(path, derived or {}).dataclass(root, described, "")


class _Reader:
    """Walks YAML nodes rather than plain values, because only nodes know their lines."""

    def __init__(self, path: Path, derived: Mapping[type, Mapping[str, str]]) -> None:
        self._path = path
        self._derived = derived

    def refuse(self, node: yaml.Node, message: str) -> Refusal:
        return Refusal(f"{self._path}:{node.start_mark.line + 1}: {message}")

    def dataclass(self, node: yaml.Node, described: type[Described], prefix: str) -> Described:
        if not isinstance(node, yaml.MappingNode):
            raise self.refuse(node, f"{prefix.rstrip('.') or 'the file'} must be a mapping of keys to values")
        known: dict[str, Field[Any]] = {item.name: item for item in fields(described)}  # type: ignore[arg-type]
        hints = get_type_hints(described)
        derived = self._derived.get(described, {})
        values: dict[str, Any] = {}
        key_nodes: dict[str, yaml.Node] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key in derived:
                raise self.refuse(key_node, f"the key '{prefix}{key}' cannot be set: {derived[key]}")
            if key not in known:
                allowed = [name for name in known if name not in derived]
                close = get_close_matches(key, allowed, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(allowed)}"
                raise self.refuse(key_node, f"unknown key '{prefix}{key}'; {hint}")
            if key in values:
                raise self.refuse(key_node, f"the key '{prefix}{key}' stands here a second time")
            key_nodes[key] = key_node
            values[key] = self.value(value_node, hints[key], f"{prefix}{key}")
        for name, item in known.items():
            if name not in values and item.default is MISSING and item.default_factory is MISSING:
                raise self.refuse(node, f"the key '{prefix}{name}' is missing")
        try:
            return described(**values)
        except (ValueError, Refusal) as error:
            guilty = str(error).split(" ", 1)[0].strip("'`")
            if guilty in known:
                raise self.refuse(key_nodes.get(guilty, node), f"{prefix}{error}") from None
            section = f"{prefix.rstrip('.')}: " if prefix else ""
            raise self.refuse(node, f"{section}{error}") from None

    def value(self, node: yaml.Node, hint: Any, key: str) -> Any:
        origin = get_origin(hint)
        if origin in (Union, types.UnionType):
            if (
                isinstance(node, yaml.ScalarNode)
                and node.tag == "tag:yaml.org,2002:null"
                and type(None) in get_args(hint)
            ):
                return None
            inner = [option for option in get_args(hint) if option is not type(None)]
            return self.value(node, inner[0] if len(inner) == 1 else Union[tuple(inner)], key)  # noqa: UP007
        if is_dataclass(hint) and isinstance(hint, type):
            return self.dataclass(node, hint, f"{key}.")
        if origin in (tuple, list):
            return self.sequence(node, hint, key)
        if origin in (dict, Mapping):
            return self.mapping(node, hint, key)
        return self.scalar(node, hint, key)

    def sequence(self, node: yaml.Node, hint: Any, key: str) -> tuple[Any, ...]:
        if not isinstance(node, yaml.SequenceNode):
            raise self.refuse(node, f"'{key}' must be a list")
        arguments = get_args(hint)
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            expected = [arguments[0]] * len(node.value)
        else:
            expected = list(arguments)
            if len(expected) != len(node.value):
                raise self.refuse(node, f"'{key}' must have {len(expected)} entries, not {len(node.value)}")
        return tuple(self.value(item, kind, f"{key}[{i}]") for i, (item, kind) in enumerate(zip(node.value, expected)))

    def mapping(self, node: yaml.Node, hint: Any, key: str) -> dict[str, Any]:
        if not isinstance(node, yaml.MappingNode):
            raise self.refuse(node, f"'{key}' must be a mapping")
        kind = get_args(hint)[1]
        return {str(name.value): self.value(item, kind, f"{key}.{name.value}") for name, item in node.value}

    def scalar(self, node: yaml.Node, hint: Any, key: str) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            raise self.refuse(node, f"'{key}' must be one value")
        value = yaml.SafeLoader("").construct_object(node)  # type: ignore[no-untyped-call]
        if get_origin(hint) is Literal:
            if value not in get_args(hint):
                allowed = ", ".join(str(option) for option in get_args(hint))
                raise self.refuse(node, f"'{key}' must be one of {allowed}, not {node.value!r}")
            return value
        if hint is float:
            return self.number(node, value, key)
        if hint is int and (not isinstance(value, int) or isinstance(value, bool)):
            raise self.refuse(node, f"'{key}' must be a whole number, not {node.value!r}")
        if hint is bool and not isinstance(value, bool):
            raise self.refuse(node, f"'{key}' must be true or false, not {node.value!r}")
        if hint is str and not isinstance(value, str):
            raise self.refuse(node, f"'{key}' must be text, not {node.value!r}")
        if hint is Path:
            return Path(str(node.value))
        return value

    def number(self, node: yaml.ScalarNode, value: Any, key: str) -> float:
        if isinstance(value, str):
            # YAML 1.1 reads 1e-3 as text; people mean the number.
            try:
                value = float(value)
            except ValueError:
                raise self.refuse(node, f"'{key}' must be a number, not {node.value!r}") from None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refuse(node, f"'{key}' must be a number, not {node.value!r}")
        if not math.isfinite(value):
            raise self.refuse(node, f"'{key}' must be a finite number, not {node.value!r}")
        return float(value)
