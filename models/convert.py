#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Converts published .pth, .pt and .npz files into safetensors, and renames the keys of safetensors. Reads weights only:
a file can never run code.

  convert.py INPUT OUTPUT [--key generator_ema] [--strip model.] [--dtype bf16]

Wrappers that FSDP, checkpointing and compiling put around a module are removed from the names, at any place (WRAPPERS).

A .pth is a zip with a pickle that describes tensors and a file for each of their storages. Unpickling can call any
function that the pickle names, so this reads the pickle with an unpickler that knows exactly what a state dict needs
(ordered dicts, storages, tensor and parameter rebuilding) and refuses everything else by name. It needs numpy and
no PyTorch.
"""

import argparse
import collections
import io
import json
import math
import os
import pickle
import struct
import sys
import tempfile
import zipfile

import numpy

# Storage class in the pickle -> (safetensors name, bytes of an element).
STORAGES = {
    "DoubleStorage": ("F64", 8), "FloatStorage": ("F32", 4), "HalfStorage": ("F16", 2), "BFloat16Storage": ("BF16", 2),
    "LongStorage": ("I64", 8), "IntStorage": ("I32", 4), "ShortStorage": ("I16", 2), "CharStorage": ("I8", 1),
    "ByteStorage": ("U8", 1), "BoolStorage": ("BOOL", 1),
    "Float8_e4m3fnStorage": ("F8_E4M3", 1), "Float8_e5m2Storage": ("F8_E5M2", 1),
}
WIDTH = dict(STORAGES.values())
WRAPPERS = ("_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod.")
UNSIGNED = {1: numpy.uint8, 2: numpy.uint16, 4: numpy.uint32, 8: numpy.uint64}


class Refused(Exception):
    """The file does not have the expected content. The message is shown to users."""


class StorageType:
    def __init__(self, name):
        self.name = name


class Tensor:
    """A view of a storage: raw elements of the right width, whatever their type."""

    def __init__(self, dtype, elements):
        self.dtype, self.elements = dtype, elements


def rebuild_tensor(storage, offset, size, stride, *_):
    dtype, data = storage
    if not isinstance(size, tuple) or not isinstance(stride, tuple) or len(size) != len(stride):
        raise Refused("a tensor's size and stride do not fit together")
    if any(not isinstance(n, int) or n < 0 for n in (*size, *stride, offset)):
        raise Refused("a tensor has a negative or non-integer size, stride or offset")
    if all(size):
        last = offset + sum((n - 1) * step for n, step in zip(size, stride))
        if last >= len(data):
            raise Refused(f"a tensor of shape {list(size)} reaches element {last} of a storage of {len(data)}")
    width = WIDTH[dtype]
    view = numpy.lib.stride_tricks.as_strided(data[offset:], size, [s * width for s in stride], writeable=False)
    return Tensor(dtype, view)


def rebuild_parameter(tensor, *_):
    return tensor


class WeightsUnpickler(pickle.Unpickler):
    def __init__(self, file, read_storage):
        super().__init__(file)
        self.read_storage = read_storage

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return rebuild_tensor
        if module == "torch._utils" and name in ("_rebuild_parameter", "_rebuild_parameter_with_state"):
            return rebuild_parameter
        if module in ("torch", "torch.storage") and name in STORAGES:
            return StorageType(name)
        raise Refused(f"it asks to run {module}.{name}, which a file of weights has no use for")

    def persistent_load(self, pid):
        if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage" or not isinstance(pid[1], StorageType):
            raise Refused("it refers to something that is no storage")
        _, kind, key, _, count = pid
        dtype, width = STORAGES[kind.name]
        raw = self.read_storage(str(key))
        if not isinstance(count, int) or len(raw) < count * width:
            raise Refused(f"storage {key} has {len(raw)} bytes, {count} elements of {width} are announced")
        return dtype, numpy.frombuffer(raw, dtype=UNSIGNED[width], count=count)


def read_pth(path):
    with zipfile.ZipFile(path) as archive:
        names = [n for n in archive.namelist() if n.endswith("/data.pkl") or n == "data.pkl"]
        if len(names) != 1:
            raise Refused("there is no single data.pkl in it: this is not a file that torch.save wrote")
        root = names[0][: -len("data.pkl")]
        byteorder = root + "byteorder"
        if byteorder in archive.namelist() and archive.read(byteorder) != b"little":
            raise Refused("it was written on a big-endian machine")

        def read_storage(key):
            try:
                return archive.read(f"{root}data/{key}")
            except KeyError:
                raise Refused(f"storage {key} is missing: the download is incomplete")

        try:
            return WeightsUnpickler(io.BytesIO(archive.read(names[0])), read_storage).load()
        except (Refused, MemoryError):
            raise
        except Exception as error:  # a broken pickle may raise nearly anything
            raise Refused(f"its pickle is damaged: {error}")


def read_npz(path):
    kinds = {"f8": "F64", "f4": "F32", "f2": "F16", "i8": "I64", "i4": "I32"}
    result = {}
    with numpy.load(path, allow_pickle=False) as arrays:
        for name in arrays.files:
            array = arrays[name]
            if array.dtype.str[1:] not in kinds:
                raise Refused(f"array {name} has type {array.dtype}, which is no weight")
            result[name] = Tensor(kinds[array.dtype.str[1:]], array)
    return result


def read_safetensors(path):
    """The file stays on disk; the tensors are views of it."""
    raw = numpy.memmap(path, dtype=numpy.uint8, mode="r")
    length = int.from_bytes(raw[:8].tobytes(), "little")
    if length > len(raw) - 8:
        raise Refused(f"its header is announced with {length} bytes, the file has {len(raw)}: the download is incomplete")
    data, result = raw[8 + length:], {}
    header = json.loads(raw[8:8 + length].tobytes())
    if not isinstance(header, dict):
        raise Refused("its header is no object: this is no safetensors file")
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        try:
            kind, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
            fits = all(isinstance(n, int) and n >= 0 for n in (*shape, begin, end)) and end <= len(data)
            fits = fits and end - begin == math.prod(shape) * WIDTH[kind]
        except (KeyError, TypeError, ValueError):
            raise Refused(f"the header's entry of {name} is damaged, or its type is none that is read")
        if not fits:
            raise Refused(f"{name} does not fit into the file: the download is incomplete")
        result[name] = Tensor(kind, data[begin:end].view(UNSIGNED[WIDTH[kind]]).reshape(shape))
    return result


def read(path):
    """The kind of a file, by its first bytes and not by its name."""
    with open(path, "rb") as file:
        start = file.read(9)
    if start.startswith(b"PK"):
        try:
            return read_npz(path) if path.endswith(".npz") else read_pth(path)
        except zipfile.BadZipFile as error:
            raise Refused(f"its zip archive is damaged ({error}): the download is incomplete")
    if start[8:9] == b"{":
        return read_safetensors(path)
    raise Refused("it is neither safetensors nor a zip archive: files from before PyTorch 1.6 are not read, save it again with a newer one")


def state_dict(content, key):
    """The dictionary of tensors in the file's content."""
    if key:
        if not isinstance(content, dict) or key not in content:
            known = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
            raise Refused(f'there is no "{key}" in it; it has: {known[:300]}')
        content = content[key]
    if not isinstance(content, dict) or not any(isinstance(v, Tensor) for v in content.values()):
        inner = [str(k) for k, v in content.items() if isinstance(v, dict)] if isinstance(content, dict) else []
        raise Refused("there are no tensors by name in it" +
                      (": choose what to take with --key " + " or --key ".join(inner) if inner else ""))
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def unwrapped(name):
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def renamed(tensors, strip):
    """Tensors by their names, without wrappers and without the prefix."""
    result, strip = {}, unwrapped(strip)
    for name, tensor in tensors.items():
        if name.rsplit(".", 1)[-1] == "_flat_param":
            raise Refused(f"{name} is many tensors in one, as FSDP holds them: save the full state dict and convert that")
        own = unwrapped(name).removeprefix(strip)
        if own in result:
            raise Refused(f'two names become "{own}" when wrappers and the prefix "{strip}" are taken off')
        result[own] = tensor
    if strip and not any(unwrapped(name).startswith(strip) for name in tensors):
        raise Refused(f'no name begins with "{strip}"; they are {", ".join(list(tensors)[:3])}, …')
    return result


def as_dtype(tensor, dtype):
    """fp32 -> bf16, to nearest even; other types are returned unchanged."""
    data = numpy.ascontiguousarray(tensor.elements)
    if dtype == "bf16" and tensor.dtype == "F32":
        bits = data.view(numpy.uint32)
        rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(numpy.uint16)
        nan = (bits & 0x7FFFFFFF) > 0x7F800000
        return "BF16", numpy.where(nan, numpy.uint16(0x7FC0), rounded)
    return tensor.dtype, data


def check_output(path):
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path) or not os.access(folder, os.W_OK | os.X_OK):
        raise Refused(f"{path} cannot be written: name a file in a folder that is there")


def write_safetensors(tensors, path, dtype):
    header, offset = {}, 0
    for name in sorted(tensors):
        tensor = tensors[name]
        kind = "BF16" if dtype == "bf16" and tensor.dtype == "F32" else tensor.dtype
        size = int(numpy.prod(tensor.elements.shape, dtype=numpy.int64)) * WIDTH[kind]
        header[name] = {"dtype": kind, "shape": list(tensor.elements.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    folder = os.path.dirname(os.path.abspath(path))
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".convert-")  # the output is complete or does not exist
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(struct.pack("<Q", len(text)) + text)
            for name in sorted(tensors):
                out.write(as_dtype(tensors[name], dtype)[1].tobytes())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return offset


def main():
    parser = argparse.ArgumentParser(description="Turns .pth, .pt and .npz files into safetensors without running them, and renames the keys of safetensors.")
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--key", help="which model, where a file holds several (Self-Forcing: generator_ema)")
    parser.add_argument("--strip", default="", help="prefix to drop from the names (Self-Forcing: model.)")
    parser.add_argument("--dtype", choices=("keep", "bf16"), default="keep", help="bf16: round fp32 weights")
    arguments = parser.parse_args()
    try:
        check_output(arguments.output)
        tensors = state_dict(read(arguments.input), arguments.key)
        named = renamed(tensors, arguments.strip)
        wrapped = sum(unwrapped(name) != name for name in tensors)
        size = write_safetensors(named, arguments.output, arguments.dtype)
    except (Refused, OSError, ValueError) as error:
        sys.exit(f"{arguments.input}: not converted: {error}")
    print(f"{arguments.output}: {len(named)} tensors, {size / 1e6:.1f} MB" +
          (f"; {wrapped} names were taken out of a trainer's wrappers" if wrapped else ""))


if __name__ == "__main__":
    main()
