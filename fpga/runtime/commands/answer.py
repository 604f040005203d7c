"""What a run tells its user: one dictionary for programs, a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rrnet_nni.base.image_format import ImageFormat

from ...program import ARGMAX, Program
from ...program.heads import apply_head
from ...program.reference import decode
from ...protocols import preparations
from ...protocols.party import Execution
from ...protocols.shared.preparation import PreparationTraffic
from ..material.party_set import DEALER, TWO_PARTY, SetDescription
from ..session.accounting import MeasuredOperation, Prediction, peak_memory_mb, predict
from ..session.agreement import Terms
from ..session.inputs import ClientImages
from ..session.pacing import DEVICE_CLOCK
from ..session.session import SessionResult

#: Material and work of a batch beyond which it is cut, so that a party stays below 2 GB with its weights.
BATCH_BYTES = 1280 << 20
#: Images whose class is printed.
SHOWN = 10


_MAKERS = {DEALER: "a dealer that both parties trust", TWO_PARTY: "the two parties alone"}


def default_batch(execution: Execution, program: Program) -> int:
    """Images that are evaluated at once."""
    return max(1, BATCH_BYTES // max(1, execution.bytes_per_image(program)))


def describe_run(
    number: int,
    program: Program,
    execution: Execution,
    terms: Terms,
    result: SessionResult,
    material: SetDescription,
) -> dict[str, Any]:
    """The answer of one party; bytes are counted at its own end of the link, both directions."""
    predicted = predict(execution, program, list(result.batches), terms.reveal_to)
    images = sum(result.batches)
    kinds = {operation.name: operation.kind for operation in program.operations}
    if material.preprocessing == TWO_PARTY:
        offline = {each.operation: each.bytes_sent for each in _prepared(execution, program, images, material)}
    else:
        offline = {traffic.operation: traffic.offline_bytes for traffic in execution.traffic(program, images)}
    operations = []
    for row in result.rows:
        expected = predicted.get((row.phase, row.operation), Prediction(0, (0, 0)))
        operations.append(
            {
                "operation": row.operation,
                "kind": kinds.get(row.operation, "session"),
                "phase": row.phase,
                "rounds": row.rounds,
                "predicted_rounds": expected.rounds,
                "bytes_sent": _both_ways(number, row),
                "predicted_bytes": list(expected.bytes_sent),
                "offline_bytes": list(offline.get(row.operation, (0, 0))) if row.phase == "online" else [0, 0],
                "time_ms": 1e3 * row.seconds,
                "waited_ms": 1e3 * row.waited_s,
            }
        )
    counters = result.counters
    sent = [counters.bytes_sent, counters.bytes_received]
    return {
        "party": number,
        "protocol": execution.name,
        "images": images,
        "batches": list(result.batches),
        "strands": result.strands,
        "online_s": result.online_s,
        "setup_s": result.setup_s,
        "offline_s": material.dealt_s * images / material.count + result.prepare_s,
        "clock": "wall",
        "bytes_sent": sent if number == 0 else sent[::-1],
        "predicted_bytes": [sum(entry.bytes_sent[party] for entry in predicted.values()) for party in (0, 1)],
        "overhead_bytes": counters.overhead_bytes,
        "rounds": sum(row.rounds for row in result.rows),
        "messages": counters.messages,
        "preprocessing": material.preprocessing,
        "offline_bytes": _offline_bytes(offline, material, images),
        "memory_mb": {str(number): peak_memory_mb()},
        "reveal_to": terms.reveal_to,
        "reveal": terms.reveal,
        "logits": None if result.logits is None else _decode(result.logits, program).tolist(),
        **_headed(result.logits, program),
        "operations": operations,
    }


def _prepared(
    execution: Execution, program: Program, images: int, material: SetDescription
) -> Sequence[PreparationTraffic]:
    """What the parties sent for these images, as part of their set."""
    preparation = preparations()[execution.name]
    return preparation.traffic(program, images, preparation.manner(program, material.count))


def _offline_bytes(offline: Mapping[str, tuple[int, int]], material: SetDescription, images: int) -> list[int]:
    """What a dealer handed to each party, or what each party sent to the other one, for these images."""
    if material.preprocessing == TWO_PARTY:
        return [round(sent * images / material.count) for sent in material.exchanged_bytes]
    return [sum(pair[party] for pair in offline.values()) for party in (0, 1)]


def _both_ways(number: int, row: MeasuredOperation) -> list[int]:
    pair = [row.bytes_sent, row.bytes_received]
    return pair if number == 0 else pair[::-1]


def _headed(words: np.ndarray | None, program: Program) -> dict[str, Any]:
    """The model's own outputs, where operators after the logits are applied in the clear."""
    if not program.head or words is None:
        return {}
    return {"head": list(program.head), "outputs": apply_head(_decode(words, program), program.head).tolist()}


def _decode(words: np.ndarray, program: Program) -> np.ndarray:
    return decode(np.ascontiguousarray(words), program.tensor(program.output).fraction_bits)


def recognized(
    logits: list[list[float]] | None, known: ImageFormat | None, images: ClientImages, reveal: str
) -> dict[str, Any]:
    """Class names of opened logits, and the accuracy where the right classes are known.

    Probabilities too, unless the argmax alone was opened (`reveal`): a one for the class and zeros.
    """
    if logits is None:
        return {}
    flat = np.asarray(logits, dtype=np.float64).reshape(len(images.words), -1)
    best = flat.argmax(axis=1)
    scaled = np.exp(flat - flat.max(axis=1, keepdims=True))
    probabilities = (scaled / scaled.sum(axis=1, keepdims=True)).max(axis=1)
    classes = known.classes if known is not None and len(known.classes) == flat.shape[1] else ()
    predictions = [
        {
            "image": images.names[index] if images.names else str(index),
            "class": classes[label] if classes else str(label),
            "probability": None if reveal == ARGMAX else float(probabilities[index]),
        }
        for index, label in enumerate(best)
    ]
    found: dict[str, Any] = {"classes": list(classes), "predictions": predictions}
    if images.labels is not None:
        labelled = images.labels >= 0
        found["accuracy"] = float((best == images.labels)[labelled].mean())
    return found


def table(answer: Mapping[str, Any]) -> str:
    """The answer for people: one line per operation, then the sums."""
    lines = [f"{'operation':32} {'kind':9} {'rounds':>6} {'sent by 0':>12} {'sent by 1':>12} {'ms':>9}"]
    for row in answer["operations"]:
        if row["phase"] == "prepare":  # without messages; its time is the offline one
            continue
        name = row["operation"] if row["phase"] == "online" else f"{row['operation']} (setup)"
        lines.append(
            f"{name[:32]:32} {row['kind']:9} {row['rounds']:6d} {row['bytes_sent'][0]:12,} "
            f"{row['bytes_sent'][1]:12,} {row['time_ms']:9.2f}"
        )
    sent, predicted = answer["bytes_sent"], answer["predicted_bytes"]
    agrees = "as predicted" if sent == predicted else f"predicted {predicted[0]:,} and {predicted[1]:,}"
    lines += [
        "",
        f"{answer['images']} images, {answer['protocol']}, preprocessing by {_MAKERS[answer['preprocessing']]}"
        f" ({answer.get('preprocessing_source', 'prepared')})",
        f"online {answer['online_s']:.3f} s, set-up {answer['setup_s']:.3f} s, offline {answer['offline_s']:.3f} s"
        f" ({answer['clock']} clock)",
        *_paced_lines(answer),
        f"{answer['rounds']} rounds{_parts(answer)};"
        f" bytes sent {sent[0]:,} by party 0 and {sent[1]:,} by party 1, {agrees}",
    ]
    if answer["logits"] is None:
        what = "argmax was" if answer["reveal"] == ARGMAX else "logits were"
        lines.append(f"the {what} opened to party {answer['reveal_to']} alone")
    else:
        lines += _class_lines(answer) if answer.get("classes") else _logits_lines(answer)
        if "head" in answer and answer["reveal"] != ARGMAX:
            lines.append(f"{' of '.join(reversed(answer['head']))} of the logits, in the clear by this party:")
            lines += [_output_line(index, row) for index, row in enumerate(answer["outputs"][:SHOWN])]
        if len(answer["logits"]) > SHOWN:
            lines.append(f"... and {len(answer['logits']) - SHOWN} more (--json or --output has all)")
        if "accuracy" in answer:
            lines.append(f"accuracy {answer['accuracy']:.1%}")
    return "\n".join(lines)


def _parts(answer: Mapping[str, Any]) -> str:
    """Rounds of parts that go side by side cost no time of their own, so say how many do."""
    count, strands = len(answer["batches"]), answer["strands"]
    if count == 1:
        return ""
    return f" in {count} parts, " + (f"{strands} side by side" if strands > 1 else "one after the other")


def _paced_lines(answer: Mapping[str, Any]) -> list[str]:
    """What the model of the two boards says, where an execution was paced by it."""
    if "modelled_s" not in answer:
        return []
    kept = "kept" if answer["clock"] == DEVICE_CLOCK else "missed: this machine is slower"
    return [f"two boards would take {answer['modelled_s']:.4f} s online; {kept} ({answer['late_s']:.4f} s late)"]


def _logits_lines(answer: Mapping[str, Any]) -> list[str]:
    lines = []
    for index, logits in enumerate(answer["logits"][:SHOWN]):
        flat = np.asarray(logits).reshape(-1)
        best = int(np.argmax(flat))
        logit = "" if answer["reveal"] == ARGMAX else f" (logit {flat[best]:.4f})"
        lines.append(f"image {index}: class {best}{logit}")
    return lines


def _class_lines(answer: Mapping[str, Any]) -> list[str]:
    return [
        f"{shown['image']}: {shown['class']}"
        + ("" if shown["probability"] is None else f" ({shown['probability']:.1%})")
        for shown in answer["predictions"][:SHOWN]
    ]


def _output_line(index: int, output: Any) -> str:
    values = np.asarray(output)
    if values.ndim == 0 or values.dtype.kind == "i":
        return f"image {index}: {values.tolist()}"
    best = int(np.argmax(values.reshape(-1)))
    return f"image {index}: {values.reshape(-1)[best]:.4f} for class {best}"
