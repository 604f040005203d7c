"""Images that a task names, looked at before anything is imported that takes seconds or decoded that takes minutes."""

from __future__ import annotations

from ..options import DataOptions
from .data_sources import cifar
from .image_folder import check_heads, folder_of


def check_data(options: DataOptions) -> None:
    """Refuse images that a run would not find or not be able to decode, without decoding them all.

    Raises:
        Refusal: as `load_dataset`; of a folder only the heads of the files are read.
    """
    if options.name.startswith("cifar") and not options.download:
        cifar(options)
    if options.name == "folder":
        check_heads(folder_of(options))
