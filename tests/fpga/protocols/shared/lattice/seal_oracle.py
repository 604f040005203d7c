"""Microsoft SEAL's BGV as an oracle: our residues as its keys, ciphertexts and plaintexts, and back.

SEAL's Python binding has no access to residues; they go in and out in SEAL's own serialization (serialization.h,
ciphertext.cpp and plaintext.cpp of SEAL 4): a header of 16 octets, the object's numbers, and its words under a header
of their own. Nothing of ours computes here: SEAL transforms, multiplies, decrypts and measures the noise.
"""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import numpy as np
import seal

from rrnet_nni.fpga.protocols.shared.lattice.polynomials import DEGREE, PLAIN

MAGIC, HEADER_BYTES, UNCOMPRESSED = 0xA15E, 16, 0
#: SEAL keeps its last prime for switching keys, and its ciphertexts have the others.
SPECIAL = seal.CoeffModulus.Create(DEGREE, [40])[0]


def _headed(body, version):
    size = HEADER_BYTES + len(body)
    return struct.pack("<HBBBBHQ", MAGIC, HEADER_BYTES, *version, UNCOMPRESSED, 0, size) + body


class SealOracle:
    """SEAL's BGV modulo t = 2^32 and some primes, under a secret that is given: int64 [DEGREE]."""

    def __init__(self, primes, secret):
        parameters = seal.EncryptionParameters(seal.scheme_type.bgv)
        parameters.set_poly_modulus_degree(DEGREE)
        parameters.set_coeff_modulus([*(seal.Modulus(prime) for prime in primes), SPECIAL])
        parameters.set_plain_modulus(PLAIN)
        # of security that SEAL checks the special prime counts, which nothing here is encrypted under
        self._context = seal.SEALContext(parameters, False, seal.sec_level_type.none)
        assert self._context.parameters_set(), self._context.parameter_error_message()
        self.primes = tuple(primes)
        self._version = tuple(seal.Plaintext("1").to_bytes(seal.compr_mode_type.none)[3:5])
        self._evaluator = seal.Evaluator(self._context)
        self._key = self._secret_key(secret)
        self._encryptor = seal.Encryptor(self._context, self._key)
        self._decryptor = seal.Decryptor(self._context, self._key)

    def ciphertext(self, parts):
        """SEAL's ciphertext of residues that are not transformed, int64 [2, primes, DEGREE]; SEAL transforms them."""
        words = self._transformed(np.asarray(parts, np.int64) % np.array(self.primes)[:, None])
        parms = self._context.first_parms_id()
        numbers = struct.pack("<4Q?QQQdQ", *parms, True, 2, DEGREE, len(self.primes), 1.0, 1)
        nested = _headed(struct.pack("<Q", words.size) + words.tobytes(), self._version)
        return self._read(seal.Ciphertext(), _headed(numbers + nested, self._version))

    def residues(self, ciphertext):
        """Its residues, not transformed, uint64 [2, primes, DEGREE]."""
        return self._words(self._evaluator.transform_from_ntt(ciphertext))

    def decrypt(self, ciphertext):
        """uint32 [DEGREE]."""
        return self._numbers(self._decryptor.decrypt(ciphertext))

    def noise_budget(self, ciphertext):
        """Bits, as SEAL measures them."""
        return self._decryptor.invariant_noise_budget(ciphertext)

    def encrypt(self, message):
        """SEAL's own ciphertext of uint32 [DEGREE] under the secret."""
        return self._encryptor.encrypt_symmetric(self.plaintext(message))

    def sum_of_products(self, ciphertexts, polynomials):
        """Σ ciphertext · polynomial, int64 [DEGREE] each with coefficients below 2^31 in magnitude."""
        total = None
        for ciphertext, polynomial in zip(ciphertexts, polynomials, strict=True):
            product = self._evaluator.multiply_plain(ciphertext, self.plaintext(polynomial))
            if total is None:
                total = product
            else:
                self._evaluator.add_inplace(total, product)
        return total

    def plaintext(self, numbers):
        data = np.asarray(numbers, np.int64) % PLAIN
        return self._read(seal.Plaintext(), self._plain((0, 0, 0, 0), data))

    def _numbers(self, plaintext):
        octets = plaintext.to_bytes(seal.compr_mode_type.none)
        words = np.frombuffer(octets[HEADER_BYTES + 48 + HEADER_BYTES + 8 :], "<u8")
        numbers = np.zeros(DEGREE, np.uint32)
        numbers[: len(words)] = words
        return numbers

    def _plain(self, parms, words):
        data = np.ascontiguousarray(words, "<u8").tobytes()
        nested = _headed(struct.pack("<Q", len(words)) + data, self._version)
        return _headed(struct.pack("<4QQd", *parms, len(words), 1.0) + nested, self._version)

    def _secret_key(self, secret):
        """SEAL holds it transformed, under the special prime too, with which nothing here is decrypted."""
        transformed = self._transformed(np.array([secret % prime for prime in self.primes]))
        parms = seal.KeyGenerator(self._context).secret_key().parms_id()
        words = np.concatenate((transformed.reshape(-1), np.zeros(DEGREE, np.uint64)))
        return self._read(seal.SecretKey(), self._plain(parms, words))

    def _transformed(self, parts):
        """SEAL's transforms of residues [..., primes, DEGREE], word by word as of plaintexts of 31 bits."""
        result = np.empty(parts.shape, np.uint64)
        for place in np.ndindex(parts.shape[:-1]):
            prime = self.primes[place[-1]]
            low, high = (self._transform(limb)[place[-1]] for limb in (parts[place] % 2**31, parts[place] >> 31))
            result[place] = [(int(a) + (int(b) << 31)) % prime for a, b in zip(low, high, strict=True)]
        return result

    def _transform(self, numbers):
        plain = self._evaluator.transform_to_ntt(self.plaintext(numbers), self._context.first_parms_id())
        octets = plain.to_bytes(seal.compr_mode_type.none)
        return np.frombuffer(octets[-8 * len(self.primes) * DEGREE :], "<u8").reshape(len(self.primes), DEGREE)

    def _words(self, ciphertext):
        octets = ciphertext.to_string(seal.compr_mode_type.none)
        return np.frombuffer(
            octets, "<u8", 2 * len(self.primes) * DEGREE, len(octets) - 16 * len(self.primes) * DEGREE
        ).reshape(2, len(self.primes), DEGREE)

    def _read(self, value, octets):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "object"
            path.write_bytes(octets)
            value.load(self._context, str(path))
        return value
