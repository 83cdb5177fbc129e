#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes tests/golden/ambient-stream: the result in Python of the shipped weights, in fp32, for given noise.

Run it again after every change of the weights or the word list. The same weights give the same case. The history holds
three chunks, so a chunk has left it before the fourth and the fifth are made.
"""
import json
import pathlib

import torch
from safetensors.torch import save_file

import sample
import text

CASE = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "ambient-stream"
PROMPTS = ["slow green aurora"] * 2 + ["orange fire"] * 3
STEPS, SHIFT, HISTORY = 8, 1.5, 3
TEXTS = ["", "fire", "slow green aurora over mountains", "Fast BLUE stars!", "golden, ocean... (at night)", "purple\tneon\ntunnel",
         "sunset", "two flames and a snowflake", "fyre", "oceam wavs", "snoww", "slow", "sow", "blu", "quetzal", "café in teal",
         "red-orange_lava42lamp", "dense clouds to the right", "few snowflakes leftwards, rigt", "a " * 20, "northern lights in violet, dancing", "12345 !?"]
NOTES = [
    "weights are those of config.model, upcast to fp32; noise [chunks,16,3,h,w], latents [16,3*chunks,h,w]",
    "sigma = shift*u/(1+(shift-1)*u), u from 1 to 0 in equal steps; timestep 1000*sigma; x += v*(sigma_next-sigma)",
    "after its last step a chunk runs once more at timestep 0; that forward's K and V are the history of later chunks",
    "history: the last history_chunks chunks, none for the first chunk of a new prompt; RoPE counts absolute latent frames; no reuse, no guidance",
    "latents are the transformer's: times decoder.config.latent_scale they are the decoder's",
    "frames: of the first chunk, round(255*clamp(frame,0,1)); they may differ by one level",
    "text: ids before padding; words that are neither known, synonyms nor one edit from one word are in unknown"]


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = sample.Model()
    noise, trace = torch.randn(len(PROMPTS), 16, 3, *sample.GRID, generator=torch.Generator().manual_seed(2602)), []
    latents, _ = sample.generate(model.dit, PROMPTS, STEPS, SHIFT, HISTORY, noise=noise, trace=trace)
    frames = (model.frames(latents[:, :, :3]) * 255).round().byte()
    CASE.mkdir(parents=True, exist_ok=True)
    save_file({"in.noise": noise, "out.latents": latents[0].contiguous(), "out.velocity0": trace[0][0].contiguous(),
               "out.frames": frames.contiguous()}, CASE / "tensors.safetensors")
    generate = dict(op="generate", prompts=PROMPTS, steps=STEPS, shift=SHIFT, history_chunks=HISTORY, noise="in.noise",
                    token_ids=[text.encode(p) for p in PROMPTS], latents="out.latents", velocity0="out.velocity0",
                    frames="out.frames")
    words = []
    for prompt in TEXTS:
        ids = text.encode(prompt)
        words.append(dict(op="text", prompt=prompt, ids=[i for i in ids if i], padded=ids, unknown=text.words_of(prompt)[1]))
    case = dict(kind="ambient-stream", source=dict(project="gst-flowcache", files=["models/ambient/sample.py", "models/ambient/text.py"]),
                config=dict(model="../../../models/ambient"), calls=[generate] + words, tolerance=dict(rtol=1e-3, atol=1e-3),
                notes=NOTES)
    (CASE / "case.json").write_text(json.dumps(case, indent=1, ensure_ascii=False) + "\n")
    (CASE / "tensors.safetensors").chmod(0o644)
    print(f"{CASE}: {len(PROMPTS)} chunks, {len(TEXTS)} prompts, latents std {latents.std():.3f}")


if __name__ == "__main__":
    main()
