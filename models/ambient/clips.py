# SPDX-License-Identifier: LGPL-2.1-or-later
"""The data set: rendered clips as latents, in shards of a work folder, and the batches made from them.

train.py renders before it trains. More clips can be rendered at the same time; it takes them up while it trains:

    models/ambient/clips.py --work build/ambient-train --clips 900
    models/ambient/clips.py --work build/ambient-train --clips 1050 --unusual
"""
import argparse
import ctypes
import pathlib
import random
import sys
import time

import torch

import text
from autoencoder import CELL, Encoder
from render import HEIGHT, OTHER_SIDE, WIDTH, caption, render, sample_spec

FRAMES, CHUNKS, CHUNK = 48, 4, 3  # frames in a clip; chunks in a clip; latent frames in a chunk
SHARD = 50
WEAR = .08  # standard deviation of the logarithm of how much brighter and richer in contrast a worn past is
PIXEL_EVERY, PIXEL_FRAMES = 8, 24  # every 8th clip also keeps 24 frames as pixels, for the decoder


def keep_memory():
    """Makes malloc keep freed memory. By default it maps new memory for every large tensor, and the kernel clears it,
    which takes as long as the arithmetic. With this, rendering is twice as fast."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(-4, 0)  # M_MMAP_MAX
            libc.mallopt(-1, 2 ** 31 - 1)  # M_TRIM_THRESHOLD


def count(work):
    return len(list(pathlib.Path(work).glob("clips-*.pt"))) * SHARD


def render_shard(work, shard, encode, check=lambda: None, unusual=False):
    """Renders one shard. Shard k is always the same but for `unusual` (sample_spec). If rendering is interrupted, nothing of the shard is kept."""
    rng, latents, specs, pixels = random.Random(1000 + shard), [], [], []
    for i in range(SHARD):
        check()
        spec = sample_spec(rng, unusual)
        video = render(*spec, rng.randrange(1 << 30), FRAMES)
        latents.append(encode(video).half())
        specs.append(spec)
        if i % PIXEL_EVERY == 0:
            pixels.append((video[:PIXEL_FRAMES] * 255).round().byte())
    path = pathlib.Path(work) / f"clips-{shard:04d}.pt"
    torch.save(dict(latents=torch.stack(latents), specs=specs, pixels=torch.stack(pixels)), path.with_suffix(".tmp"))
    path.with_suffix(".tmp").rename(path)


def extend(work, clips, log=print, check=lambda: None, unusual=False):
    """Renders shards until the folder holds `clips` clips.

    check: called before every clip; an exception from it ends the rendering."""
    encode = Encoder()
    for shard in range(count(work) // SHARD, (clips + SHARD - 1) // SHARD):
        start = time.time()
        render_shard(work, shard, encode, check, unusual)
        log(f"clips {(shard + 1) * SHARD} of {clips}, {(time.time() - start) / SHARD:.2f} s a clip")


def load(work, device="cpu"):
    """(latents [N,16,12,h,w] float, specs of the N clips)."""
    shards = [torch.load(p) for p in sorted(pathlib.Path(work).glob("clips-*.pt"))]
    latents = torch.cat([s["latents"] for s in shards]).float().to(device)
    height, width = (CELL * n for n in latents.shape[-2:])
    if (width, height) != (WIDTH, HEIGHT):
        sys.exit(f"{work}: its clips have {width} x {height} pixels, render.py draws {WIDTH} x {HEIGHT}: name another work folder")
    return latents, [tuple(spec) for s in shards for spec in s["specs"]]


def load_pixels(work):
    """Frames [M,PIXEL_FRAMES,3,H,W] uint8 kept for the decoder, and their specs."""
    shards = [torch.load(p) for p in sorted(pathlib.Path(work).glob("clips-*.pt"))]
    return torch.cat([s["pixels"] for s in shards]), [s["specs"][i] for s in shards for i in range(0, SHARD, PIXEL_EVERY)]


def mirrored(z, matrix):
    return torch.einsum("ab,bfhw->afhw", matrix, z.flip(-1))


def joined(z, other, k, fade):
    """Clip z until chunk k, then `other`; with fade, chunk k changes gradually from one to the other.

    The encoder is linear, so a cross-fade of latents is a cross-fade of pictures.
    """
    cut = torch.cat([z[:, :CHUNK * k], other[:, CHUNK * k:]], 1)
    if fade:
        part = slice(CHUNK * k, CHUNK * (k + 1))
        weight = torch.tensor([.25, .55, .85], device=z.device).view(1, -1, 1, 1)
        cut[:, part] = z[:, part] * (1 - weight) + other[:, part] * weight
    return cut


class Batches:
    """Draws training batches, every scene equally often. Captions are made again each time; in some clips the prompt changes."""

    def __init__(self, latents, specs, matrix, cut=.12, fade=.22, drop=.08):
        self.latents, self.specs, self.matrix = latents, specs, matrix
        self.cut, self.fade, self.drop = cut, fade, drop
        self.of_scene = {}
        for i, (scene, *_) in enumerate(specs):
            self.of_scene.setdefault(scene, []).append(i)

    def _any(self, rng):
        return rng.choice(self.of_scene[rng.choice(list(self.of_scene))])

    def _caption(self, rng, i, mirror):
        scene, color, speed, density, drift = self.specs[i]
        drift = OTHER_SIDE[drift] if mirror else drift
        words = caption(scene, color, speed, density, drift, rng)
        return [0] * text.MAX_IDS if rng.random() < self.drop else text.encode(words)

    def draw(self, rng, size):
        """(z [B,16,12,h,w], ids [B,chunks,MAX_IDS])."""
        clips, ids = [], []
        for _ in range(size):
            i, change, mirror = self._any(rng), rng.random(), rng.random() < .5
            z, words = self.latents[i], [self._caption(rng, i, mirror)] * CHUNKS
            if change < self.cut + self.fade:
                j, k = self._any(rng), rng.randrange(1, CHUNKS)
                z = joined(z, self.latents[j], k, change >= self.cut)
                words = words[:k] + [self._caption(rng, j, mirror)] * (CHUNKS - k)
            clips.append(mirrored(z, self.matrix) if mirror else z)
            ids.append(words)
        return torch.stack(clips), torch.tensor(ids, device=self.latents.device)

    def starts(self, rng, size):
        """(z [B,16,3,h,w], ids [B,1,MAX_IDS]): single chunks, from any place of a clip, as if a stream began there."""
        chunks, ids = [], []
        for _ in range(size):
            i, mirror = self._any(rng), rng.random() < .5
            first = rng.randrange(self.latents.shape[2] - CHUNK + 1)
            z = self.latents[i, :, first:first + CHUNK]
            chunks.append(mirrored(z, self.matrix) if mirror else z)
            ids.append([self._caption(rng, i, mirror)])
        return torch.stack(chunks), torch.tensor(ids, device=self.latents.device)


def _generator(rng):
    return torch.Generator().manual_seed(rng.randrange(1 << 60))


def independent_levels(rng, size, chunks=CHUNKS):
    """u [size,chunks], 1 = noise. More values lie where the picture takes shape."""
    return torch.sigmoid(torch.randn(size, chunks, generator=_generator(rng)) * 1.1 + .4)


def past_levels(rng, size):
    """Noise levels for a clean past [size,chunks-1]: 0 for half of the clips, else small, so that streams do not drift."""
    gen = _generator(rng)
    return torch.rand(size, CHUNKS - 1, generator=gen) * .06 * (torch.rand(size, 1, generator=gen) < .5)


def worn(past, black, rng):
    """Half of the pasts [B,16,t,h,w] as they look after minutes: a little darker or brighter, flatter or richer in contrast.

    What should follow is the clip as it was drawn, so the model learns to come back. black: Encoder.black() in units of past.
    """
    gen = _generator(rng)
    some = torch.rand(len(past), 1, 1, 1, 1, generator=gen) < .5
    gain, contrast = (WEAR * torch.randn(2, len(past), 1, 1, 1, 1, generator=gen) * some).exp().to(past.device)
    mean, black = past.mean((3, 4), keepdim=True), black.view(1, -1, 1, 1, 1)
    return black + gain * (mean + contrast * (past - mean) - black)


def noise_levels(rng, size):
    """Noise levels for diffusion forcing: a clean past, a staggered window (several chunks in flight), or independent."""
    u, gen = independent_levels(rng, size), _generator(rng)
    for row in u:
        kind = rng.random()
        if kind < .25:
            clean = rng.randrange(CHUNKS)
            row[:clean] = torch.rand(clean, generator=gen) * .04
        elif kind < .75:
            row.copy_(row.sort().values)
    return u


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, required=True, help="work folder of train.py")
    parser.add_argument("--clips", type=int, required=True, help="clips that the folder holds at the end")
    parser.add_argument("--unusual", action="store_true", help="draw the new ones only in colours that their scenes seldom have")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_memory()
    args.work.mkdir(parents=True, exist_ok=True)
    extend(args.work, args.clips, lambda line: print(line, flush=True), unusual=args.unusual)


if __name__ == "__main__":
    main()
