# SPDX-License-Identifier: LGPL-2.1-or-later
"""The formats that checkpoints are published in, written without any library, for miniatures.py."""

import array
import collections
import io
import json
import pathlib
import struct
import zipfile

# values: an array of floats. Those of a checkpoint here are numbers of bf16, so that bf16 and fp32 hold them unchanged.
Tensor = collections.namedtuple("Tensor", "shape values")

SHARD = "{}-{:05d}-of-{:05d}.{}"


def as_bf16(values):
    """What bf16 keeps of numbers, cut off."""
    bits = array.array("I", array.array("f", values).tobytes())
    return array.array("f", array.array("I", [one & 0xFFFF0000 for one in bits]).tobytes())


def packed(tensor, kind):
    if kind == "F32":
        return tensor.values.tobytes()
    if kind == "F16":
        return struct.pack(f"<{len(tensor.values)}e", *tensor.values)
    wide = tensor.values.tobytes()
    narrow = bytearray(len(wide) // 2)
    narrow[0::2], narrow[1::2] = wide[2::4], wide[3::4]
    return bytes(narrow)


def as_f16(tensor):
    """The tensor that a file in fp16 holds."""
    return Tensor(tensor.shape, array.array("f", struct.unpack(f"<{len(tensor.values)}e", packed(tensor, "F16"))))


def read_safetensors(path):
    data = pathlib.Path(path).read_bytes()
    begin = 8 + struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, entry in json.loads(data[8:begin]).items():
        if name == "__metadata__":
            continue
        assert entry["dtype"] == "F32", (path, name)
        start, end = entry["data_offsets"]
        tensors[name] = Tensor(entry["shape"], as_bf16(array.array("f", data[begin + start:begin + end])))
    return tensors


def write_safetensors(path, tensors, kind="F32", raw=None):
    """raw: {name: bytes} of whole numbers of 8 bits."""
    header, body = {}, io.BytesIO()
    items = [(name, tensor.shape, kind, packed(tensor, kind)) for name, tensor in tensors.items()]
    items += [(name, [len(data)], "U8", data) for name, data in (raw or {}).items()]
    for name, shape, own, data in items:
        header[name] = {"dtype": own, "shape": shape, "data_offsets": [body.tell(), body.tell() + len(data)]}
        body.write(data)
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + body.getvalue())


def in_shards(tensors, count):
    names = list(tensors)
    return [{name: tensors[name] for name in names[i * len(names) // count:(i + 1) * len(names) // count]}
            for i in range(count)]


def write_shards(folder, stem, tensors, count, kind="BF16"):
    """With the index that transformers and diffusers write."""
    index = {}
    for i, part in enumerate(in_shards(tensors, count)):
        file = SHARD.format(stem, i + 1, count, "safetensors")
        write_safetensors(folder / file, part, kind)
        index.update(dict.fromkeys(part, file))
    (folder / f"{stem}.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


# ---- torch.save: a zip archive of a pickle and of the numbers

STORAGES = {"F32": b"FloatStorage", "BF16": b"BFloat16Storage", "F16": b"HalfStorage"}


def text_op(text):
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def number_op(number):
    return b"J" + struct.pack("<i", number)


def tuple_op(numbers):
    return b"(" + b"".join(number_op(one) for one in numbers) + b"t"


def tensor_op(tensor, kind, key):
    strides, step = [], 1
    for size in reversed(tensor.shape):
        strides.insert(0, step)
        step *= size
    storage = (b"(" + text_op("storage") + b"ctorch\n" + STORAGES[kind] + b"\n" + text_op(key) + text_op("cpu") +
               number_op(len(tensor.values)) + b"tQ")
    return (b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number_op(0) + tuple_op(tensor.shape) +
            tuple_op(strides) + b"\x89ccollections\nOrderedDict\n)RtR")


def write_torch(path, tree, kind="F32"):
    """tree: tensors by their names, in dicts as deep as the file has them."""
    files = []

    def op(value):
        if isinstance(value, dict):
            return b"}(" + b"".join(text_op(name) + op(one) for name, one in value.items()) + b"u"
        if isinstance(value, int):
            return number_op(value)
        files.append(packed(value, kind))
        return tensor_op(value, kind, str(len(files) - 1))

    pickle = b"\x80\x02" + op(tree) + b"."
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", pickle)
        archive.writestr("archive/byteorder", "little")
        for i, data in enumerate(files):
            archive.writestr(f"archive/data/{i}", data)
        archive.writestr("archive/version", "3\n")


def write_npz(path, name, tensor):
    """One array in fp16, as numpy.savez writes it."""
    head = repr({"descr": "<f2", "fortran_order": False, "shape": tuple(tensor.shape)}).encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(name + ".npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + packed(tensor, "F16"))


# ---- GGUF, with matrices in Q8_0

GGUF_F32, GGUF_Q8_0, GGUF_BLOCK, GGUF_ALIGNMENT = 0, 8, 32, 32


def quantized(tensor):
    """Blocks of Q8_0, and the numbers that they stand for."""
    data, values = bytearray(), array.array("f")
    for at in range(0, len(tensor.values), GGUF_BLOCK):
        block = tensor.values[at:at + GGUF_BLOCK]
        scale = struct.unpack("<e", struct.pack("<e", max(map(abs, block)) / 127))[0]
        whole = [max(-127, min(127, round(one / scale))) if scale else 0 for one in block]
        data += struct.pack("<e32b", scale, *whole)
        values.extend(scale * one for one in whole)
    return bytes(data), Tensor(tensor.shape, values)


def gguf_note(name, kind, value):
    return struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", kind) + value


def write_gguf(path, tensors):
    """Returns the tensors as the file has them."""
    kept, infos, notes, body = {}, b"", [gguf_note("general.architecture", 8, struct.pack("<Q", 3) + b"wan")], io.BytesIO()
    for name, tensor in tensors.items():
        shape = tensor.shape
        if len(shape) > 4:  # ggml has no more dimensions: ComfyUI-GGUF notes what they were
            notes.append(gguf_note("comfy.gguf.orig_shape." + name, 9,
                                   struct.pack(f"<IQ{len(shape)}i", 5, len(shape), *shape)))
            shape = [shape[0], len(tensor.values) // shape[0]]
        is_matrix = len(tensor.shape) == 2 and tensor.shape[1] % GGUF_BLOCK == 0
        data, kept[name] = quantized(tensor) if is_matrix else (packed(tensor, "F32"), tensor)
        infos += struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", len(shape))
        infos += struct.pack(f"<{len(shape)}Q", *reversed(shape))
        infos += struct.pack("<IQ", GGUF_Q8_0 if is_matrix else GGUF_F32, body.tell())
        body.write(data + b"\0" * (-len(data) % GGUF_ALIGNMENT))
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(notes)) + b"".join(notes) + infos
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + b"\0" * (-len(head) % GGUF_ALIGNMENT) + body.getvalue())
    return kept
