import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.program import isa
from rrnet_nni.fpga.program.isa import Instruction, Opcode, Queue, decode_instructions, encode_instructions

WORD = st.integers(0, 2**32 - 1)
HALF = st.integers(0, 2**16 - 1)
WAITS = st.lists(st.tuples(st.sampled_from(Queue), st.integers(1, 2**28 - 1)), max_size=isa.WAITS).map(tuple)


@st.composite
def instructions(draw: st.DrawFn) -> Instruction:
    queue = draw(st.sampled_from(Queue))
    opcode = draw(st.sampled_from((Opcode.WAIT, isa.QUEUE_OPCODE[queue])))
    return Instruction(
        opcode, queue, draw(HALF), draw(HALF), draw(HALF), draw(WAITS), draw(WORD), draw(WORD), draw(WORD)
    )


@given(st.lists(instructions(), max_size=20))
def test_instructions_decode_to_what_was_encoded(program: list[Instruction]) -> None:
    data = encode_instructions(program, b"digest")
    assert len(data) == 32 * (len(program) + 1)
    assert decode_instructions(data) == program


@given(st.lists(instructions(), min_size=1, max_size=5), st.data())
def test_any_changed_or_missing_byte_is_refused(program: list[Instruction], data: st.DataObject) -> None:
    encoded = bytearray(encode_instructions(program))
    position = data.draw(st.integers(0, len(encoded) - 1))
    if not 20 <= position < 32:  # the program's digest is compared by whoever has the program
        encoded[position] ^= data.draw(st.integers(1, 255))
        with pytest.raises(Refusal):
            decode_instructions(bytes(encoded))
    with pytest.raises(Refusal):
        decode_instructions(bytes(encoded[:position]))


def test_the_c_header_in_the_tree_is_the_one_that_the_table_generates() -> None:
    header = Path(isa.__file__).parents[1] / "hls" / "rrnet_isa.h"
    assert header.read_text() == isa.c_header()


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_the_c_structs_have_the_sizes_and_fields_of_the_encoding(tmp_path: Path) -> None:
    source = tmp_path / "check.cpp"
    offsets = isa.INSTRUCTION.size
    checks = [f"static_assert(sizeof(rrnet_instruction) == {offsets});", "static_assert(sizeof(rrnet_header) == 32);"]
    position = 0
    for name, _, code, _ in isa.FIELDS:
        checks.append(f"static_assert(offsetof(rrnet_instruction, {name}) == {position});")
        position += {"B": 1, "H": 2, "I": 4}[code]
    checks.append(f"static_assert(RRNET_OP_RECEIVE == {Opcode.RECEIVE});")
    source.write_text("#include <cstddef>\n#include <rrnet_isa.h>\n" + "\n".join(checks) + "\nint main() {}\n")
    include = Path(isa.__file__).parents[1] / "hls"
    subprocess.run(["g++", "-std=c++17", "-fsyntax-only", f"-I{include}", str(source)], check=True)
