#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes gguf-py.gguf with the library of GGUF's authors, and gguf-py.npz with the values that it reads back, for
tests/unit/package_formats_test.cpp. Needs numpy and gguf; was run with gguf 0.19.

tests/checkpoints/gguf_py.py"""

import pathlib

import gguf
import numpy

HERE = pathlib.Path(__file__).resolve().parent
random = numpy.random.default_rng(1)
matrix = random.standard_normal((5, 96)).astype(numpy.float32)
matrix[2, 32:64] = 0  # a block whose scale is 0
tensors = {
    "blocks.0.q.weight": gguf.quants.quantize(matrix, gguf.GGMLQuantizationType.Q8_0),
    "blocks.0.brain": gguf.quants.quantize(matrix[:2], gguf.GGMLQuantizationType.BF16),
    "blocks.0.half": matrix[:3, :7].astype(numpy.float16),
    "blocks.0.bias": matrix[0, :5],
}
kinds = {"blocks.0.q.weight": gguf.GGMLQuantizationType.Q8_0, "blocks.0.brain": gguf.GGMLQuantizationType.BF16}
writer = gguf.GGUFWriter(HERE / "gguf-py.gguf", "wan")
writer.add_uint32("general.quantization_version", 2)
writer.add_array("some.words", ["a", "list", "of", "words"])
writer.add_array("some.numbers", [1.5, 2.5])
for name, tensor in tensors.items():
    writer.add_tensor(name, tensor, raw_dtype=kinds.get(name))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()

values = {}
for tensor in gguf.GGUFReader(HERE / "gguf-py.gguf").tensors:
    values[tensor.name] = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32)
numpy.savez(HERE / "gguf-py.npz", **values)
