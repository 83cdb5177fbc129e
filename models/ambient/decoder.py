#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Trains the decoder on the pixels kept with the clips. train.py calls it; alone it continues from the shipped decoder:

    models/ambient/decoder.py --work build/ambient-train --minutes 15

and writes WORK/decoder.pt, which train.py uses at its next export. Both can run at the same time. Half of the latents are
drawn by the transformer that ships, so that the decoder learns to hide the transformer's mistakes.
"""
import argparse
import collections
import os
import pathlib
import random
import time

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
import torch
import torch.nn.functional as F

import autoencoder
import clips
import export
import text
from dit import DiT
from pasts import redraw
from render import SCENES, caption, render

CROP, BATCH = 6, 4  # latent cells on a side, crops in a step
CLIPS = 14  # of each scene, at least
WEIGHTS = dict(fire=5.0, stars=3.0, tunnel=3.0, lava=3.0, snow=2.0, galaxy=2.0)  # what is hard is drawn more often
TEMPORAL = .05  # factor of the error of frame differences, see loss_of
ENERGY, COLOUR, CELLS = .1, 3, 8  # factors of the errors of amounts and of mean colours; pixels on a side over which both are taken
DRAWN, LEVELS, STEPS = .5, (.3, .7), 8  # share of crops drawn by the transformer; noise at its start; its steps


def held_out(count=2, frames=24):
    """Clips that no training has used, of every scene in two colours: {scene: [frames [T,3,H,W]]}."""
    return {scene: [render(scene, colors[i], "", "", "", 900_000 + i, frames) for i in range(count)]
            for scene, (_, colors) in SCENES.items()}


def steps_of(frames):
    """Mean absolute difference of frames: (inside of latent frames, across their borders)."""
    step = (frames[1:] - frames[:-1]).abs().mean((1, 2, 3))
    border = torch.arange(1, len(frames)) % autoencoder.STRIDE == 0
    return step[~border].mean().item(), step[border].mean().item()


@torch.no_grad()
def quality(decoder, clips_of=None):
    """{scene: (PSNR in dB, step across a latent border / step inside, both of the decoded frames)}."""
    encode, out = autoencoder.Encoder(), {}
    for scene, videos in (clips_of or held_out()).items():
        error, inside, across = [], 0.0, 0.0
        for video in videos:
            frames = decoder(encode(video)[None].to(next(decoder.parameters()).device))[0].clamp(0, 1).cpu()
            error.append(-10 * (frames - video).pow(2).mean().log10().item())
            a, b = steps_of(frames)
            inside, across = inside + a, across + b
        out[scene] = round(sum(error) / len(error), 1), round(across / inside, 2)
    return out


def loss_of(out, truth):
    """L1, squared, gradient, motion and energy error [B,T,3,H,W]. Without the motion error a decoder shows each latent frame
    as four nearly equal pictures and then jumps. That changes the PSNR little but is a stutter, four times a second. The
    motion error is relative to the clip's motion, because slow scenes show the stutter as much as fast ones.

    All these errors are least where what the latents do not tell, glitter or the points of a star cluster, is left away. The
    energy error is the one that misses it: it compares how much a small square changes from pixel to pixel and from frame to
    frame, wherever exactly. Beside it the mean colour of each square has an error of its own, or a black sky becomes a dark
    blue one, of which the others see little."""
    d = out - truth
    edges = (d[..., 1:] - d[..., :-1]).abs().mean() + (d[..., 1:, :] - d[..., :-1, :]).abs().mean()
    step = lambda x: (x[:, 1:] - x[:, :-1]).abs().mean((1, 2, 3, 4))
    energy = sum(energy_error(a, b) for a, b in zip(amounts(out), amounts(truth)))
    return (d.abs().mean() + 4 * d.pow(2).mean() + .5 * edges + TEMPORAL * (step(d) / (step(truth) + .002)).mean()
            + ENERGY * energy.mean() + COLOUR * F.avg_pool2d(d.flatten(0, 1), CELLS).abs().mean())


def amounts(video):
    """[B,T,3,H,W] -> how much each square of CELLS pixels changes to the right, downwards and in time, [B,t,3,H/CELLS,W/CELLS] each."""
    for change in (video[..., 1:] - video[..., :-1], video[..., 1:, :] - video[..., :-1, :], video[:, 1:] - video[:, :-1]):
        yield F.avg_pool2d(change.abs().flatten(0, 1), CELLS, ceil_mode=True).unflatten(0, change.shape[:2])


def energy_error(out, truth):
    """Error of one of amounts(), relative to the clip's own amount [B]."""
    every = (1, 2, 3, 4)
    return (out - truth).abs().mean(every) / (truth.mean(every) + .001)


@torch.no_grad()
def drawn(model, scale, latents, specs, device, rng):
    """The latents as the transformer draws them from half noise: the clip with small mistakes that change from chunk to
    chunk. A decoder that was trained with them shows the clip; any other shows each change as a jump."""
    out = []
    for i in range(0, len(latents), 10):
        z = torch.stack(latents[i:i + 10]).to(device) / scale
        ids = [[text.encode(caption(*spec, rng))] * (z.shape[2] // clips.CHUNK) for spec in specs[i:i + 10]]
        out += list(redraw(model, z, torch.tensor(ids, device=device), rng, 0, LEVELS, STEPS, shift=1).cpu() * scale)
    return out


def more(pixels, specs, log, check):
    """Draws clips of scenes of which the work folder has kept fewer than CLIPS: a scene of five is learned by heart."""
    pixels, specs = list(pixels), list(specs)
    count = collections.Counter(spec[0] for spec in specs)
    for scene, (_, colors) in SCENES.items():
        for i in range(count[scene], CLIPS):
            check()
            spec = scene, colors[i % len(colors)], ("slow", "", "fast")[i % 3], "", ""
            video = render(*spec, 950_000 + i, len(pixels[0]))
            pixels.append((video * 255).round().byte())
            specs.append(spec)
    log(f"decoder: {sum(count.values())} clips kept, {len(specs) - sum(count.values())} drawn")
    return pixels, specs


def train(decoder, work, minutes, device, peak, log=print, check=lambda: None, model=None, scale=1.0):
    """Trains `decoder` in place. The learning rate rises for 30 steps and then falls to zero at the end of the time. If a
    transformer `model` and its scale are given, it draws a part of the latents."""
    encode, rng = autoencoder.Encoder(), random.Random()
    pixels, specs = more(*clips.load_pixels(work), log, check)
    latents, weights = [encode(v.float() / 255) for v in pixels], [WEIGHTS.get(spec[0], 1.0) for spec in specs]
    own = drawn(model, scale, latents, specs, device, rng) if model else latents
    optimizer = torch.optim.AdamW(decoder.parameters(), weight_decay=0, betas=(.9, .99))
    log(f"decoder before: PSNR and step ratio {quality(decoder)}")
    start, step, smooth = time.time(), 0, None
    while (done := (time.time() - start) / 60 / minutes) < 1:
        check()
        for group in optimizer.param_groups:
            group["lr"] = peak * min(1, (step + 1) / 30) * max(.02, 1 - done)
        zs, vs = [], []
        for i in rng.choices(range(len(specs)), weights, k=BATCH):
            _, _, h, w = latents[i].shape
            a, b = rng.randrange(h - CROP + 1), rng.randrange(w - CROP + 1)
            zs.append((own if rng.random() < DRAWN else latents)[i][:, :, a:a + CROP, b:b + CROP])
            vs.append(pixels[i][:, :, a * 16:(a + CROP) * 16, b * 16:(b + CROP) * 16].float() / 255)
        z, v = torch.stack(zs).to(device), torch.stack(vs).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            out = decoder(z + .02 * torch.randn_like(z))
        loss = loss_of(out.float(), v)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        step += 1
        smooth = loss.item() if smooth is None else .97 * smooth + .03 * loss.item()
        if step % 50 == 0:
            log(f"decoder step {step} loss {smooth:.4f}")
    log(f"decoder after {step} steps: PSNR and step ratio {quality(decoder)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, required=True, help="work folder of train.py, for its clips")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--start", default=pathlib.Path(__file__).parent, help="exported model (default: the one that ships)")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    clips.keep_memory()
    if not clips.count(args.work):
        parser.error(f"--work {args.work} has no clips: run train.py with the same --work first")
    decoder, model = autoencoder.Decoder(), DiT(len(text.WORDS)).eval()
    kept = args.work / "decoder.pt"
    state, exported, scale = export.load(args.start)
    model.load_state_dict(state)
    decoder.load_state_dict(torch.load(kept) if kept.exists() else exported)
    file = open(args.work / "decoder.log", "a")
    train(decoder, args.work, args.minutes, torch.device("cpu"), args.rate,
          lambda line: [print(line, file=f, flush=True) for f in (file, None)], model=model, scale=scale)
    torch.save(decoder.state_dict(), kept.with_suffix(".tmp"))
    kept.with_suffix(".tmp").rename(kept)


if __name__ == "__main__":
    main()
