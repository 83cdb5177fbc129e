# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pasts that the model drew itself.

A model that only ever sees rendered pasts does not know its own mistakes: in a stream each chunk inherits those of the
one before and adds to them. So part of the training shows it what it will see, and the rendered clip as what should
follow (the observation is Self-Forcing's, arXiv 2506.08009; that the target stays the true clip is as in Stable Video
Infinity, arXiv 2510.09212).

The chunks are drawn from a noisy rendered clip, not from noise alone: what is drawn then differs from the clip by
mistakes only. Where all of it is drawn, the clip does not go on from it, and the model learns to jump at chunk borders.
"""
import torch

import clips

STEPS = 4  # of the sampler: few, as mistakes are what is wanted
LEVELS = .3, .95  # noise that a chunk begins with
KEEP = 90  # clips; drawn ones are used a few times before newer ones replace them


@torch.no_grad()
def redraw(model, z, ids, rng, levels=LEVELS, steps=STEPS):
    """z [B,16,frames,h,w] rendered, ids [B,chunks,T]: the same with every chunk noised and drawn anew, after those before."""
    own, kv = z.clone(), None
    with torch.autocast(z.device.type, torch.bfloat16):
        for c in range(ids.shape[1]):
            part, context = slice(clips.CHUNK * c, clips.CHUNK * (c + 1)), model.text(ids[:, c:c + 1])
            run = lambda x, level: model.step(x, level * 1000, context, part.start, kv)
            first = rng.uniform(*levels)
            sigmas = [first * (1 - s / steps) for s in range(steps + 1)]
            x = own[:, :, part].lerp(torch.randn_like(own[:, :, part]), first)
            for now, then in zip(sigmas, sigmas[1:]):
                x = x + run(x, now)[0].float() * (then - now)
            own[:, :, part] = x
            clean = run(x, 0.0)[1]
            kv = clean if kv is None else [tuple(torch.cat(pair, 1) for pair in zip(*layer)) for layer in zip(kv, clean)]
    return own


class Pasts:
    """The clips drawn last: rendered latents, the same without the last chunk drawn anew, prompts."""

    def __init__(self):
        self.pool = []

    def extend(self, model, z, ids, rng):
        """z [B,16,frames,h,w] rendered, ids [B,chunks,T]: draws all chunks but the last."""
        own = redraw(model, z[:, :, :-clips.CHUNK], ids[:, :-1], rng)
        self.pool = (self.pool + list(zip(z, own, ids)))[-KEEP:]

    def draw(self, rng, size):
        """(z [B,…], own past [B,16,frames - 3,h,w], ids [B,chunks,T])."""
        return tuple(torch.stack(part) for part in zip(*rng.choices(self.pool, k=size)))
