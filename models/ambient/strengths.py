#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Repaints rendered clips at every strength and measures what is kept of them and what is followed; draws docs/strengths.jpg.

    models/ambient/strengths.py --work build/ambient-train --sheet docs/strengths.jpg

Five clips of each scene, three chunks long: two are repainted by the same scene in another colour, three by another scene in
another colour. `flowcache generate --input … --strength …` repaints them, with the model's own defaults. A clip that is done
is kept in the work folder, so an interrupted run goes on. The classifier is that of evaluate.py; with --linear it is least
squares on averages of latents, which takes seconds and names fewer colours right.

Printed for each strength, means over the clips:
  edges     SSIM of the luma's edges against the input's, both at a quarter of the size, since finer than that a slow gradient
            is nothing but rounding. Edges are divided by their 99th percentile in each video, so that another colour is no
            other structure
  scene, colour   last chunks that the classifier names as the prompt does; "kept": that it names as the input
  flicker   mean second difference of luma in time, divided by the input's: the median over the clips
  seam      frame difference across chunk borders, divided by that inside of chunks
"""
import argparse
import pathlib
import subprocess
import tempfile

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

import autoencoder
import clips
import evaluate
import export
import pictures
from render import SCENES, render

ROOT = pathlib.Path(__file__).resolve().parents[2]
STRENGTHS = [0, .2, .3, .4, .5, .6, .7, .8, .85, .87, .9, .95, 1]  # 0 is what the codec leaves of a clip, 1 what has nothing of it
ON_THE_SHEET = [.2, .4, .6, .7, .8, .87, .9, .95]
CHUNKS, SHOWN = 3, 29  # chunks of a clip; the frame on the sheet
NAMES = list(export.scenes(pathlib.Path(__file__).resolve().parent))  # that the model knows


def cases(each=5):
    """(number, (scene, colour) of the clip, (scene, colour) to paint); a clip of every scene, then the next ones."""
    for i in (2, 0, 3, 1, 4)[:each]:
        for row, scene in enumerate(NAMES):
            colors = SCENES[scene][1]
            target = scene if i < 2 else NAMES[(row + 1 + 2 * (i - 2)) % len(NAMES)]
            others = [c for c in SCENES[target][1] if c != colors[i]]
            yield 5 * row + i, (scene, colors[i]), (target, others[(row + i) % len(others)])


def words(what):
    scene, color = what
    return f"{color} {SCENES[scene][0][0]}"


def from_y4m(data):
    """The frames of a Y4M file of 4:2:0 in BT.709, [T,3,H,W] in 0..1."""
    head, rest = data.split(b"\n", 1)
    width, height = (next(int(word[1:]) for word in head.split()[1:] if word[:1] == side) for side in (b"W", b"H"))
    luma, chroma = width * height, width * height // 4
    frames = torch.from_numpy(np.frombuffer(rest, np.uint8).reshape(-1, len(b"FRAME\n") + luma + 2 * chroma)[:, 6:].copy()).float()
    y = (frames[:, :luma].view(-1, 1, height, width) - 16) / 219
    u, v = F.interpolate((frames[:, luma:].view(-1, 2, height // 2, width // 2) - 128) / 224, scale_factor=2).split(1, 1)
    return torch.cat([y + 1.5748 * v, y - .1873 * u - .4681 * v, y + 1.8556 * u], 1).clamp(0, 1)


def repaint(flowcache, options, folder, prompt, strength, seed):
    """The video that comes out, [T,3,H,W] in 0..1."""
    done = subprocess.run([flowcache, "generate", prompt, "--input", folder, "--strength", str(strength), "--seed", str(seed), *options,
                           "-o", "-"], check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return from_y4m(done.stdout)


def luma(frames):
    return (frames * torch.tensor([.2126, .7152, .0722]).view(3, 1, 1)).sum(1, keepdim=True)


def edges(small):
    """Sobel's magnitude of small luma, [T,1,H,W] in 0..1."""
    across = torch.tensor([[-1., 0, 1], [-2, 0, 2], [-1, 0, 1]])
    size = F.conv2d(small, torch.stack([across, across.t()])[:, None]).pow(2).sum(1, keepdim=True).sqrt()
    strong = size.flatten().kthvalue(int(.99 * size.numel())).values
    return (size / strong.clamp(min=1e-4)).clamp(max=1)


def ssim(a, b):
    """Mean structural similarity (Wang et al. 2004): windows of 11 x 11 with sigma 1.5."""
    window = torch.exp(-(torch.arange(11.) - 5) ** 2 / 4.5)
    window = (window / window.sum())[None, None, None]
    blur = lambda x: F.conv2d(F.conv2d(x, window), window.transpose(2, 3))
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b, cov = blur(a * a) - mean_a ** 2, blur(b * b) - mean_b ** 2, blur(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + .01 ** 2) * (2 * cov + .03 ** 2)
    return (top / ((mean_a ** 2 + mean_b ** 2 + .01 ** 2) * (var_a + var_b + .03 ** 2))).mean().item()


def flicker(frames):
    grey = luma(frames)
    return (grey[2:] - 2 * grey[1:-1] + grey[:-2]).abs().mean().item()


def measure(given, made, encode):
    """What the table needs of one video; edges are compared and `latents` judged later."""
    return dict(small=F.avg_pool2d(luma(made), 4), flicker=flicker(made) / flicker(given), steps=evaluate.steps_of(made),
                latents=encode(made[-evaluate.CHUNK_FRAMES:]).half(), picture=(made[SHOWN] * 255).round().byte())


def run(args, encode):
    """All measurements, {(number, strength): what measure() returns}; strength None is the input itself."""
    folder, all_of_them = pathlib.Path(args.work) / "strengths", {}
    folder.mkdir(parents=True, exist_ok=True)
    for number, source, target in cases(args.clips):
        path = folder / f"{number:02d}.pt"
        done = torch.load(path) if path.exists() else {}
        missing = [strength for strength in STRENGTHS if strength not in done]
        if missing:
            video = render(*source, "", "", "", 900_000 + number, CHUNKS * evaluate.CHUNK_FRAMES)
            given = (video * 255).round() / 255
            done[None] = measure(given, given, encode)
            with tempfile.TemporaryDirectory() as inputs:
                for i, frame in enumerate(given):
                    Image.fromarray((frame * 255).round().byte().permute(1, 2, 0).numpy()).save(f"{inputs}/{i:04d}.png", compress_level=1)
                for strength in missing:
                    made = repaint(args.flowcache, args.option, inputs, words(target), strength, number)
                    done[strength] = measure(given, made, encode)
            torch.save(done, path.with_suffix(".tmp"))
            path.with_suffix(".tmp").rename(path)
        for one in done.values():
            one["edges"] = ssim(edges(done[None]["small"]), edges(one["small"]))
        print(f"clip {number}: {words(source)} -> {words(target)}: edges " +
              ", ".join(f"{s}: {done[s]['edges']:.2f}" for s in STRENGTHS), flush=True)
        all_of_them |= {(number, strength): one for strength, one in done.items()}
    return all_of_them


def averages(z):
    """Latents of chunks [B,16,3,h,w] -> numbers of them: means and contrasts of 3 x 5 places, and steps between cells."""
    x = z.flatten(1, 2)
    spread = (x - x.mean((2, 3), keepdim=True)).abs()
    return torch.cat([F.adaptive_avg_pool2d(x, (3, 5)).flatten(1), F.adaptive_avg_pool2d(spread, (3, 5)).flatten(1),
                      x.diff(dim=3).abs().mean((2, 3)), x.diff(dim=2).abs().mean((2, 3)), torch.ones(len(x), 1)], 1)


def linear_classifier(work):
    """As evaluate.train_classifier(), by least squares."""
    latents, specs = clips.load(work)
    x = averages(latents.unflatten(2, (clips.CHUNKS, clips.CHUNK)).transpose(1, 2).flatten(0, 1))
    held = clips.SHARD * 2 * clips.CHUNKS
    mean, deviation = x[held:].mean(0), x[held:].std(0) + 1e-3
    mean[-1], deviation[-1] = 0, 1
    x, weights, right = (x - mean) / deviation, [], []
    for part, names in ((0, evaluate.SCENE_NAMES), (1, evaluate.COLOR_NAMES)):
        truth = torch.tensor([names.index(spec[part]) for spec in specs]).repeat_interleave(clips.CHUNKS)
        a = x[held:]
        weights.append(torch.linalg.solve(a.t() @ a + 30 * torch.eye(a.shape[1]), a.t() @ F.one_hot(truth[held:], len(names)).float()))
        right.append(((x[:held] @ weights[-1]).argmax(1) == truth[:held]).float().mean().item())
    return lambda z: [(averages(z) - mean) / deviation @ w for w in weights], right


@torch.no_grad()
def table(measured, net):
    """The rows, as Markdown."""
    def named(one):
        scene, color = net(one["latents"].float()[None])
        return evaluate.SCENE_NAMES[scene.argmax()], evaluate.COLOR_NAMES[color.argmax()]
    share = lambda rows: f"{100 * sum(rows) / len(rows):.0f}"
    what = {number: (source, target) for number, source, target in cases() if (number, None) in measured}
    print("| strength | edges: same scene, another | colour: same scene, another | scene: another; kept | flicker: same scene, another | seam |")
    print("| --- | --- | --- | --- | --- | --- |")
    for strength in [None] + STRENGTHS:
        rows = {kind: [] for kind in (True, False)}
        for number, (source, target) in what.items():
            one = measured[number, strength]
            scene, color = named(one)
            rows[source[0] == target[0]].append((one["edges"], color == target[1], scene == target[0], scene == source[0],
                                                 one["flicker"], one["steps"]))
        same, other = ([list(column) for column in zip(*rows[kind])] for kind in (True, False))
        mean = lambda values: sum(values) / len(values)
        seam = evaluate.seam_ratio(torch.stack(same[5] + other[5]).sum(0))
        print(f"| {'input' if strength is None else strength} | {mean(same[0]):.2f}, {mean(other[0]):.2f} | {share(same[1])}, {share(other[1])} % | "
              f"{share(other[2])}; {share(other[3])} % | {np.median(same[4]):.2f}, {np.median(other[4]):.2f} | {seam:.2f} |")
    print(f"{len(what)} clips, {len(same[0])} of them repainted by the same scene in another colour", flush=True)


def sheet(measured, path):
    """A row for a clip of each scene, by turns in another scene and another colour: the input, then strengths 0.2 to 0.95."""
    rows, labels, shown = [], [], ON_THE_SHEET
    for number, source, target in sorted(cases()):
        if number % 5 == 2 * (1 - number // 5 % 2) and (number, None) in measured:
            rows.append([measured[number, s]["picture"].permute(1, 2, 0).numpy() for s in [None] + shown])
            labels.append(f"{words(source)}  ->  {words(target)}")
    labels[0] += ": the input, then strength " + ", ".join(map(str, shown))
    pictures.montage(rows, labels, path, 160)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True, help="folder with the rendered clips (made if there are none); results are kept in it")
    parser.add_argument("--flowcache", default=str(ROOT / "build/engine/cli/flowcache"), help="the program (default: build/…)")
    parser.add_argument("--option", action="append", default=[], help="another option of `flowcache generate`, as --option=--cache=none")
    parser.add_argument("--clips", type=int, default=5, choices=range(1, 6), help="of each scene")
    parser.add_argument("--train-clips", type=int, default=600, help="rendered clips for the classifier")
    parser.add_argument("--classifier-steps", type=int, default=1500)
    parser.add_argument("--linear", action="store_true", help="the quick classifier")
    parser.add_argument("--sheet", type=pathlib.Path, help="draw the contact sheet to this file")
    parser.add_argument("--only", choices=["repaint", "sheet"], help="no table")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    clips.keep_memory()
    measured = run(args, autoencoder.Encoder())
    if args.sheet:
        sheet(measured, args.sheet)
    if args.only:
        return
    clips.extend(args.work, args.train_clips)
    net, (scene, color) = linear_classifier(args.work) if args.linear else evaluate.train_classifier(args.work, args.classifier_steps)
    print(f"classifier on held-out rendered chunks: scene {100 * scene:.1f} %, colour {100 * color:.1f} %", flush=True)
    table(measured, net)


if __name__ == "__main__":
    main()
