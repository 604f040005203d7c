"""Faults of what the server's owner chose to keep: coefficients, what is revealed, how often."""

from __future__ import annotations

from kinds import Mutation, one

COEFFICIENTS = "tests/fpga/compiler/test_secret_coefficients.py"

POLICIES: tuple[Mutation, ...] = (
    one(
        "the slope of a secret polynomial is a public scale",
        f"{COEFFICIENTS}::test_models_that_differ_in_their_polynomials_alone_have_the_same_client_part",
        "fpga/compiler/passes/secret_coefficients.py",
        "[square, curve, slope, Combine(node.name, (curve.output, slope.output), node.output, (one, one))]",
        "[square, curve, Combine(node.name, (curve.output, source), node.output, (one, node.linear))]",
    ),
)
