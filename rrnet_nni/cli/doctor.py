"""`rrnet doctor`: find what this machine lacks to run experiments or their trials, and what to do about it."""

from __future__ import annotations

import argparse
from pathlib import Path

from rrnet_nni.base.console import FAILED, add_common_options, print_json
from rrnet_nni.base.errors import Refusal

EPILOG = """examples:
  rrnet doctor                             can this machine search?
  rrnet doctor --task my_images.yml        and are the images of that task here?
  rrnet doctor --worker                    can it run trials for a manager elsewhere, over ssh?
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("doctor", description=__doc__, epilog=EPILOG)
    parser.add_argument("--task", type=Path, metavar="FILE", help="also check the images of this task")
    parser.add_argument("--gpus", type=int, default=0, metavar="N", help="GPUs that each trial needs")
    parser.add_argument("--port", type=int, default=0, help="port for NNI's manager (default: any)")
    parser.add_argument(
        "--worker", action="store_true", help="also check what a machine of a remote experiment needs: its ssh server"
    )
    parser.add_argument("--ssh-port", type=int, default=22, metavar="N", help="port of the ssh server (default: 22)")
    add_common_options(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    for name in ("port", "ssh_port"):
        if not 0 <= getattr(options, name) <= 65535:
            raise Refusal(f"--{name.replace('_', '-')} must be from 0 to 65535, not {getattr(options, name)}")
    if options.gpus < 0:
        raise Refusal(f"--gpus must be at least 0, not {options.gpus}")
    from ..machines.checkup import Needs, checkup
    from ..starting_files import task_named
    from ..task import load_task

    task = None if options.task is None else load_task(task_named(options.task))
    findings = []
    needs = Needs(task, options.gpus, options.port, options.ssh_port if options.worker else None)
    for finding in checkup(needs):
        findings.append(finding)
        if not options.json:
            print(f"{'MISSING' if finding.is_fault else 'ok':8}{finding}", flush=True)
    faults = sum(finding.is_fault for finding in findings)
    if options.json:
        shown = [
            {"subject": one.subject, "ok": not one.is_fault, "says": one.sentence, "mend": one.mend} for one in findings
        ]
        print_json({"ok": faults == 0, "findings": shown})
    elif faults:
        print(f"{faults} of {len(findings)} things are missing here")
    else:
        print("nothing is missing here")
    return FAILED if faults else 0
