# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pasts that the model drew itself.

A model that only ever sees rendered pasts does not know its own mistakes: in a stream each chunk inherits those of the
one before and adds to them. So part of the training shows it what it will see, and the rendered clip as what should
follow (the observation is Self-Forcing's, arXiv 2506.08009; that the target stays the true clip is as in Stable Video
Infinity, arXiv 2510.09212).
"""
import torch

import clips
from sample import sigmas

STEPS, SHIFT = 6, 1.5  # of the sampler: fewer than when streaming, as mistakes are what is wanted
KEEP = 90  # clips; drawn ones are used a few times before newer ones replace them


class Pasts:
    """The clips drawn last: rendered latents z, the same with all chunks but the first drawn anew, prompts."""

    def __init__(self):
        self.pool = []

    @torch.no_grad()
    def extend(self, model, z, ids):
        """z [B,16,frames,h,w] rendered, ids [B,chunks,T]: draws the chunks between the first and the last."""
        own, kv, sigma = z[:, :, :-clips.CHUNK].clone(), None, sigmas(STEPS, SHIFT)
        with torch.autocast(z.device.type, torch.bfloat16):
            for c in range(clips.CHUNKS - 1):
                part, context = slice(clips.CHUNK * c, clips.CHUNK * (c + 1)), model.text(ids[:, c:c + 1])
                run = lambda x, level: model.step(x, level * 1000, context, part.start, kv)
                if c:
                    x = torch.randn_like(own[:, :, part])
                    for now, then in zip(sigma, sigma[1:]):
                        x = x + run(x, now.item())[0].float() * (then - now)
                    own[:, :, part] = x
                clean = run(own[:, :, part], 0.0)[1]
                kv = clean if kv is None else [tuple(torch.cat(pair, 1) for pair in zip(*layer)) for layer in zip(kv, clean)]
        self.pool = (self.pool + list(zip(z, own, ids)))[-KEEP:]

    def draw(self, rng, size):
        """(z [B,…], own past [B,16,frames - 3,h,w], ids [B,chunks,T])."""
        return tuple(torch.stack(part) for part in zip(*rng.choices(self.pool, k=size)))
