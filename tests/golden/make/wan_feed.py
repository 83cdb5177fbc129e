#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes tests/golden/wan-feed: what the authors' classes make of pictures that are repainted, by three samplers.

Transformer and VAE are the random miniatures of the cases self-forcing-pipeline and wan-vae-encode, built with Self-Forcing's
CausalWanModel and WanVAE_; the samplers are its FlowMatchScheduler, Euler's formula and Wan's FlowUniPCMultistepScheduler,
which is told the step that it begins with. The loop over chunks is this file's. Needs PyTorch, einops, diffusers and checkouts of
github.com/guandeh17/Self-Forcing and github.com/Wan-Video/Wan2.2 (its folder wan/utils); was run with PyTorch 2.11.

tests/golden/make/wan_feed.py SELF_FORCING WAN [FOLDER]   FOLDER: where the case goes; default: tests/golden"""

import importlib
import importlib.util
import json
import pathlib
import sys
import types

import torch
import torch.nn.functional as F
from wan22_vae import write_safetensors

GOLDEN = pathlib.Path(__file__).resolve().parents[1]
TRANSFORMER, VAE = "self-forcing-pipeline", "wan-vae-encode"
STRENGTHS = [.6, .3, .9, .6, 1, 0, .45]
FRAMES, ROWS, COLUMNS = 3, 4, 6  # of a chunk's latents
STEPS, SHIFT = 8, 5.0
LIST = [1000, 850, 700, 550, 400, 250]
NOTES = [
    "a chunk's last round(strength*N) of N steps run, from (1-sigma)*latents + sigma*noise; with none it is the latents; then it runs once "
    "more at timestep 0, and these keys and values are what later chunks attend",
    "9 frames of 48x32 are encoded for chunk 0 and 12 for each later one, without a break; sample (x,y) of channel c of frame n is "
    "((5+2*c)*x + (3+c)*y + 4*n*(c+1)) % 256, bytes",
    "few_step draws renoise[chunk][k] after the k-th of the steps that run; tensors are [chunks,16,3,h,w] and [chunks,draws,16,3,h,w]",
    "unipc: diffusers' way into the middle of a table, set_begin_index(): its first step is of order 1"]


def load_module(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def read_safetensors(path):
    from safetensors.torch import load_file
    return load_file(path)


def attend(q, k, v, *_, **__):
    """In place of flash attention, which needs a GPU: the same sum in fp32."""
    return F.scaled_dot_product_attention(*(one.transpose(1, 2) for one in (q, k, v))).transpose(1, 2)


def authors_classes(checkout):
    """(causal_model, vae): the modules alone; the packages around them import all of Wan."""
    for name, folder in (("wan", "wan"), ("wan.modules", "wan/modules")):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(checkout / folder)]
    causal, vae = (importlib.import_module(f"wan.modules.{name}") for name in ("causal_model", "vae"))
    causal.attention = sys.modules["wan.modules.model"].flash_attention = attend
    return causal, vae


class Transformer:
    """CausalWanModel with its cache of keys and values."""

    def __init__(self, module, text):
        config = json.loads((GOLDEN / TRANSFORMER / "case.json").read_text())["config"]
        names = ("model_type patch_size text_len in_dim dim ffn_dim freq_dim text_dim out_dim num_heads num_layers local_attn_size sink_size "
                 "qk_norm cross_attn_norm eps").split()
        self.net = module.CausalWanModel(**{name: config[name] for name in names}).eval()
        self.net.load_state_dict(read_safetensors(GOLDEN / TRANSFORMER / "weights.safetensors"))
        self.text, self.tokens = text, FRAMES * ROWS * COLUMNS // 4
        heads, layers = config["num_heads"], config["num_layers"]
        shape = (1, self.tokens * len(STRENGTHS), heads, config["dim"] // heads)
        self.past = [dict(k=torch.zeros(shape), v=torch.zeros(shape), global_end_index=torch.tensor([0]), local_end_index=torch.tensor([0]))
                     for _ in range(layers)]
        self.crossed = [dict(is_init=False) for _ in range(layers)]

    def __call__(self, x, timestep, chunk):
        """x: [16,3,h,w] -> its velocity."""
        t = torch.full((1, FRAMES), float(timestep))
        return self.net([x], t=t, context=[self.text], seq_len=self.tokens, kv_cache=self.past, crossattn_cache=self.crossed,
                        current_start=chunk * self.tokens)[0]


class FewStep:
    def __init__(self, module):
        self.scheduler = module.FlowMatchScheduler(shift=SHIFT, sigma_min=0.0, extra_one_step=True)
        self.scheduler.set_timesteps(1000, training=True)
        self.timesteps = torch.cat([self.scheduler.timesteps, torch.zeros(1)])[[1000 - step for step in LIST]]
        self.sigmas = [self.scheduler.sigmas[1000 - step] for step in LIST] + [torch.tensor(0.0)]

    def begin(self, first):
        self.first = first

    def step(self, x, velocity, i, renoise):
        clean = (x.double() - self.sigmas[i].double() * velocity.double()).float()
        if i + 1 == len(LIST):
            return clean
        frames = lambda one: one.transpose(0, 1)
        noised = self.scheduler.add_noise(frames(clean), frames(renoise[i - self.first]), self.timesteps[i + 1].expand(FRAMES))
        return noised.transpose(0, 1)


class Euler:
    def __init__(self):
        u = torch.linspace(1, 0, STEPS + 1)
        self.sigmas = SHIFT * u / (1 + (SHIFT - 1) * u)
        self.timesteps = self.sigmas[:-1] * 1000

    def begin(self, first):
        pass

    def step(self, x, velocity, i, _):
        return x + velocity * (self.sigmas[i + 1] - self.sigmas[i])


class UniPC:
    def __init__(self, module):
        self.make = lambda: module.FlowUniPCMultistepScheduler(num_train_timesteps=1000, shift=1, use_dynamic_shifting=False)
        self.begin(0)
        self.sigmas, self.timesteps = self.scheduler.sigmas, self.scheduler.timesteps

    def begin(self, first):
        self.scheduler = self.make()
        self.scheduler.set_timesteps(STEPS, device="cpu", shift=SHIFT)
        self.scheduler.set_begin_index(first)

    def step(self, x, velocity, i, _):
        return self.scheduler.step(velocity, self.timesteps[i], x, return_dict=False)[0]


def pictures(count):
    """[count,3,H,W] in -1..1: a moving pattern that every language can make."""
    n, c = torch.arange(count).view(-1, 1, 1, 1), torch.arange(3).view(1, 3, 1, 1)
    y, x = torch.arange(8 * ROWS).view(1, 1, -1, 1), torch.arange(8 * COLUMNS).view(1, 1, 1, -1)
    return ((5 + 2 * c) * x + (3 + c) * y + 4 * n * (c + 1)) % 256 / 255 * 2 - 1


def encode(module):
    """All that is fed, [16,3*chunks,h,w]."""
    config = json.loads((GOLDEN / VAE / "case.json").read_text())["config"]
    net = module.WanVAE_(dim=config["dim"], z_dim=config["z_dim"], dim_mult=config["dim_mult"], num_res_blocks=config["num_res_blocks"],
                         temperal_downsample=config["temperal_downsample"]).eval()
    missing, unexpected = net.load_state_dict(read_safetensors(GOLDEN / VAE / "weights.safetensors"), strict=False)
    assert not unexpected and all(name.startswith(("decoder.", "conv2.")) for name in missing), (missing, unexpected)
    scale = [torch.tensor(config["latents_mean"]), 1 / torch.tensor(config["latents_std"])]
    frames = pictures(4 * FRAMES * len(STRENGTHS) - 3)
    return net.encode(frames.transpose(0, 1)[None], scale)[0]


def repaint(transformer, sampler, fed, noise, renoise):
    latents, steps = [], len(sampler.timesteps)
    for chunk, strength in enumerate(STRENGTHS):
        first = steps - int(strength * steps + .5)
        clean = fed[:, FRAMES * chunk:FRAMES * (chunk + 1)]
        x = noise[chunk] if first == 0 else clean if first == steps else (1 - sampler.sigmas[first]) * clean + sampler.sigmas[first] * noise[chunk]
        sampler.begin(first)
        for i in range(first, steps):
            x = sampler.step(x, transformer(x, sampler.timesteps[i], chunk), i, renoise[chunk])
        transformer(x, 0, chunk)
        latents.append(x)
    return torch.cat(latents, 1)


@torch.no_grad()
def main(checkout, wan, to):
    torch.manual_seed(21)
    torch.set_num_threads(1)
    causal, vae = authors_classes(checkout)
    samplers = dict(few_step=FewStep(load_module("sf_scheduler", checkout / "utils/scheduler.py")), flow_euler=Euler(),
                    unipc=UniPC(load_module("wan_unipc", wan / "wan/utils/fm_solvers_unipc.py")))
    config = {"few_step": {"denoising_step_list": LIST, "timestep_shift": SHIFT, "warp_denoising_step": True},
              "flow_euler": {"steps": STEPS, "shift": SHIFT}, "unipc": {"steps": STEPS, "shift": SHIFT}}
    text = read_safetensors(GOLDEN / TRANSFORMER / "tensors.safetensors")["in.text"]
    chunks = len(STRENGTHS)
    shape = (16, FRAMES, ROWS, COLUMNS)
    noise, renoise = torch.randn(chunks, *shape), torch.randn(chunks, len(LIST) - 1, *shape)
    fed = encode(vae)
    tensors = {"in.text": text, "in.noise": noise, "in.renoise": renoise, "out.fed": fed}
    calls = []
    for kind, sampler in samplers.items():
        tensors[f"out.{kind}"] = repaint(Transformer(causal, text), sampler, fed, noise, renoise)
        calls.append(dict(op="feed", sampler=dict(kind=kind, **config[kind]), strengths=STRENGTHS, text="in.text", noise="in.noise",
                          renoise="in.renoise", fed="out.fed", latents=f"out.{kind}"))
        print(f"{kind}: fed std {fed.std():.3f}, latents std {tensors[f'out.{kind}'].std():.3f}")
    case = dict(kind="wan-feed", source=[
        dict(project="guandeh17/Self-Forcing", files=["wan/modules/causal_model.py", "wan/modules/vae.py", "utils/scheduler.py"], commit="33593df"),
        dict(project="Wan-Video/Wan2.2", files=["wan/utils/fm_solvers_unipc.py"], commit="42bf4cf"),
        dict(project="gst-flowcache", files=["tests/golden/make/wan_feed.py"])],
        config=dict(transformer=f"../{TRANSFORMER}", encoder=f"../{VAE}"), calls=calls, tolerance=dict(rtol=1e-3, atol=1e-3), notes=NOTES)
    to.mkdir(parents=True, exist_ok=True)
    (to / "case.json").write_text(json.dumps(case, indent=1) + "\n")
    write_safetensors(to / "tensors.safetensors", tensors)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3] if len(sys.argv) > 3 else GOLDEN) / "wan-feed")
