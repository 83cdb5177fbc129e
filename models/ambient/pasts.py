# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pasts that were drawn by the model.

A model that is trained only with rendered pasts does not know its own mistakes. In a stream each chunk inherits the
mistakes of the chunk before and adds its own. So a part of the training uses pasts that the model drew, with the rendered
clip as the target (the idea to train on own pasts is Self-Forcing's, arXiv 2506.08009; that the target stays the true
clip is as in Stable Video Infinity, arXiv 2510.09212).

The pasts are drawn from pure noise, after the rendered first chunk. If they are drawn from a half noisy clip (`levels`),
the next chunk follows them more smoothly, but long streams become paler: an aurora has faded after half a minute.
"""
import torch

import clips
from sample import sigmas

STEPS, SHIFT = 6, 1.5  # of the sampler; fewer steps than in a stream, because mistakes are wanted
KEEP = 90  # number of kept clips; each is used a few times before a newer one replaces it


@torch.no_grad()
def redraw(model, z, ids, rng, keep=0, levels=(1, 1), steps=STEPS, shift=SHIFT):
    """z [B,16,frames,h,w] rendered, ids [B,chunks,T]. Returns z with all chunks after the first `keep` drawn again, each
    after those before it. levels: range of the noise that is mixed into a chunk before it is drawn; 1: pure noise."""
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
    """The latest clips: rendered latents, the same without the last chunk and with all others but the first drawn, ids."""

    def __init__(self):
        self.pool = []

    def extend(self, model, z, ids, rng):
        """z [B,16,frames,h,w] rendered, ids [B,chunks,T]: draws the chunks between the first and the last."""
        own = redraw(model, z[:, :, :-clips.CHUNK], ids[:, :-1], rng, keep=1)
        self.pool = (self.pool + list(zip(z, own, ids)))[-KEEP:]

    def draw(self, rng, size):
        """(z [B,…], past drawn by the model [B,16,frames - 3,h,w], ids [B,chunks,T])."""
        return tuple(torch.stack(part) for part in zip(*rng.choices(self.pool, k=size)))
