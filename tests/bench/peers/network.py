# SPDX-License-Identifier: LGPL-2.1-or-later
"""One forward of a causal Wan transformer in plain PyTorch, as an inference program would write it: keys of the text made
once, rotary tables made once, the history in a buffer that the chunk's own keys are written behind."""
import torch
import torch.nn as nn
import torch.nn.functional as F


def rotate(x, cos, sin):
    """x [1, tokens, heads, head_dim]: neighbouring pairs turned; cos, sin [tokens, 1, head_dim / 2]."""
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, dim, heads, eps):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim) for _ in range(4))
        self.norm_q, self.norm_k = nn.RMSNorm(dim, eps), nn.RMSNorm(dim, eps)

    def split(self, x):
        return x.unflatten(-1, (self.heads, -1))

    def attend(self, q, keys, values):
        """q [1, tokens, heads, head_dim]; keys, values [1, heads, all tokens, head_dim]."""
        return self.o(F.scaled_dot_product_attention(q.transpose(1, 2), keys, values).transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.eps, dim = c["eps"], c["dim"]
        self.self_attn, self.cross_attn = (Attention(dim, c["num_heads"], self.eps) for _ in range(2))
        self.norm3 = nn.LayerNorm(dim, self.eps)
        self.ffn = nn.Sequential(nn.Linear(dim, c["ffn_dim"]), nn.GELU(approximate="tanh"), nn.Linear(c["ffn_dim"], dim))
        self.modulation = nn.Parameter(torch.randn(1, 6, dim) / dim ** .5)

    def forward(self, x, e0, table, keys, values, text_keys, text_values):
        e = (self.modulation + e0).unsqueeze(2).unbind(1)
        norm = lambda x: F.layer_norm(x, x.shape[-1:], eps=self.eps)
        a, y = self.self_attn, norm(x) * (1 + e[1]) + e[0]
        history = keys.shape[2] - x.shape[1]
        keys[:, :, history:] = rotate(a.split(a.norm_k(a.k(y))), *table).transpose(1, 2)
        values[:, :, history:] = a.split(a.v(y)).transpose(1, 2)
        x = x + a.attend(rotate(a.split(a.norm_q(a.q(y))), *table), keys, values) * e[2]
        a = self.cross_attn
        x = x + a.attend(a.split(a.norm_q(a.q(self.norm3(x)))), text_keys, text_values)
        return x + self.ffn(norm(x) * (1 + e[4]) + e[3]) * e[5]


class Wan(nn.Module):
    """c: transformer.config of a model.json."""

    def __init__(self, c):
        super().__init__()
        self.c, dim = c, c["dim"]
        self.patch = nn.Linear(4 * c["in_dim"], dim)
        self.time = nn.Sequential(nn.Linear(c["freq_dim"], dim), nn.SiLU(), nn.Linear(dim, dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.text = nn.Sequential(nn.Linear(c["text_dim"], dim), nn.GELU(approximate="tanh"), nn.Linear(dim, dim))
        self.blocks = nn.ModuleList(Block(c) for _ in range(c["num_layers"]))
        self.modulation = nn.Parameter(torch.randn(1, 2, dim) / dim ** .5)
        self.head = nn.Linear(dim, 4 * c["out_dim"])

    def text_keys(self, features):
        """features [1, text_len, text_dim] -> a (keys, values) for each block."""
        text, pairs = self.text(features), []
        for block in self.blocks:
            a = block.cross_attn
            pairs.append(tuple(a.split(y).transpose(1, 2).contiguous() for y in (a.norm_k(a.k(text)), a.v(text))))
        return pairs

    def table(self, frames, rows, columns, first=9):
        """cos, sin [tokens, 1, head_dim / 2] of chunk tokens; first: the chunk's first latent frame."""
        half = self.c["dim"] // self.c["num_heads"] // 2
        parts = [half - 2 * (half // 3), half // 3, half // 3]
        grid = torch.meshgrid(torch.arange(frames) + first, torch.arange(rows), torch.arange(columns), indexing="ij")
        angle = torch.cat([axis.reshape(-1, 1) * 10000.0 ** (-torch.arange(n) / n) for axis, n in zip(grid, parts)], -1)
        return angle.cos()[:, None], angle.sin()[:, None]

    def forward(self, latent, timestep, table, history, text):
        """latent [1, channels, frames, h, w]; timestep [1]; history, text: (keys, values) of each block -> velocity."""
        _, channels, frames, h, w = latent.shape
        x = latent.reshape(1, channels, frames, h // 2, 2, w // 2, 2).permute(0, 2, 3, 5, 1, 4, 6).flatten(4).flatten(1, 3)
        x = self.patch(x)
        half = self.c["freq_dim"] // 2
        angle = timestep[:, None].float() * 10000.0 ** (-torch.arange(half) / half)
        e = self.time(torch.cat((angle.cos(), angle.sin()), -1).to(x.dtype))
        e0 = self.time_projection(e).unflatten(-1, (6, -1))
        for block, own, words in zip(self.blocks, history, text):
            x = block(x, e0, table, *own, *words)
        m = self.modulation + e[:, None]
        y = self.head(F.layer_norm(x, x.shape[-1:], eps=self.c["eps"]) * (1 + m[:, 1:]) + m[:, :1])
        y = y.view(1, frames, h // 2, w // 2, 2, 2, -1).permute(0, 6, 1, 2, 4, 3, 5)
        return y.reshape(1, -1, frames, h, w)
