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
        return rms_norm(x, self.weight, self.eps)


def rms_norm(x, weight, eps):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def turned(x, weight, eps, cos, sin, heads):
    """rms_norm and rotate of a projection [B,L,d]: [B,L,heads,D], in the type of x."""
    return rotate(rms_norm(x, weight, eps).view(*x.shape[:2], heads, -1), (cos, sin)).to(x.dtype)


def modulated(x, scale, shift, eps, kind):
    """Layer norm without weights of x [B,chunks,L,d], scaled and shifted by [B,chunks,1,d], in the type `kind`."""
    return (F.layer_norm(x, x.shape[-1:], eps=eps) * (1 + scale) + shift).to(kind)


def added(x, y, gate):
    """x + y gate; x, y [B,chunks,L,d], gate [B,chunks,1,d]."""
    return x + y * gate


def gelu(x):
    return F.gelu(x, approximate="tanh")


def compile_parts():
    """Compiles the arithmetic between the matrix products, which is bound by memory. The first steps, which compile, are
    slow. Needs a C++ compiler."""
    torch._dynamo.config.recompile_limit = 32  # of one function, for each shape and way of use
    for part in (turned, modulated, added, gelu):
        globals()[part.__name__] = torch.compile(part, dynamic=False)


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


class PlainAttention(torch.autograd.Function):
    """Softmax attention as matrix products, for training. On a CPU its backward pass takes less time than the fused one, and with
    its gradients written out half of what autograd makes of the same products. `dit.py` run as a program checks the gradients."""

    @staticmethod
    def forward(ctx, q, k, v, sees):
        """q, k, v [N,L,D] of one type, q scaled. sees: for each of the equal parts of q the indices of the parts of k and v it
        attends to."""
        part, out, weights = k.shape[1] // len(sees), torch.empty_like(q), []
        for query, place, seen in zip(q.chunk(len(sees), 1), out.chunk(len(sees), 1), sees):
            weights.append(torch.bmm(query, gather(k, seen, part).transpose(1, 2)).softmax(-1))
            place.copy_(torch.bmm(weights[-1], gather(v, seen, part)))
        ctx.save_for_backward(q, k, v, *weights)
        ctx.sees, ctx.part = sees, part
        return out

    @staticmethod
    def backward(ctx, grad):
        (q, k, v, *weights), sees, part = ctx.saved_tensors, ctx.sees, ctx.part
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k, dtype=torch.float32), torch.zeros_like(v, dtype=torch.float32)
        for query, place, out, weight, seen in zip(*(t.chunk(len(sees), 1) for t in (q, dq, grad.to(q.dtype))), weights, sees):
            score = torch.bmm(out, gather(v, seen, part).transpose(1, 2))
            score = torch._softmax_backward_data(score, weight, -1, score.dtype)
            place.copy_(torch.bmm(score, gather(k, seen, part)))
            scatter(dk, torch.bmm(score.transpose(1, 2), query), seen, part)
            scatter(dv, torch.bmm(weight.transpose(1, 2), out), seen, part)
        return dq, dk.to(k.dtype), dv.to(v.dtype), None


def gather(t, seen, part):
    """The parts `seen` of t [N,L,D], one behind the other."""
    if seen == list(range(seen[0], seen[-1] + 1)):
        return t[:, part * seen[0]:part * (seen[-1] + 1)]
    return torch.cat([t[:, part * i:part * (i + 1)] for i in seen], 1)


def scatter(total, t, seen, part):
    """Adds t to the parts `seen` of total."""
    for i, piece in zip(seen, t.split(part, 1)):
        total[:, part * i:part * (i + 1)] += piece


def plain_attention(q, k, v, sees):
    """q, k, v [B,L,heads,D] to [B,L,heads,D]; sees as in PlainAttention, None: all of them."""
    batch, _, heads, dim = q.shape
    q, k, v = (t.to(v.dtype).transpose(1, 2).flatten(0, 1) for t in (q * dim ** -.5, k, v))
    return PlainAttention.apply(q, k, v, sees or [[0]]).unflatten(0, (batch, heads)).transpose(1, 2)


class SelfAttention(nn.Module):
    def __init__(self, dim, heads, eps):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim) for _ in range(4))
        self.norm_q, self.norm_k = RMSNorm(dim, eps), RMSNorm(dim, eps)

    def split(self, x):
        return x.view(*x.shape[:2], self.heads, -1)

    def qkv(self, x, table):
        q, k = (turned(project(x), norm.weight, norm.eps, *table, self.heads)
                for project, norm in ((self.q, self.norm_q), (self.k, self.norm_k)))
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


class GELU(nn.Module):
    def forward(self, x):
        return gelu(x)


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        dim, self.eps = c["dim"], c["eps"]
        self.self_attn = SelfAttention(dim, c["num_heads"], self.eps)
        self.cross_attn = CrossAttention(dim, c["num_heads"], self.eps)
        self.norm3 = nn.LayerNorm(dim, eps=self.eps)
        self.ffn = nn.Sequential(nn.Linear(dim, c["ffn_dim"]), GELU(), nn.Linear(c["ffn_dim"], dim))
        self.modulation = nn.Parameter(torch.randn(1, 6, dim) / dim ** .5)

    def forward(self, x, e0, context, table, attend):
        """x [B,L,d]; e0 [B,chunks,6,d]; context [B,chunks,T,d]; attend(attention, q, k, v) -> [B,L,d]."""
        batch, length, dim = x.shape
        n = e0.shape[1]
        e = (self.modulation.unsqueeze(1) + e0).unsqueeze(3).unbind(2)
        chunks = lambda t: t.view(batch, n, length // n, dim)
        kind = torch.get_autocast_dtype(x.device.type) if torch.is_autocast_enabled(x.device.type) else x.dtype
        norm = lambda t, scale, shift: modulated(chunks(t), scale, shift, self.eps, kind).flatten(1, 2)
        y = attend(self.self_attn, *self.self_attn.qkv(norm(x, e[1], e[0]), table))
        x = added(chunks(x), chunks(y), e[2]).flatten(1, 2)
        y = self.cross_attn(chunks(self.norm3(x)).reshape(batch * n, length // n, dim), context.flatten(0, 1))
        x = x + y.view(batch, length, dim)
        y = self.ffn(norm(x, e[4], e[3]))
        return added(chunks(x), chunks(y), e[5]).flatten(1, 2)


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


if __name__ == "__main__":
    inputs = [torch.randn(2, 9, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    for parts in ([[0]], [[0], [0, 1], [0, 1, 2]], [[0], [0, 1], [0, 2]]):
        torch.autograd.gradcheck(lambda q, k, v: PlainAttention.apply(q, k, v, parts), inputs)
    print("the gradients of PlainAttention are right")
