#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes tests/golden/wan22-vae-decode-stream and wan22-vae-encode: what the authors' class Wan2_2_VAE makes of random
weights. Needs PyTorch, einops and a checkout of github.com/Wan-Video/Wan2.2; was run with PyTorch 2.11.

tests/golden/make/wan22_vae.py CHECKOUT [FOLDER]   FOLDER: where the cases go; default: tests/golden"""

import functools
import importlib.util
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

import torch

FILE = "wan/modules/vae2_2.py"
# Narrower than published, and wider in the encoder than in the decoder, so that the two widths cannot be mixed up.
DIM, DECODER_DIM, CHANNELS = 6, 4, 48
LATENT_FRAMES, ROWS, COLUMNS = 6, 2, 3
SPACE, TIME = 16, 4


def authors_class(checkout):
    """The module alone: the package around it imports the whole of Wan."""
    spec = importlib.util.spec_from_file_location("vae2_2", checkout / FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # Its constructor has no argument for the decoder's width.
    module._video_vae = functools.partial(module._video_vae, dec_dim=DECODER_DIM)
    return module


def random_weights(module):
    """As large as trained ones are, no layer left at zero or one."""
    network = module.WanVAE_(dim=DIM, dec_dim=DECODER_DIM, z_dim=CHANNELS, temperal_downsample=[False, True, True])
    weights = {}
    for name, value in network.state_dict().items():
        if name.endswith("gamma"):
            weights[name] = 1 + 0.2 * torch.randn_like(value)
        elif name.endswith("bias"):
            weights[name] = 0.1 * torch.randn_like(value)
        else:
            weights[name] = torch.randn_like(value) / value[0].numel() ** 0.5
    return weights


def build(module, weights):
    with tempfile.NamedTemporaryFile(suffix=".pth") as file:
        torch.save(weights, file.name)
        return module.Wan2_2_VAE(z_dim=CHANNELS, c_dim=DIM, vae_pth=file.name, device="cpu")


def write_safetensors(path, tensors):
    header, at = {}, 0
    for name, value in sorted(tensors.items()):
        size = value.numel() * 4
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, value in sorted(tensors.items()):
            file.write(value.detach().contiguous().float().numpy().tobytes())


def write_case(folder, case, weights, tensors):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "case.json").write_text(json.dumps(case, indent=1) + "\n")
    write_safetensors(folder / "weights.safetensors", weights)
    write_safetensors(folder / "tensors.safetensors", tensors)


def main(checkout, to):
    commit = subprocess.run(["git", "-C", checkout, "rev-parse", "--short", "HEAD"], capture_output=True, text=True,
                            check=False).stdout.strip()
    torch.manual_seed(22)
    module = authors_class(checkout)
    weights = random_weights(module)
    vae = build(module, weights)
    mean, inverse = vae.scale
    common = {
        "source": {"project": "Wan-Video/Wan2.2", "files": [FILE], "commit": commit},
        "config": {"dim": DIM, "dec_dim": DECODER_DIM, "z_dim": CHANNELS, "dim_mult": [1, 2, 4, 4],
                   "num_res_blocks": 2, "temperal_downsample": [False, True, True],
                   "latents_mean": mean.tolist(), "latents_std": (1 / inverse).tolist()},
        "tolerance": {"rtol": 0.001, "atol": 0.001},
    }
    latents = torch.randn(CHANNELS, LATENT_FRAMES, ROWS, COLUMNS)
    clip = torch.rand(3, 1 + 2 * TIME, ROWS * SPACE, COLUMNS * SPACE) * 2 - 1
    with torch.no_grad():
        # The class clamps what it returns; its network does not.
        frames = vae.model.decode(latents.unsqueeze(0), vae.scale).squeeze(0)
        encoded = vae.model.encode(clip.unsqueeze(0), vae.scale).squeeze(0)
        assert torch.equal(frames.clamp(-1, 1), vae.decode([latents])[0])
        assert torch.equal(encoded, vae.encode([clip])[0])
    is_encoder = lambda name: name.startswith(("encoder.", "conv1."))
    write_case(to / "wan22-vae-decode-stream", {
        "kind": "wan22-vae-decode", **common,
        "calls": [{"op": "decode", "latents": "in.latents", "frames": "out.frames", "split": [1, 2, 3]}],
        "notes": ["latents as the transformer has them, [48, frames, h, w]; frames [3, 1 + 4 (n - 1), 16 h, 16 w] "
                  "before they are clamped",
                  "1, 2 and 3 latent frames one after the other make the same frames as all at once"],
    }, {name: value for name, value in weights.items() if not is_encoder(name)},
        {"in.latents": latents, "out.frames": frames})
    write_case(to / "wan22-vae-encode", {
        "kind": "wan22-vae-encode", **common,
        "calls": [{"op": "encode", "frames": "in.frames", "latents": "out.latents"}],
        "notes": ["frames in -1..1, 1 + 4 k of them; latents as the transformer has them, of the posterior's mean"],
    }, {name: value for name, value in weights.items() if is_encoder(name)},
        {"in.frames": clip, "out.latents": encoded})


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]),
         pathlib.Path(sys.argv[2] if len(sys.argv) == 3 else pathlib.Path(__file__).resolve().parent.parent))
