"""Faults of security that no wrong result shows: what is edited, and the test that must fail then.

Each is applied to a scratch copy of the package. Results stay right under all of them: only what the parties reveal
changes, so that no test of correctness would notice.
"""

from __future__ import annotations

from kinds import Edit, Mutation, one
from openings import OPENINGS
from policies import POLICIES

SECURITY = "tests/fpga/protocols/test_security.py"
KEYS = "tests/fpga/protocols/shared/test_randomness.py"
TRANSFERS = "tests/fpga/protocols/shared/oblivious_transfer/test_transfer_coins.py"
SILENT = "tests/fpga/protocols/shared/oblivious_transfer/test_silent_coins.py"
CIPHERTEXTS = "tests/fpga/protocols/shared/lattice/test_ciphertext_coins.py"
SESSIONS = "tests/fpga/runtime/session/test_session_coins.py"
PREPARATION = "tests/fpga/runtime/session/test_two_party_prepare_noise.py"
SEEDS = "tests/fpga/runtime/material/test_dealer_seeds.py"
TLS = "tests/fpga/runtime/link/test_tls_directions.py"
RANDOMNESS = "fpga/protocols/shared/randomness.py"
ENCRYPTION = "fpga/protocols/shared/lattice/encryption.py"
OT = "fpga/protocols/shared/oblivious_transfer"

MUTATIONS = (
    *OPENINGS,
    *POLICIES,
    one(
        "all operations of an image have one stream",
        f"{SECURITY}::test_no_mask_is_used_twice",
        RANDOMNESS,
        "nonce = operation.to_bytes(8, ",
        "nonce = (0 * operation).to_bytes(8, ",
    ),
    one(
        "flooding is left out",
        f"{CIPHERTEXTS}::test_flooding_fills_the_whole_interval_that_is_decrypted",
        ENCRYPTION,
        "        limbs = self._private.masks(count * len(places), modulus.mask_bits)\n",
        "        limbs = self._private.masks(count * len(places), modulus.mask_bits)\n"
        "        limbs[0] &= np.uint64(2**32 - 1)\n        limbs[1:] = 0\n",
    ),
    one(
        "fresh ciphertexts have no error",
        f"{CIPHERTEXTS}::test_every_fresh_ciphertext_has_its_whole_error_and_one_of_its_own",
        ENCRYPTION,
        "+ float(PLAIN) * self._private.errors(DEGREE, len(part))",
        "+ 0 * self._private.errors(DEGREE, len(part))",
    ),
    one(
        "fresh ciphertexts have a smaller error",
        f"{CIPHERTEXTS}::test_every_fresh_ciphertext_has_its_whole_error_and_one_of_its_own",
        "fpga/protocols/shared/lattice/sampling.py",
        "address(words), words.size, ERROR_BITS, address(values)",
        "address(words), words.size, ERROR_BITS // 2, address(values)",
    ),
    one(
        "rerandomization has no error",
        f"{CIPHERTEXTS}::test_rerandomization_takes_a_fresh_ternary_factor_and_a_fresh_error",
        ENCRYPTION,
        "        sums[1] += float(PLAIN) * self._private.errors(DEGREE, LANES)\n",
        "        self._private.errors(DEGREE, LANES)\n",
    ),
    one(
        "rerandomization multiplies by a constant",
        f"{CIPHERTEXTS}::test_rerandomization_takes_a_fresh_ternary_factor_and_a_fresh_error",
        ENCRYPTION,
        "        ternary = self._private.ternary(DEGREE, LANES)\n",
        "        ternary = np.ones_like(self._private.ternary(DEGREE, LANES))\n",
    ),
    one(
        "the OT extension's Δ is constant",
        f"{TRANSFERS}::test_the_senders_secret_is_fresh_and_uniform_in_every_run",
        f"{OT}/punctured_seeds.py",
        "    secret = np.frombuffer(os.urandom(BLOCKS), np.uint8) % LEAVES\n",
        "    secret = np.arange(7, 7 + BLOCKS, dtype=np.uint8) * np.uint8(11) % LEAVES\n",
    ),
    one(
        "the roots of the OT extension's trees are constant",
        f"{TRANSFERS}::test_every_leaf_of_every_tree_of_every_run_differs",
        f"{OT}/punctured_seeds.py",
        "np.frombuffer(os.urandom(BLOCKS * KEY_BYTES), np.uint8)",
        "np.arange(BLOCKS * KEY_BYTES).astype(np.uint16).astype(np.uint8)",
    ),
    one(
        "the receiver's scalars of base OTs are constant",
        f"{TRANSFERS}::test_every_point_of_two_runs_of_base_transfers_differs",
        f"{OT}/base_ot.py",
        "    secrets = [_scalar() for _ in choices]\n",
        "    secrets = [bytes([7, *bytes(31)])] * len(choices)\n",
    ),
    one(
        "the sender's scalar of base OTs is constant",
        f"{PREPARATION}::test_two_preparations_with_the_same_seeds_say_nothing_twice_but_the_key_of_the_weights",
        f"{OT}/base_ot.py",
        "    secret = _scalar()\n",
        "    secret = bytes([7, *bytes(31)])\n",
    ),
    one(
        "two transfers are hashed under one number",
        f"{TRANSFERS}::test_no_transfer_is_hashed_under_another_ones_number",
        f"{OT}/extension.py",
        "            pads[8 * part.start : 8 * part.stop] = self._hash.pads(rows, self._numbered, NO_OFFSET, words)\n"
        "            self._numbered += len(rows)\n",
        "            pads[8 * part.start : 8 * part.stop] = self._hash.pads(rows, self._numbered, NO_OFFSET, words)\n"
        "            self._numbered = len(rows)\n",
    ),
    *(
        one(
            f"the roots of silent trees are {what}",
            f"{SILENT}::test_every_tree_of_every_expansion_and_run_grows_from_a_root_of_its_own",
            f"{OT}/silent.py",
            "        roots = np.frombuffer(fresh_bytes(CODE.trees * ROW_BYTES), np.uint64).reshape(-1, 2)\n",
            f"        roots = {roots}\n",
        )
        for what, roots in (
            ("the same in every expansion", "np.random.default_rng(0).integers(0, 2**64, (CODE.trees, 2), np.uint64)"),
            ("one root", "np.tile(np.frombuffer(fresh_bytes(ROW_BYTES), np.uint64), (CODE.trees, 1))"),
        )
    ),
    one(
        "the secret of the silent code is constant",
        f"{SILENT}::test_the_receiver_starts_every_run_from_choices_of_its_own",
        f"{OT}/silent.py",
        "        choices = np.frombuffer(fresh_bytes(CODE.kept // 8), np.uint8)\n",
        "        choices = np.random.default_rng(7).integers(0, 256, CODE.kept // 8, np.uint8)\n",
    ),
    Mutation(
        "silent transfers are hashed under the numbers of others",
        (
            Edit(
                f"{OT}/silent.py",
                "            self._numbered += len(rows)\n        return pads\n",
                "            self._numbered = len(rows)\n        return pads\n",
            ),
            Edit(
                f"{OT}/silent.py",
                "            self._numbered += len(rows)\n        return pads[0], pads[1]\n",
                "            self._numbered = len(rows)\n        return pads[0], pads[1]\n",
            ),
        ),
        f"{SILENT}::test_no_silent_transfer_is_hashed_under_another_ones_number",
    ),
    one(
        "the handshake's nonce is constant",
        f"{SESSIONS}::test_every_session_has_a_nonce_of_full_entropy",
        "fpga/runtime/session/agreement.py",
        '"nonce": fresh_bytes(16).hex()',
        '"nonce": bytes(16).hex()',
    ),
    one(
        "a preparation's nonce is constant",
        f"{SESSIONS}::test_every_preparation_has_a_nonce_of_full_entropy",
        "fpga/runtime/session/two_party_prepare.py",
        '"nonce": fresh_bytes(16).hex()',
        '"nonce": bytes(16).hex()',
    ),
    one(
        "the seeds that share images and weights are constant",
        f"{SESSIONS}::test_the_seeds_that_share_images_and_weights_have_full_entropy",
        "fpga/runtime/session/batches.py",
        "    seed = fresh_bytes(SEED_BYTES)\n",
        "    seed = bytes(SEED_BYTES)\n",
    ),
    one(
        "a party's share of the carries is zero",
        f"{TRANSFERS}::test_each_partys_shares_of_carries_are_balanced_fresh_and_independent_of_each_other",
        f"{OT}/carries.py",
        "    share = np.unpackbits(transfers.private_octets(images * octets)",
        "    share = np.unpackbits(0 * transfers.private_octets(images * octets)",
    ),
    one(
        "derived keys have half of the entropy",
        f"{KEYS}::test_keys_of_inferences_have_full_entropy_over_sets_and_over_indexes",
        RANDOMNESS,
        'info=b"rrnet-2pc " + label.encode()).derive(secret)',
        'info=b"rrnet-2pc " + label.encode()).derive(secret)[: length // 2] * 2',
    ),
    one(
        "fresh octets have half of the entropy",
        f"{KEYS}::test_fresh_octets_have_full_entropy",
        RANDOMNESS,
        "    return os.urandom(count)\n",
        "    half = os.urandom((count + 1) // 2)\n    return (half + bytes(b ^ 0x5C for b in half))[:count]\n",
    ),
    one(
        "keys come from half of a link",
        f"{KEYS}::test_every_octet_of_a_link_decides_its_key_and_the_next_link",
        RANDOMNESS,
        "label.encode()).derive(secret)",
        "label.encode()).derive(secret[:16])",
    ),
    one(
        "indexes repeat after 65,536 inferences",
        f"{KEYS}::test_no_two_of_a_million_inferences_share_a_key",
        "fpga/runtime/material/key_chain.py",
        "            link = octets[KEY_BYTES:]\n",
        "            link = octets[KEY_BYTES:] if len(keys) % 65_536 else self.link\n",
    ),
    one(
        "the link of a used inference stays on the disk",
        "tests/fpga/runtime/material/test_key_chain.py::test_a_partys_files_do_not_open_what_it_used",
        "fpga/runtime/material/store.py",
        "        write_used(self.path, start + count, following)\n",
        "        (self.path / f'before-{start}').write_bytes(read_keys(self.path).link)\n"
        "        write_used(self.path, start + count, following)\n",
    ),
    one(
        "the hash of comparison functions has the same keys in every set",
        "tests/fpga/protocols/masked/test_comparison_functions.py"
        "::test_every_set_has_keys_of_its_own_for_tree_and_leaves_and_both_parties_have_them",
        "fpga/protocols/masked/comparison_functions.py",
        '    return derive(set_id, "comparison tree"), derive(set_id, "comparison leaf")\n',
        '    return derive(b"set", "comparison tree"), derive(b"set", "comparison leaf")\n',
    ),
    one(
        "the dealer gives both parties one seed",
        f"{SEEDS}::test_the_two_seeds_of_a_set_are_independent_in_every_bit",
        "fpga/runtime/material/dealer.py",
        "return DealerSeeds((PartyKeys.fresh(), PartyKeys.fresh()), ",
        "return DealerSeeds((PartyKeys.fresh(),) * 2, ",
    ),
    one(
        "the dealer's seeds follow from each other by a hash",
        f"{SEEDS}::test_two_seeds_take_two_seeds_of_the_operating_systems_octets",
        "fpga/runtime/material/dealer.py",
        "return DealerSeeds((PartyKeys.fresh(), PartyKeys.fresh()), ",
        "first, hashed = PartyKeys.fresh(), __import__('hashlib').sha384\n"
        "        return DealerSeeds((first, PartyKeys.of_octets(hashed(first.octets).digest())), ",
    ),
    *(
        Mutation(
            f"the {side}'s side of TLS verifies nobody",
            (
                Edit("fpga/runtime/link/tls.py", "    context.verify_mode = ssl.CERT_REQUIRED\n", verify),
                Edit("fpga/runtime/link/tls.py", "        if shown in self.peers:\n", "        if True:\n"),
            ),
            f"{TLS}::test_a_{side}_refuses_a_strange_{other}_that_accepts_the_{side}",
        )
        for side, other, verify in (
            ("server", "client", "    context.verify_mode = ssl.CERT_NONE if server_side else ssl.CERT_REQUIRED\n"),
            ("client", "server", "    context.verify_mode = ssl.CERT_REQUIRED if server_side else ssl.CERT_NONE\n"),
        )
    ),
    one(
        "a certificate that the pinned one signed is accepted in its place",
        f"{TLS}::test_a_certificate_that_the_expected_one_signed_is_not_the_expected_one",
        "fpga/runtime/link/tls.py",
        "        if shown in self.peers:\n",
        "        if shown is not None:\n",
    ),
    one(
        "the listener takes whoever shakes hands first",
        "tests/fpga/runtime/link/test_listener.py::test_a_stranger_alone_is_not_taken_for_the_party",
        "fpga/runtime/link/listener.py",
        "        except (OSError, ValueError) as error:\n            raise Stranger(tls_problem(error)) from error\n",
        "        except (OSError, ValueError):\n            return 0\n",
    ),
)
