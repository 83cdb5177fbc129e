# SPDX-License-Identifier: LGPL-2.1-or-later
"""models/convert.py: weights come through, anything else is refused. Files are made without PyTorch."""

import collections
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import tempfile
import types
import zipfile

try:
    import numpy
except ImportError:
    system = "/usr/bin/python3"  # the one that Debian's python3-numpy is for
    if os.path.exists(system) and not os.path.samefile(system, sys.executable):
        os.execv(system, [system, *sys.argv])
    sys.exit(77)  # skipped

CONVERT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../models/convert.py")


def stand_ins():
    """Modules and functions whose names a state dict's pickle holds."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def _rebuild_tensor_v2(*arguments):
        raise AssertionError("only its name is wanted")

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    for name in ("FloatStorage", "BFloat16Storage"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    sys.modules.update({"torch": torch, "torch._utils": utils})
    return torch, utils


TORCH, UTILS = stand_ins()


class Storage:
    def __init__(self, kind, key, count):
        self.kind, self.key, self.count = kind, key, count


class Tensor:
    def __init__(self, storage, offset, size, stride):
        self.arguments = (storage, offset, size, stride, False, collections.OrderedDict())

    def __reduce__(self):
        return UTILS._rebuild_tensor_v2, self.arguments


class Code:
    def __reduce__(self):
        return os.system, ("touch converted-code-ran",)


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        if isinstance(value, Storage):
            return "storage", value.kind, value.key, "cpu", value.count
        return None


def write_pth(path, content, storages):
    data = io.BytesIO()
    Pickler(data, protocol=2).dump(content)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data.getvalue())
        for key, raw in storages.items():
            archive.writestr(f"archive/data/{key}", raw)


def convert(*arguments):
    return subprocess.run([sys.executable, CONVERT, *arguments], capture_output=True, text=True, check=False)


def read_safetensors(path):
    with open(path, "rb") as file:
        raw = file.read()
    length = struct.unpack("<Q", raw[:8])[0]
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def refused(result, *words):
    assert result.returncode != 0 and result.stdout == "", result
    assert result.stderr.count("\n") == 1 and all(word in result.stderr for word in words), result.stderr
    assert not os.path.exists("converted-code-ran")


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        values = numpy.arange(6, dtype=numpy.float32)
        whole = Storage(TORCH.FloatStorage, "0", 6)
        weights = collections.OrderedDict(
            {"model.a": Tensor(whole, 0, (2, 3), (3, 1)), "model.b": Tensor(whole, 1, (2, 2), (1, 3))})

        write_pth("good.pth", {"ema": weights, "step": 7}, {"0": values.tobytes()})
        result = convert("good.pth", "good.safetensors", "--key", "ema", "--strip", "model.")
        assert result.returncode == 0, result.stderr
        header, data = read_safetensors("good.safetensors")
        assert header["a"] == {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, header
        b = numpy.frombuffer(data[24:40], numpy.float32).reshape(2, 2)
        assert (b == [[1, 4], [2, 5]]).all(), b  # a transposed view with an offset

        write_pth("narrow.pth", weights, {"0": numpy.array([1.00390625, -2, 0, 3, numpy.nan, 5], "<f4").tobytes()})
        assert convert("narrow.pth", "narrow.safetensors", "--dtype", "bf16").returncode == 0
        bits = numpy.frombuffer(read_safetensors("narrow.safetensors")[1][:12], numpy.uint16)
        assert bits[0] == 0x3F80 and bits[1] == 0xC000 and bits[4] == 0x7FC0, bits  # half to even, NaN stays

        wrapped = {"model._fsdp_wrapped_module.blocks.0._checkpoint_wrapped_module.q": weights["model.a"],
                   "_orig_mod.model.head": weights["model.b"], "plain": weights["model.a"]}
        write_pth("wrapped.pth", wrapped, {"0": values.tobytes()})
        assert convert("wrapped.pth", "wrapped.safetensors", "--strip", "model.").returncode == 0
        assert sorted(read_safetensors("wrapped.safetensors")[0]) == ["blocks.0.q", "head", "plain"]
        old = "model._fsdp_wrapped_module."  # who took the first of them off by hand goes on doing so
        assert convert("wrapped.pth", "wrapped.safetensors", "--strip", old).returncode == 0
        assert "blocks.0.q" in read_safetensors("wrapped.safetensors")[0]
        write_pth("twice.pth", {"a": weights["model.a"], "_orig_mod.a": weights["model.a"]}, {"0": values.tobytes()})
        refused(convert("twice.pth", "x.safetensors"), 'two names become "a"')
        write_pth("flat.pth", {"blocks.0._flat_param": weights["model.a"]}, {"0": values.tobytes()})
        refused(convert("flat.pth", "x.safetensors"), "_flat_param", "full state dict")
        refused(convert("good.pth", "x.safetensors", "--key", "ema", "--strip", "net."), 'begins with "net."', "model.a")

        assert convert("good.pth", "whole.safetensors", "--key", "ema").returncode == 0
        assert convert("whole.safetensors", "again.safetensors", "--strip", "model.").returncode == 0
        assert read_safetensors("again.safetensors") == read_safetensors("good.safetensors")
        with open("whole.safetensors", "rb") as uncut, open("cut.safetensors", "wb") as cut:
            cut.write(uncut.read()[:-4])
        refused(convert("cut.safetensors", "x.safetensors"), "model.b", "incomplete")
        refused(convert("missing-input.pth", os.path.join("none", "x.safetensors")), "none", "cannot be written")

        refused(convert("good.pth", "x.safetensors"), "--key ema")
        refused(convert("good.pth", "x.safetensors", "--key", "emma"), '"emma"', "ema")
        write_pth("evil.pth", {"w": Tensor(whole, 0, (6,), (1,)), "x": Code()}, {"0": values.tobytes()})
        refused(convert("evil.pth", "x.safetensors"), "asks to run", "system")
        write_pth("wide.pth", {"w": Tensor(whole, 0, (7,), (1,))}, {"0": values.tobytes()})
        refused(convert("wide.pth", "x.safetensors"), "reaches element 6")
        write_pth("short.pth", weights, {"0": values.tobytes()[:-4]})
        refused(convert("short.pth", "x.safetensors"), "20 bytes")
        write_pth("missing.pth", weights, {})
        refused(convert("missing.pth", "x.safetensors"), "incomplete")
        with open("junk.pth", "wb") as file:
            file.write(b"junk")
        refused(convert("junk.pth", "x.safetensors"), "neither safetensors nor a zip archive")
        assert not os.path.exists("x.safetensors")
        os.chdir("/")


main()
