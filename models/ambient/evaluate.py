#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Evaluates the model that ships: does it follow its prompt, are there seams, does it drift, how good is the decoder.

    models/ambient/evaluate.py --work build/ambient-train

All judged frames come from the C++ engine with the model's own defaults. A small classifier is trained on the rendered
clips of the work folder (train.py makes them) and names scene and colour of generated chunks. It gets frames that are
encoded as the clips are, so that both kinds of video are treated alike. So that it knows all pairs of scene and colour, let
clips.py add some clips to the folder that the model is not trained on:

    models/ambient/clips.py --work build/ambient-train --clips 900 --unusual
"""
import argparse
import pathlib
import random

import torch
import torch.nn as nn
import torch.nn.functional as F

import autoencoder
import clips
import decoder as decoder_training
import export
import sample
from engine import Stream
from render import COLORS, DENSITIES, SCENES, caption, render, unusual_colors

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHUNK_FRAMES = 12
SCENE_NAMES, COLOR_NAMES = list(SCENES), list(COLORS)


class Classifier(nn.Module):
    """Latents of a chunk [B,16,3,h,w] -> logits of the scene and of the colour."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(48, 48, 3, padding=1), nn.GELU(), nn.Conv2d(48, 64, 3, stride=2, padding=1),
                                  nn.GELU(), nn.Conv2d(64, 96, 3, stride=2, padding=1), nn.GELU(), nn.AdaptiveAvgPool2d((3, 5)),
                                  nn.Flatten(), nn.Dropout(.3))
        self.scene, self.color = nn.Linear(96 * 15, len(SCENE_NAMES)), nn.Linear(96 * 15, len(COLOR_NAMES))

    def forward(self, z):
        x = self.body(z.flatten(1, 2))
        return self.scene(x), self.color(x)


def train_classifier(work, steps):
    """Returns the classifier and its accuracy (scene, colour) on clips that were not used to train it."""
    latents, specs = clips.load(work)
    chunks = latents.unflatten(2, (clips.CHUNKS, clips.CHUNK)).transpose(1, 2)  # [N,4,16,3,h,w]
    scene = torch.tensor([SCENE_NAMES.index(s[0]) for s in specs])
    color = torch.tensor([COLOR_NAMES.index(s[1]) for s in specs])
    net, held, gen = Classifier(), clips.SHARD * 2, torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=.05)
    matrix = autoencoder.Encoder().mirror_matrix()
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
    """One chunk [12,3,H,W] -> (scene, colour)."""
    scene, color = net(autoencoder.Encoder()(frames)[None])
    return SCENE_NAMES[scene.argmax()], COLOR_NAMES[color.argmax()]


def statistics(frames):
    """Four numbers of one chunk: mean, contrast, sharpness, motion [4]."""
    grey = frames.mean(1)
    sharp = (grey[..., 1:] - grey[..., :-1]).abs().mean() + (grey[..., 1:, :] - grey[..., :-1, :]).abs().mean()
    return torch.stack([grey.mean(), grey.std(), sharp, (grey[1:] - grey[:-1]).abs().mean()])


def steps_of(frames):
    """Mean frame difference: (inside of latent frames, between them inside of chunks, between chunks)."""
    step, i = (frames[1:] - frames[:-1]).abs().mean((1, 2, 3)), torch.arange(1, len(frames))
    chunk, latent = i % CHUNK_FRAMES == 0, i % autoencoder.STRIDE == 0
    return torch.stack([step[~latent].mean(), step[latent & ~chunk].mean(), step[chunk].mean()])


def seam_ratio(steps):
    """Ratio of steps_of(): between chunks / inside of them. A chunk has nine steps in latent frames, two between."""
    return (steps[2] / ((9 * steps[0] + 2 * steps[1]) / 11)).item()


def tally(title, rows):
    """rows: [(scene right, colour right)]."""
    share = [100 * sum(r[i] for r in rows) / max(1, len(rows)) for i in (0, 1)]
    print(f"{title}: {len(rows)} prompts, scene {share[0]:.1f} %, colour {share[1]:.1f} %", flush=True)


@torch.no_grad()
def judge_unusual(net):
    """Scene and colour named on new rendered clips, a chunk each, in the colours that their scenes seldom have: no model can
    be seen to follow such prompts better than this."""
    rng, rows = random.Random(5), []
    for scene in SCENES:
        for color in unusual_colors(scene) * 2:
            got = classify(net, render(scene, color, rng.choice(["slow", "", "fast"]), "", "", rng.randrange(1 << 30), CHUNK_FRAMES))
            rows.append((got[0] == scene, got[1] == color))
    tally("classifier on rendered chunks, unusual colours", rows)


def draw(rng, usual, known):
    """(scene, colour, prompt). usual: the colour is one that the scene usually has. known: the scenes to choose from."""
    scene = rng.choice(list(known))
    color = rng.choice([c for c in COLORS if (c in SCENES[scene][1]) == usual])
    density = rng.choice(["", "sparse", "dense"]) if scene in DENSITIES else ""
    return scene, color, caption(scene, color, rng.choice(["slow", "", "fast"]), density, rng=rng)


def follow(stream, net, count, known):
    """A quarter of the prompts name a colour that the scene seldom has. Each prompt is shown for two chunks, then changed live."""
    rng, plain, unusual, changed, misses = random.Random(3), [], [], [], []
    for i in range(count):
        first, second = draw(rng, i % 4 != 3, known), draw(rng, True, known)
        stream.start(first[2], i)
        shown = [stream.chunk() for _ in range(2)]
        stream.prompt(second[2])
        shown += [stream.chunk() for _ in range(2)]
        for (scene, color, words), frames, rows in ((first, shown[1], plain if i % 4 != 3 else unusual), (second, shown[3], changed)):
            got = classify(net, frames)
            rows.append((got[0] == scene, got[1] == color))
            if got != (scene, color):
                misses.append(f"{'then ' if rows is changed else ''}{words} -> {got[1]} {got[0]}")
    tally("second chunk from the start", plain)
    tally("the same, unusual colours", unusual)
    tally("second chunk after a live change", changed)
    print("misses: " + "; ".join(misses))


@torch.no_grad()
def seams(stream, decoder, known, chunks=6):
    """For each scene the steps of rendered clips, of the same clips through the autoencoder, and of generated streams."""
    encode, total = autoencoder.Encoder(), torch.zeros(3, 3)
    print("seams, frame differences x 1000 (inside latent frames, across their borders, across chunk borders; ratio):")
    for scene, (names, colors) in known.items():
        rows = torch.zeros(3, 3)
        for i, color in enumerate(colors[:3]):
            video = render(scene, color, "", "", "", 700_000 + i, 48)
            stream.start(f"{color} {names[0]}", i)
            generated = torch.cat([stream.chunk() for _ in range(chunks)])
            rows += torch.stack([steps_of(v) for v in (video, decoder(encode(video)[None])[0].clamp(0, 1), generated)]) / 3
        total += rows / len(known)
        print(f"  {scene:10s}" + "".join(f" | {n} " + " ".join(f"{1000 * q:4.1f}" for q in r.tolist()) + f"; {seam_ratio(r):.2f}"
                                       for n, r in zip(("rendered", "decoded", "generated"), rows)), flush=True)
    print("seam ratio, all scenes: " + ", ".join(f"{n} {seam_ratio(r):.2f}" for n, r in zip(("rendered", "decoded", "generated"), total)))


def flow(frames):
    """Mean speed of the picture to the right, pixels a frame, by least squares on the brightness."""
    grey = F.avg_pool2d(frames.mean(1, keepdim=True), 4)[:, 0]
    dx, dt = (grey[:-1, :, 2:] - grey[:-1, :, :-2]) / 2, (grey[1:] - grey[:-1])[:, :, 1:-1]
    return (-4 * (dx * dt).sum() / dx.pow(2).sum().clamp(min=1e-9)).item()


def words(stream, count, known):
    """Effect of speed, density and direction: motion, sharpness (clouds: brightness) and flow of the third chunk."""
    def third(text, seed):
        stream.start(text, seed)
        return [stream.chunk() for _ in range(3)][2]
    for scene, (names, colors) in known.items():
        kinds = {"speed": ["slow", "", "fast"]} | ({"density": ["sparse", "", "dense"]} if scene in DENSITIES else {})
        if scene in ("clouds", "aurora", "snow"):
            kinds["direction"] = ["left", "right"]
        parts = []
        for kind, options in kinds.items():
            values = []
            for word in options:
                shown = [third(f"{word} {colors[i % 3]} {names[0]}", i) for i in range(count)]
                which = dict(speed=lambda f: 1000 * statistics(f)[3].item(), direction=flow,
                             density=lambda f: 1000 * statistics(f)[0 if scene == "clouds" else 2].item())[kind]
                values.append(f"{word or 'plain'} {sum(map(which, shown)) / count:.2f}")
            parts.append(f"{kind}: " + ", ".join(values))
        print(f"words, {scene}: " + "; ".join(parts), flush=True)


def drift(stream, prompt, chunks):
    """Compares a long stream with the range of rendered clips of the same scene and colour. Returns six of its frames: the last ones
    of the first chunk, the last chunk, and chunks between them at equal ratios."""
    color, scene = prompt.split()
    stream.start(prompt, 1)
    shown, mine, kept = sorted({round(chunks ** (i / 5)) - 1 for i in range(6)}), [], []
    for i in range(chunks):
        frames = stream.chunk()
        mine.append(statistics(frames))
        if i in shown:
            kept.append(frames[-1])
    mine = torch.stack(mine)
    real = torch.stack([statistics(c) for k in range(24) for c in render(scene, color, "", "", "", 800_000 + k, 48).split(CHUNK_FRAMES)])
    edge = max(1, min(50, chunks // 2))
    for i, name in enumerate(("mean", "contrast", "sharpness", "motion")):
        low, high = real[:, i].min().item(), real[:, i].max().item()
        inside = 100 * ((mine[:, i] >= low) & (mine[:, i] <= high)).float().mean()
        print(f"drift, {prompt}, {chunks} chunks, {name}: first {edge} {mine[:edge, i].mean():.4f}, last {edge} {mine[-edge:, i].mean():.4f}, "
              f"all {mine[:, i].min():.4f} to {mine[:, i].max():.4f}; rendered {low:.4f} to {high:.4f}, inside {inside:.0f} %", flush=True)
    return kept


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True, help="work folder of train.py, for its clips")
    parser.add_argument("--model", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent, help="folder with model.json")
    parser.add_argument("--library", default=ROOT / "build" / "engine" / "libflowcache.so", help="the engine")
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--chunks", type=int, default=1000, help="length of the drift test; 0 leaves it out")
    parser.add_argument("--drift-prompt", action="append", help="colour and scene, once or more (default: one of each scene)")
    parser.add_argument("--drift-sheet", type=pathlib.Path, help="picture to draw: a row of frames for each stream of the drift test")
    parser.add_argument("--seeds", type=int, default=4, help="streams per word in the test of words")
    parser.add_argument("--cache", help="reuse policy (default: the model's); none computes all")
    parser.add_argument("--lag", type=int, default=0, help="steps between chunk starts (default: the model's)")
    parser.add_argument("--only", choices=["decoder", "seams", "words", "follow", "drift"])
    parser.add_argument("--classifier-steps", type=int, default=1200)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    clips.keep_memory()
    if not clips.count(args.work):
        parser.error(f"--work {args.work} has no clips: run train.py with the same --work first")
    wanted = lambda part: args.only in (None, part)
    known = export.scenes(args.model)
    decoder = autoencoder.Decoder()
    decoder.load_state_dict(export.load(args.model)[1])
    if wanted("decoder"):
        print("decoder, held-out clips: " + ", ".join(f"{k} {a} dB (step ratio {b})" for k, (a, b) in decoder_training.quality(decoder).items()))
    with Stream(args.library, args.model, args.threads, args.cache, lag=args.lag) as stream:
        if wanted("seams"):
            seams(stream, decoder, known)
        if wanted("words"):
            words(stream, args.seeds, known)
        if wanted("follow") and args.prompts:
            net, (scene, color) = train_classifier(args.work, args.classifier_steps)
            print(f"classifier on held-out rendered chunks: scene {100 * scene:.1f} %, colour {100 * color:.1f} %", flush=True)
            judge_unusual(net)
            follow(stream, net, args.prompts, known)
        if wanted("drift") and args.chunks:
            prompts = args.drift_prompt or [p for p in sample.SHEET if p.split()[1] in known]
            rows = [drift(stream, prompt, args.chunks) for prompt in prompts]
            if args.drift_sheet:
                sample.save_sheet(rows, args.drift_sheet, 213)


if __name__ == "__main__":
    main()
