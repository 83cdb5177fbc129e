# SPDX-License-Identifier: LGPL-2.1-or-later
"""Converts frames to latents and back. The encoder is a fixed PCA. The decoder is a small TAEHV and works as a stream.

Latents: 16 channels, one latent frame for 4 frames, one cell for 16 x 16 pixels.
"""
import pathlib

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file

CHANNELS, CELL, STRIDE = 16, 16, 4  # latent channels; pixels a cell; frames a latent frame
EVENNESS = .35  # 0: all components have the same variance; 1: their own
DECODER = dict(latent_channels=CHANNELS, patch_size=2, n_f=[64, 48, 32, 24], mem_blocks=[2, 2, 1],
               decoder_time_upscale=[False, True, True], frames_to_trim=0)


class Encoder:
    """PCA of blocks of 4 frames x 16 x 16 pixels x RGB. Later components are enlarged towards equal variance."""

    def __init__(self, path=pathlib.Path(__file__).with_name("pca.safetensors")):
        pca = load_file(path)
        self.mean, self.basis = pca["mean"], pca["basis"]  # [3072], [3072,16]
        sigma = pca["variance"].sqrt()
        self.scale = (sigma / sigma[0]) ** EVENNESS / sigma

    def __call__(self, frames):
        """[4t,3,16h,16w] in 0..1 -> [16,t,h,w]."""
        n, _, height, width = frames.shape
        t, h, w = n // STRIDE, height // CELL, width // CELL
        blocks = frames.view(t, STRIDE, 3, h, CELL, w, CELL).permute(0, 3, 5, 2, 1, 4, 6).reshape(-1, len(self.mean))
        return ((blocks - self.mean) @ self.basis * self.scale).view(t, h, w, CHANNELS).permute(3, 0, 1, 2).contiguous()

    def black(self):
        """The latent [16] of a black picture. The encoder is linear but for this: k times the light is black + k * (z - black)."""
        return -(self.mean @ self.basis) * self.scale

    def mirror_matrix(self):
        """Matrix [16,16] that mirrors a latent, as far as the basis allows, if the grid's columns are flipped, too."""
        mirrored = self.basis.t().view(CHANNELS, 3, STRIDE, CELL, CELL).flip(-1).reshape(CHANNELS, -1)
        return (mirrored @ self.basis).t() * self.scale[:, None] / self.scale[None]


def conv(n_in, n_out, **kw):
    return nn.Conv2d(n_in, n_out, 3, padding=1, **kw)


class MemBlock(nn.Module):
    """Residual block that gets each frame and the frame before it."""

    def __init__(self, n):
        super().__init__()
        self.conv = nn.Sequential(conv(2 * n, n), nn.ReLU(inplace=True), conv(n, n), nn.ReLU(inplace=True), conv(n, n))

    def forward(self, x, frames):
        y = x.view(-1, frames, *x.shape[1:])
        past = F.pad(y, (0, 0, 0, 0, 0, 0, 1, 0))[:, :frames].reshape(x.shape)
        return F.relu(self.conv(torch.cat([x, past], 1)) + x)


class TGrow(nn.Module):
    """One frame becomes `factor` frames."""

    def __init__(self, n, factor):
        super().__init__()
        self.factor = factor
        self.conv = nn.Conv2d(n, n * factor, 1, bias=False)

    def forward(self, x):
        return self.conv(x).reshape(-1, *x.shape[1:])


class Decoder(nn.Module):
    """Latents [B,16,t,h,w] -> frames [B,4t,3,16h,16w], about 0..1 (clamp them)."""

    def __init__(self):
        super().__init__()
        n = DECODER["n_f"]
        layers = [conv(CHANNELS, n[0]), nn.ReLU(inplace=True)]
        for i, grow in enumerate(DECODER["decoder_time_upscale"]):
            layers += [MemBlock(n[i]) for _ in range(DECODER["mem_blocks"][i])]
            layers += [nn.Upsample(scale_factor=2), TGrow(n[i], 1 + grow), conv(n[i], n[i + 1], bias=False)]
        layers += [nn.ReLU(inplace=True), conv(n[3], 3 * DECODER["patch_size"] ** 2)]
        self.decoder = nn.Sequential(*layers)

    def forward(self, z):
        batch, _, frames = z.shape[:3]
        x = (torch.tanh(z / 3) * 3).transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        for layer in self.decoder:
            x = layer(x, frames) if isinstance(layer, MemBlock) else layer(x)
            if isinstance(layer, TGrow):
                frames *= layer.factor
        x = F.pixel_shuffle(x, DECODER["patch_size"])
        return x.view(batch, frames, *x.shape[1:])
