"""Files of tensors, as `torch.save` writes them, read without executing code."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any


class UnreadableTensors(ValueError):
    """A file that is damaged or something else; the text is a word for what was found."""


def read_tensors(path: Path) -> Any:
    """What was saved, on the CPU, whole and as it was written.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableTensors: it is no such file, or any byte of its tensors has changed.
    """
    import torch

    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:  # torch itself does not look at the checksums
                    raise UnreadableTensors("a checksum is wrong")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a damaged file torch advises to ask for support of its pickle protocol
            return torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, UnreadableTensors):
        raise
    except Exception as error:
        # a damaged file makes zipfile, torch and the reader of its pickles raise whatever they like
        raise UnreadableTensors(type(error).__name__) from error
