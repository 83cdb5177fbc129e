#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes what the tests of LoRAs need: write_lora.py MODEL FOLDER makes FOLDER/style.safetensors, of rank 2 for MODEL, a DoRA
beside it, and FOLDER/with, a copy of the model that has the LoRA in its model.json."""
import json
import pathlib
import struct
import sys


def wave(rows, columns, step):
    return [[(((r * columns + c) * step) % 17 - 8) / 160 for c in range(columns)] for r in range(rows)]


def write(path, tensors):
    header, data = {}, b""
    for name, rows in tensors.items():
        values = [v for row in rows for v in row]
        own = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": [len(rows), len(rows[0])], "data_offsets": [len(data), len(data) + len(own)]}
        data += own
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


model, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
description = json.loads((model / "model.json").read_text())
config = description["transformer"]["config"]
layer = "diffusion_model.blocks.1."
lora = {
    layer + "self_attn.v.lora_down.weight": wave(2, config["dim"], 3),
    layer + "self_attn.v.lora_up.weight": wave(config["dim"], 2, 5),
    layer + "ffn.0.lora_down.weight": wave(2, config["dim"], 7),
    layer + "ffn.0.lora_up.weight": wave(config["ffn_dim"], 2, 11),
}
write(folder / "style.safetensors", lora)
write(folder / "dora.safetensors", lora | {layer + "self_attn.v.dora_scale": wave(config["dim"], 1, 3)})
copy = folder / "with"
copy.mkdir()
for file in model.glob("*.safetensors"):
    (copy / file.name).write_bytes(file.read_bytes())
(copy / "style.safetensors").write_bytes((folder / "style.safetensors").read_bytes())
description["transformer"]["loras"] = [{"file": "style.safetensors", "scale": 4}]
(copy / "model.json").write_text(json.dumps(description))
