"""Runs inside the simulator: the truncation's streams driven from Python, each stalling at random."""

from __future__ import annotations

import random
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge

from rrnet_nni.fpga.hls.rtl.modules import BUS_WORDS

COUNT, BITS = 40, 12


def bus_words(generator: random.Random) -> list[int]:
    return [generator.getrandbits(32 * BUS_WORDS) for _ in range(COUNT)]


def lanes(word: int) -> list[int]:
    return [word >> 32 * lane & 0xFFFFFFFF for lane in range(BUS_WORDS)]


def expected_share(opened: int, zero: int, one: int) -> int:
    """Party 0's share of `masked`: (M >> s) − 2^(30−s) − ρ_t."""
    word = (opened + (1 << 30)) % 2**32
    return ((word >> BITS) - (1 << 30 - BITS) - (one if word >> 31 else zero)) % 2**32


async def send(dut: Any, name: str, words: list[int], generator: random.Random) -> None:
    valid, ready, data = (getattr(dut, f"{name}_{part}") for part in ("valid", "ready", "data"))
    for word in words:
        while generator.random() < 0.4:
            await FallingEdge(dut.clk)
        valid.value, data.value = 1, word
        while True:
            await RisingEdge(dut.clk)
            taken = int(ready.value)
            await FallingEdge(dut.clk)
            if taken:
                break
        valid.value = 0


async def receive(dut: Any, generator: random.Random) -> list[int]:
    words: list[int] = []
    while len(words) < COUNT:
        dut.s_ready.value = int(generator.random() < 0.6)
        await RisingEdge(dut.clk)
        if int(dut.s_ready.value) and int(dut.s_valid.value):
            words.append(int(dut.s_data.value))
        await FallingEdge(dut.clk)
    return words


@cocotb.test()
async def truncation_agrees_with_python(dut: Any) -> None:
    generator = random.Random(8)
    cocotb.start_soon(Clock(dut.clk, 5, unit="ns").start())
    dut.party0.value, dut.dealt_top.value, dut.bits.value = 1, 0, BITS
    dut.rst.value, dut.s_ready.value = 1, 0
    for name in "muv":
        getattr(dut, f"{name}_valid").value = 0
    for _ in range(4):
        await FallingEdge(dut.clk)
    dut.rst.value = 0
    streams = {name: bus_words(generator) for name in "muv"}
    for name, words in streams.items():
        cocotb.start_soon(send(dut, name, words, random.Random(name)))
    received = await receive(dut, generator)
    for opened, zero, one, share in zip(*streams.values(), received, strict=True):
        assert lanes(share) == [expected_share(*words) for words in zip(lanes(opened), lanes(zero), lanes(one))]
