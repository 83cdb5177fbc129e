#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Evidence about the model that ships: does it follow prompts, are there seams, does it drift, how good is the decoder.

    models/ambient/evaluate.py --work build/ambient-train                     samples with the Python model
    models/ambient/evaluate.py --work build/ambient-train --y4m a.y4m "fire"  judges frames that the engine wrote

A small classifier is trained on the rendered clips of the work folder (train.py makes them) and names scene and
colour of generated chunks. It sees frames, encoded as the clips are, so both kinds of video go the same way.
"""
import argparse
import pathlib
import random
import re

import torch
import torch.nn as nn
import torch.nn.functional as F

import clips
import sample
from autoencoder import Encoder
from render import COLORS, SCENES

CHUNK_FRAMES = 12
SCENE_NAMES, COLOR_NAMES = list(SCENES), list(COLORS)


class Classifier(nn.Module):
    """Latents of a chunk [B,16,3,12,20] -> logits of the scene and of the colour."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(48, 48, 3, padding=1), nn.GELU(), nn.Conv2d(48, 64, 3, stride=2, padding=1),
                                  nn.GELU(), nn.Conv2d(64, 96, 3, stride=2, padding=1), nn.GELU(), nn.Flatten(), nn.Dropout(.3))
        self.scene, self.color = nn.Linear(96 * 15, len(SCENE_NAMES)), nn.Linear(96 * 15, len(COLOR_NAMES))

    def forward(self, z):
        x = self.body(z.flatten(1, 2))
        return self.scene(x), self.color(x)


def train_classifier(work, steps):
    """Returns the classifier and its accuracy (scene, colour) on clips it has not seen."""
    latents, specs = clips.load(work)
    chunks = latents.unflatten(2, (clips.CHUNKS, clips.CHUNK)).transpose(1, 2)  # [N,4,16,3,h,w]
    scene = torch.tensor([SCENE_NAMES.index(s[0]) for s in specs])
    color = torch.tensor([COLOR_NAMES.index(s[1]) for s in specs])
    net, held, gen = Classifier(), clips.SHARD * 2, torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=.05)
    matrix = Encoder().mirror_matrix()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * (1 - step / steps)
        i = torch.randint(held, len(specs), (64,), generator=gen)
        z = chunks[i, torch.randint(clips.CHUNKS, (64,), generator=gen)]
        flip = torch.rand(64, generator=gen) < .5
        z[flip] = torch.einsum("ab,nbfhw->nafhw", matrix, z[flip].flip(-1))
        z = z * (1 + .1 * torch.randn(64, 1, 1, 1, 1, generator=gen)) + .15 * torch.randn(z.shape, generator=gen)
        a, b = net(z)
        loss = F.cross_entropy(a, scene[i], label_smoothing=.05) + F.cross_entropy(b, color[i], label_smoothing=.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        a, b = net(chunks[:held].flatten(0, 1))
    right = lambda logits, truth: (logits.argmax(1) == truth[:held].repeat_interleave(clips.CHUNKS)).float().mean().item()
    return net, (right(a, scene), right(b, color))


@torch.no_grad()
def classify(net, frames):
    """frames [12n,3,H,W] -> [(scene, colour)] of each chunk."""
    z = Encoder()(frames).unflatten(1, (-1, clips.CHUNK)).transpose(0, 1)
    scene, color = net(z)
    return [(SCENE_NAMES[s], COLOR_NAMES[c]) for s, c in zip(scene.argmax(1).tolist(), color.argmax(1).tolist())]


def statistics(frames):
    """Per chunk: mean, contrast, sharpness, motion [n,4]."""
    grey = frames.mean(1).unflatten(0, (-1, CHUNK_FRAMES))
    sharp = (grey[..., 1:] - grey[..., :-1]).abs().mean((1, 2, 3)) + (grey[..., 1:, :] - grey[..., :-1, :]).abs().mean((1, 2, 3))
    motion = (grey[:, 1:] - grey[:, :-1]).abs().mean((1, 2, 3))
    return torch.stack([grey.mean((1, 2, 3)), grey.std((1, 2, 3)), sharp, motion], 1)


def seam_ratio(frames):
    """(sum of frame differences across chunk borders, their number), (the same inside chunks)."""
    step = (frames[1:] - frames[:-1]).abs().mean((1, 2, 3))
    border = torch.arange(1, len(frames)) % CHUNK_FRAMES == 0
    return torch.tensor([step[border].sum(), border.sum(), step[~border].sum(), (~border).sum()])


def read_y4m(path):
    """4:2:0 or 4:4:4 8-bit Y4M (BT.601, limited range unless it says FULL) -> [T,3,H,W] in 0..1."""
    data = pathlib.Path(path).read_bytes()
    head, _, rest = data.partition(b"\n")
    width, height = (int(re.search(rb" %b(\d+)" % k, head)[1]) for k in (b"W", b"H"))
    full, sub = b"FULL" in head, 1 if b"C444" in head else 2
    y_size, c_size = width * height, (width // sub) * (height // sub)
    frames = []
    while rest:
        _, _, rest = rest.partition(b"\n")  # the FRAME line
        raw = torch.frombuffer(bytearray(rest[:y_size + 2 * c_size]), dtype=torch.uint8).float()
        rest = rest[y_size + 2 * c_size:]
        y = raw[:y_size].view(1, 1, height, width)
        c = F.interpolate(raw[y_size:].view(1, 2, height // sub, width // sub), size=(height, width), mode="bilinear")
        y, c = (y / 255, (c - 128) / 255) if full else ((y - 16) / 219, (c - 128) / 224)
        y, u, v = y[0, 0], c[0, 0], c[0, 1]
        frames.append(torch.stack([y + 1.402 * v, y - .344136 * u - .714136 * v, y + 1.772 * u]).clamp(0, 1))
    return torch.stack(frames)


def follow(model, net, count, steps, threshold):
    """Plain prompts and live changes. Prints the shares and the misses."""
    rng, right, seams, misses = random.Random(3), torch.zeros(4), torch.zeros(4), []
    pairs = [(s, c) for s in SCENES for c in SCENES[s][1]]
    for i in range(count):
        (s1, c1), (s2, c2) = rng.choice(pairs), rng.choice(pairs)
        names = [f"{c} {rng.choice(SCENES[s][0])}" for s, c in ((s1, c1), (s2, c2))]
        latents, _ = sample.generate(model.dit, [names[0]] * 2 + [names[1]] * 3, steps, seed=i, threshold=threshold)
        frames = model.frames(latents)
        got = classify(net, frames)
        seams += seam_ratio(frames[:2 * CHUNK_FRAMES])
        right += torch.tensor([got[1][0] == s1, got[1][1] == c1, got[4][0] == s2, got[4][1] == c2])
        misses += [f"{names[0]} -> {' '.join(reversed(got[1]))}"] if got[1] != (s1, c1) else []
        misses += [f"{names[0]}, then {names[1]} -> {' '.join(reversed(got[4]))}"] if got[4] != (s2, c2) else []
    share = (100 * right / count).tolist()
    print(f"prompt following, {count} prompts: scene {share[0]:.0f} %, colour {share[1]:.0f} %")
    print(f"third chunk after a live change: scene {share[2]:.0f} %, colour {share[3]:.0f} %")
    print(f"seams: frame difference across chunk borders / inside chunks = {(seams[0] / seams[1] / (seams[2] / seams[3])):.2f}")
    print("misses: " + "; ".join(misses))


def drift(model, work, prompt, chunks, steps, threshold):
    """A long stream against the range of the rendered clips of the same scene."""
    frames = model.frames(sample.generate(model.dit, [prompt] * chunks, steps, seed=1, threshold=threshold)[0])
    mine = statistics(frames)
    pixels, scenes = clips.load_pixels(work)
    real = torch.cat([statistics(p.float() / 255) for p, s in zip(pixels, scenes) if s == prompt.split()[-1]])
    for i, name in enumerate(("mean", "contrast", "sharpness", "motion")):
        print(f"drift, {prompt}, {chunks} chunks, {name}: first ten {mine[:10, i].mean():.4f}, last ten {mine[-10:, i].mean():.4f}, "
              f"min {mine[:, i].min():.4f}, max {mine[:, i].max():.4f}; rendered {real[:, i].min():.4f} to {real[:, i].max():.4f}")


@torch.no_grad()
def decoder_psnr(model, work):
    """By scene, on the pixels of the first shard, which no training has seen."""
    encode, (pixels, scenes) = Encoder(), clips.load_pixels(work)
    by_scene = {}
    for i in range(clips.SHARD // clips.PIXEL_EVERY + 1):
        frames = pixels[i].float() / 255
        error = (model.decoder(encode(frames)[None])[0].clamp(0, 1) - frames).pow(2).mean()
        by_scene.setdefault(scenes[i], []).append(-10 * error.log10().item())
    print("decoder PSNR, held-out clips: " + ", ".join(f"{k} {sum(v) / len(v):.1f}" for k, v in by_scene.items()) + " dB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True, help="work folder of train.py, for its clips")
    parser.add_argument("--model", help="folder with model.json (default: the one that ships)")
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--chunks", type=int, default=100, help="length of the drift test; 0 leaves it out")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--threshold", type=float, default=0.0, help="reuse while sampling, as the engine does")
    parser.add_argument("--classifier-steps", type=int, default=1200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--y4m", nargs=2, action="append", metavar=("FILE", "PROMPT"), help="frames of the engine instead")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    if not clips.count(args.work):
        parser.error(f"--work {args.work} has no clips: run train.py with the same --work first")
    net, (scene, color) = train_classifier(args.work, args.classifier_steps)
    print(f"classifier on held-out rendered chunks: scene {100 * scene:.0f} %, colour {100 * color:.0f} %", flush=True)
    for path, prompt in args.y4m or []:
        frames = read_y4m(path)
        frames = frames[:len(frames) // CHUNK_FRAMES * CHUNK_FRAMES]
        s = seam_ratio(frames)
        print(f"{path}, asked for {prompt!r}: {[f'{c} {n}' for n, c in classify(net, frames)]}, seams {s[0] / s[1] / (s[2] / s[3]):.2f}")
    if args.y4m:
        return
    model = sample.Model(args.model)
    decoder_psnr(model, args.work)
    follow(model, net, args.prompts, args.steps, args.threshold)
    if args.chunks:
        drift(model, args.work, "orange fire", args.chunks, args.steps, args.threshold)


if __name__ == "__main__":
    main()
