#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Trains the ambient model: renders clips, trains decoder and transformer, and exports the files that ship.

    models/ambient/train.py --minutes 60                 continue from the shipped weights
    models/ambient/train.py --minutes 600 --start none   from nothing
    models/ambient/train.py --steps 3000 --fall 0        behind other work, at the full rate; end it with --fall later
After an interruption run the same command again: it continues from the last checkpoint of the work folder.
"""
import argparse
import copy
import json
import os
import pathlib
import random
import shutil
import signal
import sys
import time

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that spin slow down all other programs
import torch

import autoencoder
import clips
import decoder as decoder_training
import dit
import export
import text
from dit import DiT
from optim import Optimizer
from pasts import Pasts
from render import SCENES, caption

HERE = pathlib.Path(__file__).resolve().parent
SAVE_EVERY, LOG_EVERY, HELD_OUT = 50, 25, clips.SHARD  # steps; steps; clips of the first shard
STARTS, START_CHUNKS = .3, 3  # share of steps that learn how a stream begins; their chunks for each clip of the batch
TEACHER = .85  # share of the other steps with a clean past; what is left has several chunks of different noise levels in flight
OWN, DRAW_EVERY = .25, 12  # share of clean pasts that were drawn by the model; steps between two drawings
ROUGH = .5  # factor of errors that change from frame to frame
WARMUP, FALL = 30, .65  # steps of rising rate; share of the training in which the rate falls to zero


class Stop(Exception):
    """Raised by Interrupt.check."""


class Interrupt:
    """Ctrl-C and SIGTERM take effect between two steps, so that checkpoints are complete; a second one, at once."""

    def __init__(self):
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self)

    def __call__(self, number, frame):
        if self.asked:
            sys.exit("train.py: stopped at once; the last checkpoint stands")
        self.asked = True

    def check(self):
        if self.asked:
            raise Stop


def stop(message):
    sys.exit(f"train.py: {message}")


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    length = p.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float, help="training time of the transformer; the rate ends at zero then")
    length.add_argument("--steps", type=int, help="the same as a number of steps, for a run that other work slows down or stops")
    p.add_argument("--fall", type=float, help="minutes or steps before the end in which the rate falls to zero (default: 65 %% of all)")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    p.add_argument("--work", type=pathlib.Path, default=HERE.parents[1] / "build" / "ambient-train",
                   help="folder of clips, checkpoint, log and sample sheets (default: build/ambient-train)")
    p.add_argument("--start", default=str(HERE), help="exported model to start from, or 'none' (default: the one that ships)")
    p.add_argument("--export", type=pathlib.Path, help="folder to export to at the end (default: WORK/export)")
    p.add_argument("--clips", type=int, default=1400, help="clips to render before training (default: 1400)")
    p.add_argument("--decoder-minutes", type=float, default=0, help="train the decoder first (default: 0, leave it)")
    p.add_argument("--rate", type=float, default=1, help="peak of the learning rates, as a share of the usual (default: 1)")
    p.add_argument("--batch", type=int, default=10)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--compile", action="store_true", help="compile the arithmetic between the matrix products: on a CPU faster by a "
                   "sixth after a minute; needs a C++ compiler")
    p.add_argument("--sheet-minutes", type=float, default=25, help="time between sample sheets (default: 25)")
    args = p.parse_args()
    for name, low in (("minutes", 0), ("steps", 1), ("fall", 0), ("clips", 2 * clips.SHARD), ("batch", 1), ("threads", 1), ("decoder_minutes", 0), ("rate", 0)):
        if getattr(args, name) is not None and getattr(args, name) < low:
            p.error(f"--{name.replace('_', '-')} {getattr(args, name)}: at least {low} is needed")
    args.export = args.export or args.work / "export"
    args.export.mkdir(parents=True, exist_ok=True)  # at once, so that it does not fail after hours of work
    return args


def pick_device(name):
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        stop(f"--device {name}: unknown; use auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and not torch.cuda.is_available():
        stop(f"--device {name}: PyTorch {torch.__version__} sees no CUDA device; use --device cpu (slow, but it resumes)")
    return device


def check_memory(args, device):
    """1.5 GB, and about 0.5 GB of activations for each clip of the batch."""
    each = .5
    need = 1.5 + each * args.batch
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0] / 1e9
    else:
        lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) / 1e6
    if free < need:
        fits = int((free - 1.5) / each)
        stop(f"a batch of {args.batch} needs about {need:.1f} GB, {free:.1f} GB are free: "
             + (f"use --batch {fits}" if fits >= 1 else "free some memory"))


class Log:
    """Prints a line, and appends it to WORK/train.log."""

    def __init__(self, path):
        self.file = open(path, "a")

    def __call__(self, line):
        for out in (self.file, sys.stdout):
            print(line, file=out, flush=True)


def save(state, path):
    """Writes a checkpoint. The file is always the complete old one or the complete new one."""
    torch.save(state, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").rename(path)


def loss_weights():
    """Factor of each channel's error, [16,1,1,1], mean 1.

    The PCA enlarges its later channels, so a plain mean would spend the training on details: 70 % of the error in pixels
    is in channel 0. In the exponent the factor is half of what the error in pixels would give.
    """
    channel = 1 / autoencoder.Encoder().scale
    return (channel / channel.mean()).view(-1, 1, 1, 1)


def flow_loss(model, z, u, noise, ids, past=None, past_level=None, weights=1.0, rough=0.0):
    """Flow matching: the network predicts noise - data. Returns the loss of every chunk [B,chunks].

    past [B,16,frames of all chunks but the last,h,w] with past_level [B,chunks-1] of noise on it: teacher forcing.
    None: diffusion forcing. rough: factor of the change of the error from one latent frame to the next. In a chunk's
    first frame it is the factor of the error itself, because an error there is a jump between chunks.
    """
    spread = lambda level: level.repeat_interleave(clips.CHUNK, 1)[:, None, :, None, None]
    clean = () if past is None else (past.lerp(torch.randn_like(past), spread(past_level)), past_level * 1000)
    with torch.autocast(z.device.type, torch.bfloat16):
        velocity = model(z.lerp(noise, spread(u)), u * 1000, ids, *clean)
    error = (velocity.float() - (noise - z)).unflatten(2, (-1, clips.CHUNK)).transpose(1, 2)
    change = error.diff(dim=3, prepend=torch.zeros_like(error[:, :, :, :1]))
    return ((error.pow(2) + rough * change.pow(2)) * weights).mean((2, 3, 4, 5)) / (1 + 1.67 * rough)


@torch.no_grad()
def held_out(model, latents, specs, scale, device):
    """Loss on clips that were never trained on, always with the same noise: (mean, mean of each scene)."""
    rng, gen, total = random.Random(7), torch.Generator().manual_seed(7), {name: [] for name in SCENES}
    for i in range(0, len(specs), 10):
        z, part = latents[i:i + 10] / scale, specs[i:i + 10]
        ids = torch.tensor([[text.encode(caption(*spec, rng=rng))] * clips.CHUNKS for spec in part], device=device)
        u = clips.independent_levels(rng, len(z)).to(device)
        loss = flow_loss(model, z, u, torch.randn(z.shape, generator=gen).to(device), ids, z[:, :, :-clips.CHUNK],
                         torch.zeros_like(u[:, 1:]))
        noisy = (u > .05).float()
        for (scene, *_), value in zip(part, (loss * noisy).sum(1) / noisy.sum(1).clamp(min=1)):
            total[scene].append(value.item())
    mean = lambda values: round(sum(values) / len(values), 4)
    return mean([v for values in total.values() for v in values]), {k: mean(v) for k, v in total.items() if v}


def revive(table):
    """Gives word vectors that have hardly been learned the length of the others, so that they differ visibly."""
    length = table.norm(dim=1)
    usual = length[1:].median()
    for row in (length[1:] < usual / 4).nonzero().flatten() + 1:
        table[row] = torch.randn_like(table[row]) * usual / len(table[row]) ** .5


class Training:
    """The transformer, its average, its optimizer, and the state of its training."""

    def __init__(self, args, device, state, decoder, scale):
        self.args, self.device, self.scale, self.decoder = args, device, scale, decoder
        self.model = DiT(len(text.WORDS)).to(device).train()
        if state:
            self.model.load_state_dict(state)
            revive(self.model.token_embedding.weight.data)
        self.average = copy.deepcopy(self.model).eval()
        self.optimizer, self.step, self.elapsed, self.path = Optimizer(self.model), 0, 0.0, args.work / "checkpoint.pt"
        self.weights, self.pasts = loss_weights().to(device), Pasts()
        self.black = autoencoder.Encoder().black().to(device) / scale

    def save(self):
        save(dict(model=self.model.state_dict(), average=self.average.state_dict(), optimizer=self.optimizer.state_dict(),
                  decoder=self.decoder, scale=self.scale, step=self.step, elapsed=self.elapsed), self.path)

    def left(self):
        """What is left to do, as a share of what the rate falls in at the end: 1 or more at the full rate, 0 when finished."""
        whole, done = (self.args.steps, self.step) if self.args.steps else (self.args.minutes * 60, self.elapsed)
        fall = FALL * whole if self.args.fall is None else self.args.fall * (1 if self.args.steps else 60)
        return (whole - done) / max(fall, 1e-9)

    def keep_full_rate(self):
        """Keeps the last checkpoint before the rate falls, from which a longer training can go on."""
        kept = self.path.with_name("checkpoint-full-rate.pt")
        if not kept.exists() and 0 < self.left() < 1:
            self.save()
            shutil.copyfile(self.path, kept)

    def resume(self):
        if not self.path.exists():
            return False
        try:
            state = torch.load(self.path, map_location=self.device)
        except Exception as error:  # a broken pickle may raise anything
            stop(f"{self.path} is no whole checkpoint ({type(error).__name__}): move it away to start again")
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.decoder, self.scale, self.step, self.elapsed = (state[k] for k in ("decoder", "scale", "step", "elapsed"))
        return True

    def rate(self):
        return self.args.rate * min(1, (self.step + 1) / WARMUP) * min(1, max(.01, self.left()))

    def advance(self, batches, rng):
        """Runs one step and returns its loss. Chunks that are nearly clean have little weight."""
        few = max(1, self.args.batch * 3 // 5)  # teacher forcing computes seven chunks for each clip instead of four
        if self.step % DRAW_EVERY == 0 or not self.pasts.pool:  # a resumed run begins without any
            z, ids = batches.draw(rng, few)
            self.pasts.extend(self.average, z / self.scale, ids, rng)
        if rng.random() < STARTS:
            z, ids = batches.starts(rng, self.args.batch * START_CHUNKS)
            z, past, past_level = z / self.scale, None, None
            u = clips.independent_levels(rng, len(z), 1).to(self.device)
        elif rng.random() < TEACHER:
            if rng.random() < OWN:
                z, past, ids = self.pasts.draw(rng, few)
            else:
                z, ids = batches.draw(rng, few)
                z = z / self.scale
                past = z[:, :, :-clips.CHUNK]
            past = clips.worn(past, self.black, rng)
            u, past_level = clips.independent_levels(rng, len(z)).to(self.device), clips.past_levels(rng, len(z)).to(self.device)
        else:
            z, ids = batches.draw(rng, self.args.batch)
            z, past, past_level = z / self.scale, None, None
            u = clips.noise_levels(rng, len(z)).to(self.device)
        loss = flow_loss(self.model, z, u, torch.randn_like(z), ids, past, past_level, self.weights, ROUGH)
        weight = (u > .05).float() * .9 + .1
        loss = (loss * weight).sum() / weight.sum()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step(self.rate())
        self.step += 1
        keep = min(.998, 1 - 1 / (self.step / 8 + 4))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - keep)
        return loss.item()

    def export(self, folder):
        newer = self.args.work / "decoder.pt"  # written by decoder.py
        if newer.exists():
            self.decoder = torch.load(newer)
        export.save(folder, self.average.state_dict(), self.decoder, self.scale)

    def sheet(self, log):
        """Draws a sample sheet with the averaged transformer, through the exported files."""
        import sample
        self.export(self.args.work / "preview")
        path = self.args.work / f"sheet-{self.step:05d}.png"
        sample.sheet(sample.Model(self.args.work / "preview"), path)
        log(f"{path.name} written")


def train_transformer(args, device, run, log, interrupt):
    latents, specs = clips.load(args.work, device)
    matrix = autoencoder.Encoder().mirror_matrix().to(device)
    batches = clips.Batches(latents[HELD_OUT:], specs[HELD_OUT:], matrix)
    latents, specs = latents[:HELD_OUT], specs[:HELD_OUT]
    check = lambda: held_out(run.average, latents, specs, run.scale, device)
    log(f"{len(batches.specs)} clips to train on, {HELD_OUT} held out; step {run.step}, {run.elapsed / 60:.1f} min done")
    log(f"held-out loss {check()}")
    rng, smooth, now = random.Random(), None, time.time()
    sheet_at = now + args.sheet_minutes * 60
    while run.left() > 0:
        interrupt.check()
        loss = run.advance(batches, rng)
        smooth = loss if smooth is None else .97 * smooth + .03 * loss
        if run.step % LOG_EVERY == 0:
            log(json.dumps(dict(step=run.step, minutes=round(run.elapsed / 60, 2), rate=round(run.rate(), 3), loss=round(smooth, 4))))
        if run.step % SAVE_EVERY == 0:
            run.save()
            if clips.count(args.work) > HELD_OUT + len(batches.specs):  # clips.py has rendered more
                more, names = clips.load(args.work, device)
                batches = clips.Batches(more[HELD_OUT:], names[HELD_OUT:], matrix)
                log(f"{len(batches.specs)} clips to train on")
        run.keep_full_rate()
        if time.time() > sheet_at:
            sheet_at = time.time() + args.sheet_minutes * 60
            log(f"held-out loss {check()}")
            run.sheet(log)
        run.elapsed, now = run.elapsed + time.time() - now, time.time()
    run.save()
    log(f"held-out loss {check()}")


def main():
    args = parse()
    device = pick_device(args.device)
    torch.set_num_threads(args.threads)
    clips.keep_memory()
    try:
        args.work.mkdir(parents=True, exist_ok=True)
        log = Log(args.work / "train.log")
    except OSError as error:
        stop(f"--work {args.work}: {error.strerror}; name a folder that can be written")
    check_memory(args, device)
    if args.compile:
        dit.compile_parts()
    interrupt, run = Interrupt(), None
    try:
        clips.extend(args.work, args.clips, log, interrupt.check)
        if args.start == "none":
            state, decoder, scale = None, None, clips.load(args.work)[0].std().item()
        else:
            try:
                state, decoder, scale = export.load(args.start)
            except Exception as error:  # safetensors has exceptions of its own
                stop(f"--start {args.start}: {error}; name a folder that an export wrote, or none")
        run = Training(args, device, state, decoder, scale)
        if run.resume():
            log(f"resumed {run.path} at step {run.step}")
        elif args.decoder_minutes > 0 or decoder is None:
            net = autoencoder.Decoder().to(device)
            if decoder:
                net.load_state_dict(decoder)
            args.decoder_minutes = args.decoder_minutes or max(1, (args.minutes or args.steps / 12) / 6)
            decoder_training.train(net, args.work, args.decoder_minutes, device, 5e-4 if decoder else 2e-3, log, interrupt.check,
                                   run.average if state else None, run.scale)
            run.decoder = {k: v.cpu() for k, v in net.state_dict().items()}
            run.save()
        train_transformer(args, device, run, log, interrupt)
    except Stop:
        if run and run.step:
            run.save()
        stop(f"interrupted; run the same command again to go on from {args.work}")
    except torch.OutOfMemoryError as error:
        if run and run.step:
            run.save()
        stop(f"out of memory on {device} ({str(error).splitlines()[0]}); go on with a --batch below {args.batch}")
    run.export(args.export)
    run.sheet(log)
    log(f"exported to {args.export}")


if __name__ == "__main__":
    main()
