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


def extend(work, clips, log=print, check=lambda: None):
    """Renders shards until the folder holds `clips` clips. Shard k is always the same, an unfinished one is not kept.

    check: called before every clip; what it raises ends the rendering."""
    encode = Encoder()
    for shard in range(count(work) // SHARD, (clips + SHARD - 1) // SHARD):
        rng, start, latents, specs, pixels = random.Random(1000 + shard), time.time(), [], [], []
        for i in range(SHARD):
            check()
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


def mirrored(z, matrix):
    return torch.einsum("ab,bfhw->afhw", matrix, z.flip(-1))


def joined(z, other, k, fade):
    """Clip z until chunk k, `other` from there on; with fade chunk k goes over from one to the other.

    The encoder is linear, so a cross-fade of latents is a cross-fade of pictures.
    """
    cut = torch.cat([z[:, :CHUNK * k], other[:, CHUNK * k:]], 1)
    if fade:
        part = slice(CHUNK * k, CHUNK * (k + 1))
        weight = torch.tensor([.25, .55, .85], device=z.device).view(1, -1, 1, 1)
        cut[:, part] = z[:, part] * (1 - weight) + other[:, part] * weight
    return cut


class Batches:
    """Draws training batches. Captions are made anew each time; some clips change their prompt on the way."""

    def __init__(self, latents, specs, matrix, cut=.12, fade=.22, drop=.08):
        self.latents, self.specs, self.matrix = latents, specs, matrix
        self.cut, self.fade, self.drop = cut, fade, drop

    def _caption(self, rng, i):
        return [0] * text.MAX_IDS if rng.random() < self.drop else text.encode(caption(*self.specs[i], rng=rng))

    def draw(self, rng, size):
        """(z [B,16,12,h,w], ids [B,chunks,MAX_IDS])."""
        clips, ids = [], []
        for _ in range(size):
            i, change = rng.randrange(len(self.specs)), rng.random()
            z, words = self.latents[i], [self._caption(rng, i)] * CHUNKS
            if change < self.cut + self.fade:
                j, k = rng.randrange(len(self.specs)), rng.randrange(1, CHUNKS)
                z = joined(z, self.latents[j], k, change >= self.cut)
                words = words[:k] + [self._caption(rng, j)] * (CHUNKS - k)
            clips.append(mirrored(z, self.matrix) if rng.random() < .5 else z)
            ids.append(words)
        return torch.stack(clips), torch.tensor(ids, device=self.latents.device)


def _generator(rng):
    return torch.Generator().manual_seed(rng.randrange(1 << 60))


def independent_levels(rng, size):
    """u [size,chunks], 1 = noise; denser where the picture takes shape."""
    return torch.sigmoid(torch.randn(size, CHUNKS, generator=_generator(rng)) * 1.1 + .4)


def past_levels(rng, size):
    """Noise on a clean past [size,chunks-1]: none in half of the clips, else a little, against drift."""
    gen = _generator(rng)
    return torch.rand(size, CHUNKS - 1, generator=gen) * .06 * (torch.rand(size, 1, generator=gen) < .5)


def noise_levels(rng, size):
    """Diffusion forcing: a clean past, a staggered window (several chunks in flight), or all independent."""
    u, gen = independent_levels(rng, size), _generator(rng)
    for row in u:
        kind = rng.random()
        if kind < .25:
            clean = rng.randrange(CHUNKS)
            row[:clean] = torch.rand(clean, generator=gen) * .04
        elif kind < .75:
            row.copy_(row.sort().values)
    return u
