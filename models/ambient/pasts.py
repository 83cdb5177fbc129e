# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pasts that the model drew itself.

A model that only ever sees rendered pasts does not know its own mistakes: in a stream each chunk inherits those of the
one before and adds to them. So part of the training shows it what it will see, and the rendered clip as what should
follow (the observation is Self-Forcing's, arXiv 2506.08009; that the target stays the true clip is as in Stable Video
Infinity, arXiv 2510.09212).

They are drawn from noise alone, after the rendered first chunk. Where they are drawn from a half noisy clip (`levels`),
what follows goes on from them more smoothly, but a long stream wears thin: an aurora has faded after half a minute.
"""
import torch

import clips
from sample import sigmas

STEPS, SHIFT = 6, 1.5  # of the sampler: fewer than when streaming, as mistakes are what is wanted
KEEP = 90  # clips; drawn ones are used a few times before newer ones replace them


@torch.no_grad()
def redraw(model, z, ids, rng, keep=0, levels=(1, 1), steps=STEPS, shift=SHIFT):
    """z [B,16,frames,h,w] rendered, ids [B,chunks,T]: the same with every chunk but the first `keep` drawn anew, after those
    before it. levels: range of the noise that a chunk is given and drawn from; 1 leaves nothing of it."""
    own, kv = z.clone(), None
    with torch.autocast(z.device.type, torch.bfloat16):
        for c in range(ids.shape[1]):
            part, context = slice(clips.CHUNK * c, clips.CHUNK * (c + 1)), model.text(ids[:, c:c + 1])
            run = lambda x, level: model.step(x, level * 1000, context, part.start, kv)
            if c >= keep:
                first = rng.uniform(*levels)
                sigma = [first * s for s in sigmas(steps, shift).tolist()]
                x = own[:, :, part].lerp(torch.randn_like(own[:, :, part]), sigma[0])
                for now, then in zip(sigma, sigma[1:]):
                    x = x + run(x, now)[0].float() * (then - now)
                own[:, :, part] = x
            clean = run(own[:, :, part], 0.0)[1]
            kv = clean if kv is None else [tuple(torch.cat(pair, 1) for pair in zip(*layer)) for layer in zip(kv, clean)]
    return own


class Pasts:
    """The clips drawn last: rendered latents, the same without the last chunk and all but the first drawn anew, prompts."""

    def __init__(self):
        self.pool = []

    def extend(self, model, z, ids, rng):
        """z [B,16,frames,h,w] rendered, ids [B,chunks,T]: draws the chunks between the first and the last."""
        own = redraw(model, z[:, :, :-clips.CHUNK], ids[:, :-1], rng, keep=1)
        self.pool = (self.pool + list(zip(z, own, ids)))[-KEEP:]

    def draw(self, rng, size):
        """(z [B,…], own past [B,16,frames - 3,h,w], ids [B,chunks,T])."""
        return tuple(torch.stack(part) for part in zip(*rng.choices(self.pool, k=size)))
