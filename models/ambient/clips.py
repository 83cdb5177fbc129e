# SPDX-License-Identifier: LGPL-2.1-or-later
"""The data set: rendered clips as latents, in shards of a work folder, and the batches made from them."""
import pathlib
import random
import time

import torch

import text
from autoencoder import Encoder
from render import caption, render, sample_spec

FRAMES, CHUNKS, CHUNK = 48, 4, 3  # frames a clip; chunks a clip; latent frames a chunk
SHARD = 50
PIXEL_EVERY, PIXEL_FRAMES = 8, 12  # every 8th clip also keeps 12 frames as pixels, for the decoder


def count(work):
    return len(list(pathlib.Path(work).glob("clips-*.pt"))) * SHARD


def extend(work, clips, log=print):
    """Renders shards until the folder holds `clips` clips. Shard k is always the same; a cut one is not kept."""
    encode = Encoder()
    for shard in range(count(work) // SHARD, (clips + SHARD - 1) // SHARD):
        rng, start, latents, specs, pixels = random.Random(1000 + shard), time.time(), [], [], []
        for i in range(SHARD):
            spec = sample_spec(rng)
            video = render(*spec, rng.randrange(1 << 30), FRAMES)
            latents.append(encode(video).half())
            specs.append(spec)
            if i % PIXEL_EVERY == 0:
                pixels.append((video[:PIXEL_FRAMES] * 255).round().byte())
        path = pathlib.Path(work) / f"clips-{shard:04d}.pt"
        torch.save(dict(latents=torch.stack(latents), specs=specs, pixels=torch.stack(pixels)), path.with_suffix(".tmp"))
        path.with_suffix(".tmp").rename(path)
        log(f"clips {(shard + 1) * SHARD} of {clips}, {(time.time() - start) / SHARD:.2f} s a clip")


def load(work, device="cpu"):
    """(latents [N,16,12,h,w] float, specs of the N clips)."""
    shards = [torch.load(p) for p in sorted(pathlib.Path(work).glob("clips-*.pt"))]
    latents = torch.cat([s["latents"] for s in shards]).float().to(device)
    return latents, [tuple(spec) for s in shards for spec in s["specs"]]


def load_pixels(work):
    """Frames [M,12,3,H,W] uint8 kept for the decoder, and their scenes."""
    shards = [torch.load(p) for p in sorted(pathlib.Path(work).glob("clips-*.pt"))]
    return torch.cat([s["pixels"] for s in shards]), [s["specs"][i][0] for s in shards for i in range(0, SHARD, PIXEL_EVERY)]
