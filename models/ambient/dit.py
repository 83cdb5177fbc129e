# SPDX-License-Identifier: LGPL-2.1-or-later
"""A small causal Wan DiT. Its parameters have the names of the Wan 2.1 checkpoints.

A clip is cut in chunks. Each chunk has its own noise level and its own prompt, and attends to itself and to the
chunks before it. `forward` takes a whole clip (training), `step` one chunk with the keys and values of its
history (inference). The arithmetic of both is that of Self-Forcing's causal_model.py.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F

CONFIG = dict(dim=192, ffn_dim=768, num_heads=3, num_layers=8, in_dim=16, out_dim=16, text_dim=64, text_len=12,
              freq_dim=256, patch_size=[1, 2, 2], eps=1e-6, rope_spatial_scale=.8,
              rope_reference_tokens=144, rope_scale_exponent=.25)  # 512 x 288; the scale is 1.0 at 320 x 192


class RMSNorm(nn.Module):
    def __init__(self, dim, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(dim)), eps

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def rope_table(frames, h, w, head_dim, first=0, device=None, spatial=1.0):
    """cos and sin [1, frames*h*w, 1, head_dim/2]: the pairs of a head split over time, height and width.

    spatial: factor of the positions of rows and columns. Below 1 a larger grid has the positions of a smaller one that
    the model was trained on (position interpolation, arXiv 2306.15595).
    """
    half = head_dim // 2
    pairs = [half - 2 * (half // 3), half // 3, half // 3]
    axes = [torch.arange(frames, device=device).double() + first,
            *(torch.arange(n, device=device).double() * spatial for n in (h, w))]
    grid = torch.meshgrid(*axes, indexing="ij")
    rate = lambda n: 10000.0 ** (-torch.arange(n, device=device, dtype=torch.float64) / n)
    angle = torch.cat([p.reshape(-1, 1) * rate(n) for p, n in zip(grid, pairs)], -1)[None, :, None]
    return angle.cos().float(), angle.sin().float()


def rotate(x, table):
    """RoPE on interleaved pairs; x [B,L,heads,D]."""
    cos, sin = (t.to(x.dtype) for t in table)
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)


def plain_attention(q, k, v, sees):
    """Softmax attention as matrix products. On a CPU its backward pass takes half the time of the fused one.

    sees: for each of the equal parts of q the indices of the parts of k and v it attends to; None: all of them.
    """
    batch, _, heads, dim = q.shape
    q, k, v = (t.transpose(1, 2).flatten(0, 1) for t in (q * dim ** -.5, k, v))
    if sees is None:
        sees, part = [[0]], k.shape[1]
    else:
        part = k.shape[1] // len(sees)
    k, v, out = k.split(part, 1), v.split(part, 1), []
    for query, seen in zip(q.chunk(len(sees), 1), sees):
        weights = torch.bmm(query, torch.cat([k[i] for i in seen], 1).transpose(1, 2)).softmax(-1)
        out.append(torch.bmm(weights.to(v[0].dtype), torch.cat([v[i] for i in seen], 1)))
    return torch.cat(out, 1).unflatten(0, (batch, heads)).transpose(1, 2)


class SelfAttention(nn.Module):
    def __init__(self, dim, heads, eps):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim) for _ in range(4))
        self.norm_q, self.norm_k = RMSNorm(dim, eps), RMSNorm(dim, eps)

    def split(self, x):
        return x.view(*x.shape[:2], self.heads, -1)

    def qkv(self, x, table):
        q, k = (rotate(self.split(t), table) for t in (self.norm_q(self.q(x)), self.norm_k(self.k(x))))
        return q, k, self.split(self.v(x))

    def attend(self, q, k, v, sees=None):
        """q, k, v [B,L,heads,D]; sees as in plain_attention."""
        if self.training or sees:
            out = plain_attention(q, k, v, sees)
        else:
            out = F.scaled_dot_product_attention(*(t.transpose(1, 2) for t in (q, k, v))).transpose(1, 2)
        return self.o(out.flatten(2))


class CrossAttention(SelfAttention):
    def forward(self, x, context):
        q, k = self.split(self.norm_q(self.q(x))), self.split(self.norm_k(self.k(context)))
        return self.attend(q, k, self.split(self.v(context)))


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        dim, self.eps = c["dim"], c["eps"]
        self.self_attn = SelfAttention(dim, c["num_heads"], self.eps)
        self.cross_attn = CrossAttention(dim, c["num_heads"], self.eps)
        self.norm3 = nn.LayerNorm(dim, eps=self.eps)
        self.ffn = nn.Sequential(nn.Linear(dim, c["ffn_dim"]), nn.GELU(approximate="tanh"), nn.Linear(c["ffn_dim"], dim))
        self.modulation = nn.Parameter(torch.randn(1, 6, dim) / dim ** .5)

    def forward(self, x, e0, context, table, attend):
        """x [B,L,d]; e0 [B,chunks,6,d]; context [B,chunks,T,d]; attend(attention, q, k, v) -> [B,L,d]."""
        batch, length, dim = x.shape
        n = e0.shape[1]
        e = (self.modulation.unsqueeze(1) + e0).unsqueeze(3).unbind(2)
        chunks = lambda t: t.view(batch, n, length // n, dim)
        norm = lambda t: chunks(F.layer_norm(t, (dim,), eps=self.eps))
        y = attend(self.self_attn, *self.self_attn.qkv((norm(x) * (1 + e[1]) + e[0]).flatten(1, 2), table))
        x = x + (chunks(y) * e[2]).flatten(1, 2)
        y = self.cross_attn(chunks(self.norm3(x)).reshape(batch * n, length // n, dim), context.flatten(0, 1))
        x = x + y.view(batch, length, dim)
        y = self.ffn((norm(x) * (1 + e[4]) + e[3]).flatten(1, 2))
        return x + (chunks(y) * e[5]).flatten(1, 2)


class Head(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.head = nn.Linear(c["dim"], c["out_dim"] * 4)
        self.modulation = nn.Parameter(torch.randn(1, 2, c["dim"]) / c["dim"] ** .5)


class DiT(nn.Module):
    def __init__(self, vocabulary, c=CONFIG):
        super().__init__()
        self.c, dim = c, c["dim"]
        self.patch_embedding = nn.Conv3d(c["in_dim"], dim, (1, 2, 2), (1, 2, 2))
        self.text_embedding = nn.Sequential(nn.Linear(c["text_dim"], dim), nn.GELU(approximate="tanh"), nn.Linear(dim, dim))
        self.time_embedding = nn.Sequential(nn.Linear(c["freq_dim"], dim), nn.SiLU(), nn.Linear(dim, dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.blocks = nn.ModuleList(Block(c) for _ in range(c["num_layers"]))
        self.head = Head(c)
        self.token_embedding = nn.Embedding(vocabulary, c["text_dim"], padding_idx=0)
        zero = [self.head.head.weight, self.head.head.bias, self.token_embedding.weight.data[:1]]
        for b in self.blocks:
            zero += [b.self_attn.o.weight, b.cross_attn.o.weight, b.ffn[2].weight]
        for tensor in zero:
            nn.init.zeros_(tensor)

    def time(self, t):
        """t [B,chunks] in 0..1000 -> e [B,chunks,d] for the head, e0 [B,chunks,6,d] for the blocks."""
        half = self.c["freq_dim"] // 2
        rate = 10000.0 ** (-torch.arange(half, device=t.device, dtype=torch.float64) / half)
        angle = t.double()[..., None] * rate
        e = self.time_embedding(torch.cat([angle.cos(), angle.sin()], -1).float())
        return e, self.time_projection(e).unflatten(-1, (6, -1))

    def text(self, ids):
        return self.text_embedding(self.token_embedding(ids))

    def embed(self, z):
        return self.patch_embedding(z).flatten(2).transpose(1, 2)

    def unpatch(self, x, e, grid):
        """Tokens -> velocity [B,16,frames,2h,2w]."""
        (batch, length, dim), n = x.shape, e.shape[1]
        m = self.head.modulation.unsqueeze(1) + e.unsqueeze(2)
        x = F.layer_norm(x, (dim,), eps=self.c["eps"]).view(batch, n, length // n, dim)
        y = self.head.head((x * (1 + m[:, :, 1:2]) + m[:, :, :1]).flatten(1, 2))
        f, h, w = grid
        return y.view(batch, f, h, w, 2, 2, -1).permute(0, 6, 1, 2, 4, 3, 5).reshape(batch, -1, f, h * 2, w * 2)

    def rope_scale(self, grid):
        """The distance of neighbouring rows and columns, as in the engine (families/wan/config.h)."""
        reference, exponent = self.c["rope_reference_tokens"], self.c["rope_scale_exponent"]
        return self.c["rope_spatial_scale"] * (reference / (grid[1] * grid[2])) ** exponent

    def _table(self, grid, first, device):
        return rope_table(*grid, self.c["dim"] // self.c["num_heads"], first, device, self.rope_scale(grid))

    def forward(self, z, t, ids, clean=None, clean_t=None):
        """Velocity of all n chunks at once: z [B,16,3n,h,w] noisy, t [B,n] in 0..1000, ids [B,n,T].

        Diffusion forcing: a chunk attends itself and the noisy chunks before it. With clean [B,16,3(n-1),h,w] and its
        timesteps, teacher forcing: a chunk attends itself and the clean chunks before it, as in a stream.
        """
        grid, n = (z.shape[2], z.shape[3] // 2, z.shape[4] // 2), t.shape[1]
        x, table, sees, m = self.embed(z), self._table(grid, 0, z.device), [list(range(i + 1)) for i in range(n)], 0
        if clean is not None:
            m, past = n - 1, self.embed(clean)
            table = tuple(torch.cat([c[:, :past.shape[1]], c], 1) for c in table)
            x, t, ids = torch.cat([past, x], 1), torch.cat([clean_t, t], 1), torch.cat([ids[:, :m], ids], 1)
            sees = sees[:m] + [list(range(i)) + [m + i] for i in range(n)]
        (e, e0), context = self.time(t), self.text(ids)
        for block in self.blocks:
            x = block(x, e0, context, table, lambda attention, q, k, v: attention.attend(q, k, v, sees))
        return self.unpatch(x[:, -(x.shape[1] // (m + n)) * n:], e[:, m:], grid)

    def step(self, z, t, context, first, history):
        """Runs one chunk z [B,16,3,h,w] at timestep t. first: its first latent frame in the video. history: (K, V) of each
        layer, or None. Returns the velocity and this chunk's own (K, V) of each layer."""
        grid = (z.shape[2], z.shape[3] // 2, z.shape[4] // 2)
        x, (e, e0) = self.embed(z), self.time(torch.full((z.shape[0], 1), float(t), device=z.device))
        table, own = self._table(grid, first, z.device), []

        def attend(attention, q, k, v):
            past = history[len(own)] if history else None
            own.append((k, v))
            if past:
                k, v = torch.cat([past[0], k], 1), torch.cat([past[1], v], 1)
            return attention.attend(q, k, v)

        for block in self.blocks:
            x = block(x, e0, context, table, attend)
        return self.unpatch(x, e, grid), own
