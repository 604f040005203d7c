"""Faults of what the server's owner chose to keep: coefficients, what is revealed, how often."""

from __future__ import annotations

from kinds import Mutation, one

REVEALED = "tests/fpga/program/test_revealed.py"
SESSION = "tests/fpga/runtime/session"
COEFFICIENTS = "tests/fpga/compiler/test_secret_coefficients.py"

POLICIES: tuple[Mutation, ...] = (
    one(
        "the slope of a secret polynomial is a public scale",
        f"{COEFFICIENTS}::test_models_that_differ_in_their_polynomials_alone_have_the_same_client_part",
        "fpga/compiler/passes/secret_coefficients.py",
        "[square, curve, slope, Combine(node.name, (curve.output, slope.output), node.output, (one, one))]",
        "[square, curve, Combine(node.name, (curve.output, source), node.output, (one, node.linear))]",
    ),
    one(
        "a party with the argmax policy takes part in a build that opens logits",
        f"{SESSION}/test_output_policy.py::test_the_argmax_policy_refuses_a_build_that_opens_logits_and_the_other_way_round",
        "fpga/runtime/session/output_policy.py",
        "    if (policy == ARGMAX) != (program.reveals == ARGMAX):\n",
        "    if policy != ARGMAX and program.reveals == ARGMAX:\n",
    ),
    one(
        "an argmax is what a program says of itself",
        f"{REVEALED}::test_a_program_that_says_argmax_and_computes_something_else_is_refused",
        "fpga/program/revealed.py",
        "    if program.reveals != ARGMAX:\n        return\n",
        "    return\n",
    ),
    one(
        "the argmax shows ties",
        f"{REVEALED}::test_the_program_gives_a_one_for_the_first_of_the_largest",
        "fpga/program/revealed.py",
        "ReshapeOp(hot, (first,), hot)",
        "ReshapeOp(hot, (reached,), hot)",
    ),
    one(
        "a set takes the modulus that hides one of its images",
        f"{SESSION}/test_two_party_prepare.py::test_a_set_takes_the_smallest_modulus_under_which_all_of_its_images_keep_forty_bits",
        "fpga/protocols/shared/preparation.py",
        "if statistical_bits(program, images, each) >= STATISTICAL_BITS)",
        "if statistical_bits(program, 1, each) >= STATISTICAL_BITS)",
    ),
    one(
        "a quota is forgotten with the session",
        f"{SESSION}/test_quota.py::test_a_quota_holds_over_processes_and_identities_have_their_own",
        "fpga/runtime/session/quota.py",
        "            write_durably(self.directory / LEDGER, json.dumps(used, sort_keys=True).encode())\n",
        "",
    ),
    one(
        "a session does not ask for its quota",
        f"{SESSION}/test_quota.py::test_a_client_without_quota_is_told_so_and_no_material_is_used",
        "fpga/runtime/session/session.py",
        "            self._quota.claim(count)\n",
        "            pass\n",
    ),
)
