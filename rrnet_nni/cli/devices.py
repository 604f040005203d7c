"""`rrnet devices`: the device descriptions, and where every constant comes from."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from rrnet_nni.base.console import add_common_options, print_json
from rrnet_nni.base.tables import text_table
from rrnet_nni.fpga.cost.budget import chip_use
from rrnet_nni.fpga.devices import Device, device_names, load_device

EXAMPLE = """\
examples:
  rrnet devices
  rrnet devices zcu104
  rrnet devices mine.yaml --json
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "devices",
        description="List the devices that come with the package, or the constants of one and where they come from.",
        epilog=EXAMPLE,
    )
    parser.add_argument("device", nargs="?", help="name or .yaml file of a device (default: list all)")
    add_common_options(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    if options.device is None:
        devices = [load_device(name) for name in device_names()]
        if options.json:
            print_json([_answer(device) for device in devices])
        else:
            print(text_table(("device", ""), [(one.name, one.description) for one in devices], left=2), end="")
        return 0
    device = load_device(options.device)
    if options.json:
        print_json(_answer(device))
        return 0
    rows = [
        (key, f"{value:g}", device.provenance[key].kind, device.provenance[key].source)
        for key, value in device.constants().items()
    ]
    print(f"{device.name}: {device.description}\n")
    print(text_table(("constant", "value", "known by", "source"), rows, left=4), end="")
    used = chip_use(device)
    print(
        f"\nkernels, estimated from synthesised blocks: {used.dsp_blocks:,.0f} DSP blocks ({used.dsp_share:.0%}),"
        f" {used.luts:,.0f} look-up tables ({used.lut_share:.0%}): {'fits' if used.fits else 'does not fit'} the chip"
    )
    return 0


def _answer(device: Device) -> dict[str, Any]:
    used = chip_use(device)
    return {
        "name": device.name,
        "description": device.description,
        "estimated_resources": {**asdict(used), "fits": used.fits},
        "constants": {
            key: {"value": value, "provenance": device.provenance[key].kind, "source": device.provenance[key].source}
            for key, value in device.constants().items()
        },
    }
