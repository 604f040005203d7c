"""`rrnet init`: look at a folder of images and write a task and an experiment for it, with sizes that suit it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rrnet_nni.base.console import add_common_options, print_json

EPILOG = """examples:
  rrnet init my_images           my_images/CLASS/*.jpg, or train/CLASS/* and test/CLASS/*
  rrnet init digits              the task that comes with the package, to begin with
  rrnet run my_images_experiment.yml
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("init", description=__doc__, epilog=EPILOG)
    parser.add_argument("images", type=Path, metavar="FOLDER", help="an image folder, or a task of the package")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path(), metavar="DIR", help="where the two files go (default: here)"
    )
    add_common_options(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    from rrnet_nni.base.files import output_folder

    from ..starting_files import packaged_text, write_starting_files

    output_folder(options.output)
    packaged = packaged_text(str(options.images))
    said: list[str] = []
    if packaged is not None and not options.images.is_dir():
        files = write_starting_files(str(options.images), packaged, options.output)
    else:
        from ..folder_task import describe_folder

        name, text, said = describe_folder(options.images, options.output)
        files = write_starting_files(name, text, options.output)
    for line in said:
        sys.stderr.write(f"{line}\n")
    if options.json:
        print_json({"task": str(files[0]), "experiment": str(files[1]), "said": said})
    else:
        print(f"wrote {files[0]} and {files[1]}; start with: rrnet run {files[1]}")
    return 0
