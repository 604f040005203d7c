"""Settings and records: documents read into frozen dataclasses, every mistake refused in one sentence.

A dataclass says what is allowed by its type hints, by bounds of `annotated_types` in them (`Count`, `Positive`), and by
a `__post_init__` that raises `WrongSetting("<key> must …, not …")`, the key first. pydantic checks; the sentence names
the key and, in a YAML file, the line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar, get_type_hints

from annotated_types import Ge, Gt, Lt

from .errors import Refusal
from .yaml_lines import Place, read_lines

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Described = TypeVar("Described")

Count: TypeAlias = Annotated[int, Ge(1)]
Natural: TypeAlias = Annotated[int, Ge(0)]
Positive: TypeAlias = Annotated[float, Gt(0)]
NotNegative: TypeAlias = Annotated[float, Ge(0)]
#: From 0 to below 1, and between them.
Share: TypeAlias = Annotated[float, Ge(0), Lt(1)]
OpenShare: TypeAlias = Annotated[float, Gt(0), Lt(1)]

#: What a value must be, by pydantic's name of the error.
_WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "literal_error": "one of {expected}",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "mapping_type": "a mapping of keys to values",
    "dataclass_type": "a mapping of keys to values",
    "dataclass_exact_type": "a mapping of keys to values",
    "none_required": "null",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "too_long": "a list of {max_length} entries",
}


class WrongSetting(Refusal, ValueError):
    """A value of a setting that cannot be; the sentence begins with the setting's name."""


class Mistake(ValueError):
    """What is wrong with a document, at which place of it."""

    def __init__(self, place: Place, sentence: str) -> None:
        super().__init__(sentence)
        self.place = place


def read_yaml(path: Path, described: type[Described], derived: Mapping[str, str] | None = None) -> Described:
    """Read `path` as one `described` dataclass.

    Args:
        derived: dotted key -> reason, for keys that a file may not set because they follow from something else.

    Raises:
        Refusal: the file is missing, is not YAML, or holds an unknown key, a missing key, a wrong type or an
            impossible value; the sentence names file, line and key.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise Refusal(f"{path}: there is no such file") from None
    except OSError as error:
        raise Refusal(f"{path}: cannot be read ({error.strerror})") from None
    return parse_yaml(data, str(path), described, derived)


def parse_yaml(
    data: bytes, where: str, described: type[Described], derived: Mapping[str, str] | None = None
) -> Described:
    """What a YAML file with this content says; `where` names it in refusals, as of `read_yaml`."""
    document, lines = read_lines(data, where)
    try:
        return checked(document, described, derived)
    except Mistake as mistake:
        raise Refusal(f"{where}:{_line(lines, mistake.place)}: {mistake}") from None


def refusal_at(path: Path, key: str, sentence: str) -> Refusal:
    """A refusal of what a file that could be read says under a top-level key."""
    _, lines = read_lines(path.read_bytes(), str(path))
    return Refusal(f"{path}:{_line(lines, (key,))}: {key}: {sentence}")


def read_json(path: Path, described: type[Described], what: str, schema: int | None = None) -> Described:
    """Read a JSON file as one `described` dataclass.

    Args:
        what: what such a file holds, as "an architecture".
        schema: value of its key `schema`, where it has one.

    Raises:
        Refusal: naming the file and the key.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Refusal(f"{path}: there is no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise Refusal(f"{path}: not a readable JSON file ({error})") from None
    if schema is not None and (not isinstance(document, dict) or document.pop("schema", None) != schema):
        raise Refusal(f"{path}: not {what} of schema {schema}")
    try:
        return checked(document, described)
    except Mistake as mistake:
        raise Refusal(f"{path}: not {what}: {mistake}") from None


def checked(document: Any, described: type[Described], derived: Mapping[str, str] | None = None) -> Described:
    """The dataclass that a document of JSON's values describes; lists become tuples where it says so.

    Raises:
        Mistake: the first one.
    """
    import pydantic

    for key, reason in (derived or {}).items():
        if _holds(document, tuple(key.split("."))):
            raise Mistake(tuple(key.split(".")), f"the key '{key}' cannot be set: {reason}")
    try:
        return _adapter(described).validate_json(json.dumps([document], default=str))[0]  # type: ignore[arg-type]
    except pydantic.ValidationError as error:
        mistakes = error.errors(include_url=False)
    first = min(mistakes, key=lambda one: one["type"] != "unexpected_keyword_argument")
    place = _place(document, first["loc"][1:], first["type"] in ("missing", "unexpected_keyword_argument"))
    raise _mistake(first, place, described, derived or {})


def check_settings(settings: Any) -> None:
    """Check the fields of a dataclass that a program made, for its `__post_init__`.

    Raises:
        WrongSetting: naming the first field that is not what its type hint says.
    """
    import pydantic

    for name, adapter in _field_adapters(type(settings)).items():  # type: ignore[arg-type]
        try:
            adapter.validate_python((getattr(settings, name),))
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise WrongSetting(f"{name} must be {_wanted(first)}, not {_shown(first['input'])}") from None


def unknown_key(key: str, known: Collection[str]) -> str:
    """The sentence about a key that is none, with the one that was probably meant."""
    close = get_close_matches(key.rsplit(".", 1)[-1], known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
    return f"unknown key {key!r:.60}; {hint}"


@lru_cache
def _adapter(described: Any) -> TypeAdapter[Any]:
    """Strict: a slip of the pen never becomes another value. A tuple, because plain dataclasses take no options."""
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(tuple[described], config=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))


@lru_cache
def _field_adapters(described: Any) -> dict[str, TypeAdapter[Any]]:
    hints = get_type_hints(described, include_extras=True)
    return {item.name: _adapter(hints[item.name]) for item in fields(described)}  # type: ignore[arg-type]


def _line(lines: Mapping[Place, int], place: Place) -> int:
    while place not in lines:
        place = place[:-1]
    return lines[place]


def _holds(document: Any, place: Place) -> bool:
    for key in place:
        if not isinstance(document, dict) or key not in document:
            return False
        document = document[key]
    return True


def _place(document: Any, location: Place, absent: bool) -> Place:
    """The part of pydantic's location that the document has: it also names the alternatives of a union."""
    place: list[int | str] = []
    for key in location:
        try:
            document = document[key]
        except (KeyError, IndexError, TypeError):
            continue
        place.append(key)
    return (*place, location[-1]) if absent and place != list(location) else tuple(place)


def _mistake(error: Any, place: Place, described: type, derived: Mapping[str, str]) -> Mistake:
    kind, key = error["type"], _dotted(place)
    if kind == "unexpected_keyword_argument":
        holder = _dotted(place[:-1])
        prefix = f"{holder}." if holder else ""
        known = [name for name in _keys(described, place[:-1]) if f"{prefix}{name}" not in derived]
        return Mistake(place, unknown_key(key, known))
    if kind == "missing" and isinstance(place[-1], int):
        return Mistake(place[:-1], f"'{_dotted(place[:-1])}' has too few entries")
    if kind == "missing":
        return Mistake(place[:-1], f"the key '{key}' is missing")
    if kind == "value_error":
        sentence = str(error["ctx"]["error"])
        guilty = sentence.split(" ", 1)[0].strip("'`:")
        if guilty in _keys(described, place):
            return Mistake((*place, guilty), f"{key}.{sentence}" if key else sentence)
        return Mistake(place, f"{key}: {sentence}" if key else sentence)
    if not place:
        return Mistake(place, f"it must be {_wanted(error)}, not {_shown(error['input'])}")
    return Mistake(place, f"'{key}' must be {_wanted(error)}, not {_shown(error['input'])}")


def _keys(described: Any, place: Place) -> list[str]:
    """The keys that the dataclass at this place of a document takes."""
    for key in place:
        if isinstance(key, int):
            continue  # an entry of a list, whose kind was taken with the list's own key
        if not is_dataclass(described):
            return []
        described = get_type_hints(described).get(key)
        kinds = [kind for kind in getattr(described, "__args__", ()) if is_dataclass(kind)]
        described = kinds[0] if kinds else described
    return [item.name for item in fields(described)] if is_dataclass(described) else []


def _wanted(error: Any) -> str:
    context = {name: _plain(value) for name, value in error.get("ctx", {}).items()}
    if "expected" in context:
        context["expected"] = re.sub(r"'([^']*)'", r"\1", str(context["expected"])).replace(" or ", ", ")
    if error["type"] not in _WANTED:
        return f"something else ({error['msg']})"
    return _WANTED[error["type"]].format(**context)


def _dotted(place: Place) -> str:
    text = ""
    for key in place:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text


def _plain(bound: Any) -> Any:
    return int(bound) if isinstance(bound, float) and bound.is_integer() else bound


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return f"{value!r:.60}"
