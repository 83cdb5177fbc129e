# SPDX-License-Identifier: LGPL-2.1-or-later
"""FlashDreams' own Wan transformer (PyPI: flashdreams) for a CPU. Its two kernels that have no CPU form are replaced: the
rotary embedding is Triton's, and attention asks for cuDNN where PyTorch's own choice is the kernel that exists here."""
import torch
import torch.nn.functional as F

from flashdreams.core.attention import ContextParallelAttention, rope
from flashdreams.recipes.wan.transformer.wan21 import Wan21TransformerConfig, WanDiTNetworkConfig

import network


def _rotate(x, freqs, interleaved=True, inplace=True):
    """x [batch, tokens, heads, head_dim]; freqs [tokens, 1, 1, head_dim], each angle twice."""
    angle = freqs[:, 0, :, ::2].float()
    return x.copy_(network.rotate(x, angle.cos(), angle.sin()))


def _attend(self, query, key, value):
    return F.scaled_dot_product_attention(query, key, value)


def make(c, frames, latent_height, latent_width, history_chunks, dtype, compiled):
    """A function that runs one forward of a chunk with a full history."""
    rope.apply_rotary_pos_emb = _rotate
    ContextParallelAttention._impl = _attend
    shape = {k: c[k] for k in ("dim", "ffn_dim", "num_heads", "num_layers", "in_dim", "out_dim", "text_dim", "text_len", "freq_dim")}
    config = Wan21TransformerConfig(network=WanDiTNetworkConfig(**shape), dtype=dtype, len_t=frames, sink_size_t=0,
                                    window_size_t=frames * (history_chunks + 1), compile_network=compiled, use_cuda_graph=False)
    transformer = config.setup().eval()
    text = torch.randn(1, c["text_len"], c["text_dim"], dtype=dtype)
    cache = transformer.initialize_autoregressive_cache(height=latent_height, width=latent_width, text_embeddings=text)
    latent, timestep = torch.randn(transformer.latent_shape).to(dtype), torch.tensor([500.0])
    for chunk in range(history_chunks + 1):  # until the window is full
        cache.start(chunk)
        transformer.predict_flow(latent, timestep, cache)
        cache.finalize(chunk)
    cache.start(history_chunks + 1)
    return lambda: transformer.predict_flow(latent, timestep, cache)
