"""Faults in what is opened: without its mask, or two values under one mask."""

from __future__ import annotations

from kinds import Edit, Mutation

OPENED = "tests/fpga/protocols/test_opened_planes.py"
AND_TREE = "fpga/protocols/shared/and_tree.py"
PRODUCTS = "fpga/protocols/beaver_ot/products.py"
RANDOMNESS = "fpga/protocols/shared/randomness.py"
BALANCED = f"{OPENED}::test_every_opened_bit_is_balanced_and_independent_of_every_other_of_its_element"
UNIFORM = "tests/fpga/protocols/test_security.py::test_every_opened_value_is_uniform_whatever_the_input"

OPENINGS = (
    Mutation(
        "the sign's bit is opened without its mask (masked, masked-dcf)",
        (
            Edit("fpga/protocols/masked/comparison.py", ", width) ^ material.sign\n", ", width)\n"),
            Edit(
                "fpga/protocols/masked/onehot.py",
                "        return sign\n",
                "        return np.zeros_like(sign)\n",
            ),
            Edit(
                "fpga/protocols/masked/dcf.py",
                "return np.asarray(sources[0].planes(1, octets)[:, 0] ^ sources[1].planes(1, octets)[:, 0])",
                "return np.zeros_like(sources[0].planes(1, octets)[:, 0] ^ sources[1].planes(1, octets)[:, 0])",
            ),
        ),
        BALANCED,
    ),
    Mutation(
        "the choice of the multiplexer is opened without its mask (beaver-ot)",
        (
            Edit(
                "fpga/protocols/beaver_ot/comparison.py",
                "        choice, received_mask = source.planes(1, octets)[:, 0], source.words(elements)\n",
                "        choice, received_mask = 0 * source.planes(1, octets)[:, 0], source.words(elements)\n",
            ),
            Edit(
                "fpga/protocols/beaver_ot/comparison.py",
                "        choice, step = source.planes(1, octets)[:, 0], source.words(elements)\n",
                "        choice, step = 0 * source.planes(1, octets)[:, 0], source.words(elements)\n",
            ),
            Edit(
                "fpga/protocols/beaver_ot/comparison.py",
                "    choice, received_mask = sources[0].planes(1, octets)[:, 0], sources[0].words(elements)\n",
                "    choice, received_mask = 0 * sources[0].planes(1, octets)[:, 0], sources[0].words(elements)\n",
            ),
            Edit(
                "fpga/protocols/beaver_ot/comparison.py",
                "    other_choice, other_step = sources[1].planes(1, octets)[:, 0], sources[1].words(elements)\n",
                "    other_choice, other_step = 0 * sources[1].planes(1, octets)[:, 0], sources[1].words(elements)\n",
            ),
        ),
        BALANCED,
    ),
    Mutation(
        "a word and a plane are opened under one mask: the sign's mask is a bit of the word's",
        (
            Edit(
                "fpga/protocols/masked/onehot.py",
                "        sign = source.planes(1, octets)[:, 0]\n",
                "        sign = (source if number == 0 else dealt).planes(1, octets)[:, 0]\n",
            ),
            Edit(
                "fpga/protocols/masked/onehot.py",
                "        sign = sources[0].planes(1, octets)[:, 0] ^ sources[1].planes(1, octets)[:, 0]\n",
                "        sign = word_planes(mask ^ mask << np.uint32(2), 32)[:, 31]\n"
                "        writer.put(sign ^ sources[0].planes(1, octets)[:, 0])\n",
            ),
        ),
        BALANCED,
    ),
    Mutation(
        "two levels of an AND tree are opened under one mask",
        (
            Edit(
                AND_TREE,
                "        masks = source.planes(opened_planes, octets)\n",
                "        first = triples[0][0] if triples else source.planes(opened_planes, octets)\n"
                "        masks = first[:, :opened_planes]\n",
            ),
            Edit(
                AND_TREE,
                "        masks = sources[0].planes(opened_planes, octets) ^ sources[1].planes(opened_planes, octets)\n",
                "        if gates == and_tree(digits)[0][1]:\n"
                "            kept = np.bitwise_xor(*(each.planes(opened_planes, octets) for each in sources))\n"
                "        masks = kept[:, :opened_planes]\n",
            ),
        ),
        BALANCED,
    ),
    Mutation(
        "both factors of a product of two secrets are opened under one mask (beaver-ot)",
        (
            Edit(
                PRODUCTS,
                "        a, b = source.words(*x.shape[1:]), source.words(*y.shape[1:])\n",
                "        a = source.words(*x.shape[1:])\n"
                "        b = a if x.shape == y.shape else source.words(*y.shape[1:])\n",
            ),
            Edit(
                PRODUCTS,
                "        a, b = (sources[0].words(*shape) + sources[1].words(*shape) for shape in shapes)\n",
                "        a = sources[0].words(*shapes[0]) + sources[1].words(*shapes[0])\n"
                "        same = shapes[0] == shapes[1]\n"
                "        b = a if same else sources[0].words(*shapes[1]) + sources[1].words(*shapes[1])\n",
            ),
        ),
        BALANCED,
    ),
    Mutation(
        "both factors of a product of two secrets are opened under one mask (masked)",
        (
            Edit(
                "fpga/protocols/masked/masks.py",
                "            self.wires[operation.inputs[1]] = draw(operation.inputs[1])\n",
                "            second = draw(operation.inputs[1])\n"
                "            first = self.wires.get(operation.inputs[0], second)\n"
                "            self.wires[operation.inputs[1]] = first if first.shape == second.shape else second\n",
            ),
        ),
        UNIFORM,
    ),
    Mutation(
        "the sums of patches are opened without their mask (masked, masked-dcf)",
        (
            Edit(
                "fpga/protocols/masked/masks.py",
                "            self.wires[operation.inputs[1]] = draw(operation.inputs[1])\n",
                "            self.wires[operation.inputs[1]] = (operation.kind == 'mul') * draw(operation.inputs[1])\n",
            ),
        ),
        UNIFORM,
    ),
    Mutation(
        "planes are expanded from the same octets as words",
        (
            Edit(
                RANDOMNESS,
                "        self.keys: Sequence[bytes] = tuple(keys)\n",
                "        self.keys: Sequence[bytes] = tuple(keys)\n        self._operation = operation\n",
            ),
            Edit(
                RANDOMNESS,
                "        return self.octets(planes * plane_octets)",
                "        return type(self)(self.keys, self._operation).octets(planes * plane_octets)",
            ),
        ),
        f"{OPENED}::test_no_eight_octets_of_an_expansion_are_drawn_twice",
    ),
)
