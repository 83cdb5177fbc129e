#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes torch-save.pt as PyTorch itself does, for tests/unit/package_formats_test.cpp. Needs PyTorch; was run with 2.11.

tests/checkpoints/torch_save.py"""

import pathlib

import torch

shared = torch.arange(24, dtype=torch.float32)
generator = {
    "model.blocks.0._fsdp_wrapped_module.q.weight": shared.view(6, 4),
    "model.blocks.0._fsdp_wrapped_module.k.weight": shared.view(6, 4).t(),  # the same storage, other strides
    "model.tail": shared[20:],
    "model.half": torch.full((3,), 1.5, dtype=torch.float16),
    "model.brain": torch.full((3,), -2.0, dtype=torch.bfloat16),
    "model.parameter": torch.nn.Parameter(torch.tensor([0.25, 0.5])),
    "model.eight": torch.tensor([1.0, -0.5, 448.0]).to(torch.float8_e4m3fn),
    "model.empty": torch.empty(0, 3),
    "model.scalar": torch.tensor(7.0, dtype=torch.float64),
    "model.count": torch.tensor([1, -1]),
}
ema = torch.nn.Sequential(torch.nn.Linear(2, 2))
torch.nn.init.constant_(ema[0].weight, 3.0)
torch.nn.init.constant_(ema[0].bias, 4.0)
torch.save({"generator": generator, "generator_ema": ema.state_dict(), "step": 600, "rate": 1e-4, "name": "made here",
            "size": torch.Size([2, 2]), "type": torch.bfloat16, "list": [1, (2, None, True)], "big": 2**40},
           pathlib.Path(__file__).with_name("torch-save.pt"))
