# SPDX-License-Identifier: LGPL-2.1-or-later
"""The C++ engine in Python, through flowcache.h. So evaluate.py judges the engine that ships.

    with Stream("build/engine/libflowcache.so", threads=2) as stream:
        stream.start("orange fire", seed=1)
        frames = stream.chunk()          # [12,3,H,W] in 0..1
"""
import ctypes as c
import pathlib

import torch

NEXT_CHUNK = 2 ** 64 - 1
WHEEL = "torch==2.11.0"  # TORCH_WHEEL in tools/setup.sh


def structure(name, fields):
    return type(name, (c.Structure,), {"_fields_": [("size", c.c_size_t)] + fields})


EngineConfig = structure("EngineConfig", [("model", c.c_char_p), ("device", c.c_char_p), ("precision", c.c_char_p),
                                          ("threads", c.c_uint32), ("memory_limit", c.c_uint64)])
StreamConfig = structure("StreamConfig", [
    ("prompt", c.c_char_p), ("negative_prompt", c.c_char_p), ("seed", c.c_uint64), ("cache", c.c_char_p),
    ("cache_threshold", c.c_double), ("kv_cache", c.c_char_p), ("kv_budget", c.c_uint64), ("steps", c.c_uint32),
    ("lag", c.c_uint32), ("guidance_scale", c.c_double)])
PromptChange = structure("PromptChange", [("text", c.c_char_p), ("at_chunk", c.c_uint64), ("blend_chunks", c.c_uint32)])
ChunkInfo = structure("ChunkInfo", [
    ("chunk", c.c_uint64), ("seed", c.c_uint64), ("prompt_ticket", c.c_uint64), ("frames", c.c_uint32),
    ("width", c.c_uint32), ("height", c.c_uint32), ("steps_computed", c.c_uint32), ("steps_reused", c.c_uint32),
    ("cache_threshold", c.c_double), ("kv_bytes", c.c_uint64), ("kv_budget", c.c_uint64), ("seconds", c.c_double),
    ("decisions", c.c_void_p)])
Planes = structure("Planes", [("memory", c.c_int), ("format", c.c_int), ("plane", c.c_void_p * 3), ("stride", c.c_uint32 * 3)])


def make(kind, **fields):
    return kind(size=c.sizeof(kind), **fields)


class Stream:
    """One stream of one engine. cache, lag: as in StreamConfig; None and 0 are the model's defaults."""

    def __init__(self, library, model=None, threads=0, cache=None, steps=0, lag=0):
        try:
            self.library = c.CDLL(str(pathlib.Path(library).resolve()))
        except OSError as error:
            raise SystemExit(f"{library}: {error}\nBuild the engine first (./test.sh or ./demo.sh). If symbols are undefined, PyTorch "
                             f"{torch.__version__} is not the LibTorch that it was built with: pip install {WHEEL}") from error
        self.library.fc_last_error.restype = c.c_char_p
        self.engine, self.stream = c.c_void_p(), c.c_void_p()
        encoded = lambda word: word.encode() if word else None
        self._check(self.library.fc_engine_open(c.byref(make(EngineConfig, model=encoded(model and str(model)), threads=threads)),
                                                None, None, c.byref(self.engine)))
        config = make(StreamConfig, cache=encoded(cache), steps=steps, lag=lag)
        self._check(self.library.fc_stream_open(self.engine, c.byref(config), c.byref(self.stream)))

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.library.fc_stream_close(self.stream)
        self.library.fc_engine_unref(self.engine)

    def _check(self, status):
        if status:
            raise RuntimeError(f"engine: {self.library.fc_last_error().decode()}")

    def prompt(self, text):
        """Holds from the next chunk on."""
        self._check(self.library.fc_stream_prompt(self.stream, c.byref(make(PromptChange, text=text.encode(), at_chunk=NEXT_CHUNK)), None))

    def start(self, text, seed):
        """Back to chunk 0."""
        self._check(self.library.fc_stream_reset(self.stream, c.c_uint64(seed)))
        self.prompt(text)

    def chunk(self):
        """The next chunk's frames [T,3,H,W] in 0..1."""
        handle = c.c_void_p()
        self._check(self.library.fc_stream_next(self.stream, c.byref(handle)))
        info = make(ChunkInfo)
        self._check(self.library.fc_chunk_describe(handle, c.byref(info)))
        rgba = torch.empty(info.frames, info.height, info.width, 4, dtype=torch.uint8)
        for i in range(info.frames):
            planes = make(Planes, plane=(c.c_void_p * 3)(rgba[i].data_ptr()), stride=(c.c_uint32 * 3)(info.width * 4))
            self._check(self.library.fc_chunk_write(handle, i, c.byref(planes)))
        self.library.fc_chunk_unref(handle)
        return rgba[..., :3].permute(0, 3, 1, 2).float() / 255
