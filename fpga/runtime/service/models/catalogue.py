"""The models of a server by name, and the file that lists them, which may change while the server runs."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, Mapping, Sequence, ValuesView
from pathlib import Path

from rrnet_nni.base.errors import Refusal

from .model import Model


class Catalogue(Mapping[str, Model]):
    """A server's models; several threads read it, and see it before or after a change, never between.

    Args:
        load: reads what is listed and opens it, afresh each time.

    Raises:
        Refusal: a listed model is none, or two have one name.
    """

    def __init__(self, load: Callable[[], Sequence[Model]]) -> None:
        self._load = load
        self._models: dict[str, Model] = {}
        added, _ = self.reload()
        for model in added:
            model.lanes.awaited = True

    def __getitem__(self, name: str) -> Model:
        return self._models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    def items(self) -> ItemsView[str, Model]:
        return self._models.items()  # of one moment, whatever comes and goes meanwhile

    def values(self) -> ValuesView[Model]:
        return self._models.values()

    def reload(self) -> tuple[list[Model], list[Model]]:
        """Take what is listed now; returns the models that are new and those that are no longer served.

        A model whose build was written anew is both. Where anything is refused nothing changes.
        """
        listed = self._load()
        models = {model.name: model for model in listed}
        if len(models) < len(listed):
            raise Refusal("two models have the same name: give them others, as NAME=BUILD")
        before = self._models
        for name in models.keys() & before.keys():
            if models[name].same_build(before[name]):
                models[name] = before[name]
        self._models = models
        kept = {id(model) for model in models.values()} & {id(model) for model in before.values()}
        return [each for each in models.values() if id(each) not in kept], [
            each for each in before.values() if id(each) not in kept
        ]


def read_list(path: Path) -> list[str]:
    """`[NAME=]BUILD` lines of a file, its relative paths from its own folder; blank lines and `#` comments are none."""
    try:
        lines = [line.partition("#")[0].strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(f"the list of models {path} cannot be read") from error
    return [_from_folder(line, path.parent) for line in lines if line]


def _from_folder(line: str, folder: Path) -> str:
    name, separator, build = line.partition("=")
    return f"{name.strip()}={folder / build.strip()}" if separator else str(folder / line)


def named_build(text: str) -> tuple[str, Path]:
    """`[NAME=]BUILD` as a name, by default the directory's, and a path; refuses what addresses could not hold."""
    name, separator, path = text.partition("=")
    build = Path(path if separator else text)
    name = name if separator else build.resolve().name
    if not name or not all(letter.isalnum() or letter in "-_." for letter in name):
        raise Refusal(f"{name!r} is no name of a model: letters, digits, - _ and . only")
    return name, build
