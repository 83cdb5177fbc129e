#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes a miniature of every download that models/README.md has a row for: the files, folders, names and wrappings of the
published one, with a network of two small layers. Beside each, in FOLDER/plain/, the same numbers in the plainest layout:
safetensors under the networks' own names, and a model.json that was made from the template by hand.

Names and shapes are those of tests/golden, whose weights were made with the authors' classes. Needs Python alone.

tests/checkpoints/miniatures.py FOLDER"""

import array
import collections
import copy
import json
import pathlib
import re
import shutil
import sys

import formats
from formats import Tensor

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GOLDEN, TEMPLATES = ROOT / "tests/golden", ROOT / "models/templates"

# name: the template that it has to be taken for. as_name: it is too small to be told from its smaller brother, so that the
# user says it. seconds: of video to compare. more: what else the command is told, to take less time.
Row = collections.namedtuple("Row", "folder name as_name size seconds more")
rows = []


def golden(case):
    return formats.read_safetensors(GOLDEN / case / "weights.safetensors")


def cycled(tensor, shape):
    """As many of a tensor's numbers as another shape takes."""
    count = 1
    for size in shape:
        count *= size
    own = tensor.values
    return Tensor(list(shape), (own * (count // len(own) + 1))[:count])


def numbers(shape, seed, scale=0.1, around=0.0):
    count, state, values = 1, seed, array.array("f")
    for size in shape:
        count *= size
    for _ in range(count):
        state = (state * 1103515245 + 12345) % 2**31
        values.append(around + scale * ((state >> 8) % 2000 - 1000) / 1000)
    return Tensor(list(shape), formats.as_bf16(values))


def renamed(tensors, pairs):
    """pairs: regular expressions and what they become, all of them in their order."""
    out = {}
    for name, tensor in tensors.items():
        for pattern, to in pairs:
            name = re.sub(pattern, to, name)
        out[name] = tensor
    return out


def under(prefix, tensors):
    return {prefix + name: tensor for name, tensor in tensors.items()}


def zeros_like(tensors):
    return {name: Tensor(one.shape, array.array("f", bytes(4 * len(one.values)))) for name, one in tensors.items()}


# ---- the parts, once for all rows

WAN_SHAPE = {"dim": 64, "ffn_dim": 128, "num_heads": 1, "num_layers": 2, "text_dim": 48, "freq_dim": 256}
UMT5_SHAPE = {"vocab": 420, "dim": 48, "dim_attn": 64, "dim_ffn": 96, "num_heads": 4, "num_layers": 3, "num_buckets": 32,
              "shared_pos": False}
T5_SHAPE = {"vocab_size": 420, "d_model": 24, "d_kv": 16, "d_ff": 96, "num_layers": 3, "num_heads": 4,
            "relative_attention_num_buckets": 32}
CAPTION_LENGTH = 40



def narrow_vae_shape(name, shape):
    """A quarter as wide as the golden case, so that pictures of 256 x 256 take no time. What stays: latents, pixels, kernels."""
    kept = {"conv1": 2, "conv2": 2, "decoder.conv1": "in", "encoder.conv1": "in", "decoder.head.2": "out", "encoder.head.2": "out"}
    what = kept.get(name.rsplit(".", 1)[0])
    if what == 2:
        return shape
    out = shape[:1] if what == "out" else [shape[0] // 4]
    return out + [size if i > 0 or what == "in" else max(1, size // 4) for i, size in enumerate(shape[1:])]


wan = golden("self-forcing-pipeline")
skyreels = golden("skyreels-df-transformer")
wan_48 = {**wan, "patch_embedding.weight": cycled(wan["patch_embedding.weight"], [64, 48, 1, 2, 2]),
          "head.head.weight": cycled(wan["head.head.weight"], [4 * 48, 64]),
          "head.head.bias": cycled(wan["head.head.bias"], [4 * 48])}
umt5 = golden("umt5-encode")
umt5["token_embedding.weight"] = cycled(umt5["token_embedding.weight"], [420, 48])
vae_21 = {name: cycled(tensor, narrow_vae_shape(name, tensor.shape))
          for name, tensor in {**golden("wan-vae-decode-stream"), **golden("wan-vae-encode")}.items()}
vae_22 = {**golden("wan22-vae-decode-stream"), **golden("wan22-vae-encode")}
taehv, taehv_22 = golden("taehv-decode-stream"), golden("taehv22-decode-stream")
VAE_21, VAE_22 = {"dim": 2}, {"dim": 6, "dec_dim": 4}
TAEHV = {"latent_channels": 16, "patch_size": 1, "n_f": [20, 16, 12, 8]}
TAEHV_22 = {"latent_channels": 48, "patch_size": 2, "n_f": [20, 16, 12, 8]}


def t5_shape(name, shape):
    width = {48: 24, 300: 420}
    if name.endswith("relative_attention_bias.weight"):
        return shape
    return [width.get(size, size) for size in shape]


t5 = {name: cycled(tensor, t5_shape(name, tensor.shape)) for name, tensor in golden("t5-bin").items()}
t5["encoder.embed_tokens.weight"] = t5["shared.weight"]

TO_HUGGING_FACE = [(r"^token_embedding", "shared"), (r"^norm\.", "encoder.final_layer_norm."),
                   (r"^blocks\.", "encoder.block."), (r"\.attn\.", ".layer.0.SelfAttention."),
                   (r"\.pos_embedding\.embedding\.", ".layer.0.SelfAttention.relative_attention_bias."),
                   (r"\.norm1\.", ".layer.0.layer_norm."), (r"\.norm2\.", ".layer.1.layer_norm."),
                   (r"\.ffn\.gate\.0\.", ".layer.1.DenseReluDense.wi_0."),
                   (r"\.ffn\.fc1\.", ".layer.1.DenseReluDense.wi_1."), (r"\.ffn\.fc2\.", ".layer.1.DenseReluDense.wo.")]
# diffusers: scripts/convert_wan_to_diffusers.py
TO_DIFFUSERS = [(r"^time_embedding\.0", "condition_embedder.time_embedder.linear_1"),
                (r"^time_embedding\.2", "condition_embedder.time_embedder.linear_2"),
                (r"^text_embedding\.0", "condition_embedder.text_embedder.linear_1"),
                (r"^text_embedding\.2", "condition_embedder.text_embedder.linear_2"),
                (r"^time_projection\.1", "condition_embedder.time_proj"), (r"^head\.modulation", "scale_shift_table"),
                (r"^head\.head", "proj_out"), (r"modulation$", "scale_shift_table"), (r"\.ffn\.0", ".ffn.net.0.proj"),
                (r"\.ffn\.2", ".ffn.net.2"), (r"\.norm3\.", ".norm2."), (r"self_attn\.(norm_[qk])", r"attn1.\1"),
                (r"cross_attn\.(norm_[qk])", r"attn2.\1"), (r"self_attn\.o\.", "attn1.to_out.0."),
                (r"cross_attn\.o\.", "attn2.to_out.0."), (r"self_attn\.([qkv])\.", r"attn1.to_\1."),
                (r"cross_attn\.([qkv])\.", r"attn2.to_\1.")]
INNER = [(r"\.residual\.0\.", ".norm1."), (r"\.residual\.2\.", ".conv1."), (r"\.residual\.3\.", ".norm2."),
         (r"\.residual\.6\.", ".conv2."), (r"\.shortcut\.", ".conv_shortcut.")]
ENDS = [(r"^conv1\.", "quant_conv."), (r"^conv2\.", "post_quant_conv."), (r"coder\.conv1\.", "coder.conv_in."),
        (r"coder\.head\.0\.", "coder.norm_out."), (r"coder\.head\.2\.", "coder.conv_out."),
        (r"coder\.middle\.0\.", "coder.mid_block.resnets.0."), (r"coder\.middle\.1\.", "coder.mid_block.attentions.0."),
        (r"coder\.middle\.2\.", "coder.mid_block.resnets.1.")]


def level_of_21(match):
    index = int(match[1])
    return f"decoder.up_blocks.{index // 4}." + ("upsamplers.0." if index % 4 == 3 else f"resnets.{index % 4}.")


TO_DIFFUSERS_VAE_21 = ENDS + [(r"^encoder\.downsamples\.", "encoder.down_blocks."),
                              (r"^decoder\.upsamples\.(\d+)\.", level_of_21)] + INNER
TO_DIFFUSERS_VAE_22 = ENDS + [(r"^encoder\.downsamples\.(\d)\.downsamples\.2\.", r"encoder.down_blocks.\1.downsampler."),
                              (r"^encoder\.downsamples\.(\d)\.downsamples\.", r"encoder.down_blocks.\1.resnets."),
                              (r"^decoder\.upsamples\.(\d)\.upsamples\.3\.", r"decoder.up_blocks.\1.upsampler."),
                              (r"^decoder\.upsamples\.(\d)\.upsamples\.", r"decoder.up_blocks.\1.resnets.")] + INNER


# ---- writing a row

class Download:
    def __init__(self, to, folder, name, as_name="", size="256x256", seconds=0.5, more=()):
        self.path, self.plain = to / folder, to / "plain" / folder
        self.path.mkdir(parents=True)
        self.plain.mkdir(parents=True)
        self.model = json.loads((TEMPLATES / f"{name}.json").read_text())
        self.model.pop("sources")
        rows.append(Row(folder, name, as_name, size, seconds, more))

    def tokenizer(self, file):
        (self.path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(GOLDEN / "umt5-tokenize/spiece.model", self.path / file)

    def section(self, section, tensors, config, **fields):
        """What the plain model.json has."""
        own = self.model[section]
        for field in ("files", "key", "loras"):
            own.pop(field, None)
        own.update(fields, file=section + ".safetensors", config={**own["config"], **config})
        formats.write_safetensors(self.plain / own["file"], tensors)

    def transformer(self, tensors, **config):
        self.section("transformer", tensors, {**WAN_SHAPE, **config})

    def wan_text(self):
        """As Wan-AI has it."""
        formats.write_torch(self.path / "models_t5_umt5-xxl-enc-bf16.pth", umt5, "BF16")
        self.tokenizer("google/umt5-xxl/spiece.model")
        self.section("text", umt5, UMT5_SHAPE)

    def wan_decoder(self):
        formats.write_torch(self.path / "Wan2.1_VAE.pth", vae_21)
        self.section("decoder", vae_21, VAE_21)

    def wan_base(self):
        self.wan_text()
        self.wan_decoder()

    def decoder(self, kind, tensors, config):
        self.model["decoder"]["config"] = {}
        self.section("decoder", tensors, config, kind=kind)

    def finish(self):
        shutil.copyfile(GOLDEN / "umt5-tokenize/spiece.model", self.plain / "spiece.model")
        self.model["text"]["tokenizer"] = "spiece.model"
        (self.plain / "model.json").write_text(json.dumps(self.model, indent=1))


def training_file(path, key, tensors, wrapper="model.", others=()):
    """torch.save of a training: the copy that is played, and others that are not."""
    tree = {one: under("model.", zeros_like(tensors)) for one in others}
    tree[key] = under(wrapper, tensors)
    formats.write_torch(path, {**tree, "step": 600})


def wrapped_blocks(tensors):
    """As FSDP with checkpointing names them."""
    return renamed(tensors, [(r"^blocks\.(\d+)\.", r"blocks.\1._fsdp_wrapped_module._checkpoint_wrapped_module.")])


def few_step_rows(to):
    for folder, file, name, key, others in [
            ("Self-Forcing", "checkpoints/self_forcing_dmd.pt", "self-forcing-1.3b", "generator_ema", ["generator", "critic"]),
            ("Causal-Forcing", "chunkwise/causal_forcing.pt", "causal-forcing-1.3b", "generator", []),
            ("Causal-Forcing-f", "framewise/causal_forcing.pt", "causal-forcing-framewise-1.3b", "generator_ema", []),
            ("Causal-Forcing-2", "causal-forcing++/framewise-2step.pt", "causal-forcing-framewise-2step-1.3b",
             "generator_ema", []),
            ("Causal-Forcing-1", "causal-forcing++/framewise-1step.pt", "causal-forcing-framewise-1step-1.3b",
             "generator_ema", []),
            ("CausVid", "autoregressive_checkpoint/model.pt", "causvid-1.3b", "generator", [])]:
        one = Download(to, folder, name)
        training_file(one.path / file, key, wan, others=others)
        one.transformer(wan)
        one.wan_base()
        one.finish()

    one = Download(to, "Self-Forcing-sid", "self-forcing-sid-1.3b")
    training_file(one.path / "checkpoints/self_forcing_sid.pt", "generator_ema", wrapped_blocks(wan),
                  "model._fsdp_wrapped_module.")
    one.transformer(wan)
    one.wan_base()
    one.finish()


def longlive_row(to):
    """The LoRA as PEFT saves it. Its numbers are few bits long, so that the sum is exact in any order."""
    one = Download(to, "LongLive-1.3B", "longlive-1.3b")
    training_file(one.path / "models/longlive_base.pt", "generator", wan)
    lora, merged = {}, dict(wan)
    for name in ("blocks.0.self_attn.q", "blocks.1.ffn.0"):
        weight = wan[name + ".weight"]
        rows_, columns = weight.shape
        down = Tensor([1, columns], array.array("f", [(i % 5 - 2) / 8 for i in range(columns)]))
        up = Tensor([rows_, 1], array.array("f", [(i % 3 - 1) / 4 for i in range(rows_)]))
        lora[f"base_model.model.{name}.lora_A.weight"], lora[f"base_model.model.{name}.lora_B.weight"] = down, up
        merged[name + ".weight"] = Tensor(weight.shape, array.array("f", [
            value + up.values[i // columns] * down.values[i % columns] for i, value in enumerate(weight.values)]))
    formats.write_torch(one.path / "models/lora.pt", {"generator_lora": lora})
    one.transformer(merged)
    one.wan_base()
    one.finish()


def krea_row(to):
    one = Download(to, "krea-realtime-video", "krea-realtime-14b", "krea-realtime-14b")
    formats.write_safetensors(one.path / "krea-realtime-video-14b.safetensors", under("model.", wan), "BF16")
    one.transformer(wan)
    one.wan_base()
    one.finish()


def longlive_2_rows(to):
    def begin(folder):
        one = Download(to, folder, "longlive-2.0-5b", seconds=0.9)
        one.transformer(wan_48)
        one.wan_text()
        return one

    one = begin("LongLive-2.0-5B")
    training_file(one.path / "model_bf16.pt", "generator", wan_48)
    formats.write_torch(one.path / "taew2_2.pth", taehv_22)
    # The template's own decoder is taken, although the VAE lies there, too.
    formats.write_torch(one.path / "Wan2.2_VAE.pth", vae_22)
    one.decoder("taehv", taehv_22, TAEHV_22)
    one.finish()

    one = begin("LongLive-2.0-5B-vae")
    formats.write_torch(one.path / "model_bf16.pt", under("model.", wan_48), "BF16")
    formats.write_torch(one.path / "Wan2.2_VAE.pth", vae_22)
    one.decoder("wan22_vae", vae_22, VAE_22)
    one.finish()

    one = begin("LongLive-2.0-5B-diffusers")
    formats.write_torch(one.path / "model_bf16.pt", {"generator": under("model.", wan_48)}, "BF16")
    formats.write_safetensors(one.path / "vae/diffusion_pytorch_model.safetensors", renamed(vae_22, TO_DIFFUSERS_VAE_22))
    one.decoder("wan22_vae", vae_22, VAE_22)
    one.finish()

    one = begin("LongLive-2.0-5B-light")
    formats.write_torch(one.path / "model_bf16.pt", under("model.", wan_48), "BF16")
    formats.write_safetensors(one.path / "lighttaew2_2.safetensors", taehv_22, "BF16")
    case = json.loads((GOLDEN / "wan22-vae-encode/case.json").read_text())["config"]
    one.decoder("taehv", taehv_22, {**TAEHV_22, **{field: [round(value, 4) for value in case[field]]
                                                  for field in ("latents_mean", "latents_std")}})
    one.finish()


def skyreels_rows(to):
    config = {"model_type": "t2v", "dim": 64, "num_heads": 2, "num_layers": 2, "_class_name": "WanModel"}
    for folder, name, as_name, tensors, stem, shards in [
            ("SkyReels-V2-DF-1.3B-540P", "skyreels-v2-df-1.3b-540p", "", skyreels, "model", 0),
            ("SkyReels-V2-DF-14B-540P", "skyreels-v2-df-14b-540p", "skyreels-v2-df-14b-540p", wan, "model", 12),
            ("SkyReels-V2-DF-14B-720P", "skyreels-v2-df-14b-720p", "skyreels-v2-df-14b-720p", wan,
             "diffusion_pytorch_model", 6)]:
        one = Download(to, folder, name, as_name, more=("--steps", 6, "--lag", 6))
        (one.path / "config.json").write_text(json.dumps(config))
        if shards:
            formats.write_shards(one.path, stem, tensors, shards)
        else:
            formats.write_safetensors(one.path / "model.safetensors", tensors)
        one.transformer(tensors, num_heads=2, **({"inject_sample_info": True} if tensors is skyreels else {}))
        one.wan_base()
        one.finish()


def fastvideo_row(to):
    """A folder of diffusers."""
    one = Download(to, "SFWan2.1-T2V-1.3B-Diffusers", "self-forcing-1.3b")
    (one.path / "model_index.json").write_text(json.dumps({"_class_name": "WanDMDPipeline"}))
    formats.write_safetensors(one.path / "transformer/diffusion_pytorch_model.safetensors", renamed(wan, TO_DIFFUSERS), "BF16")
    (one.path / "transformer/config.json").write_text(
        json.dumps({"_class_name": "CausalWanTransformer3DModel", "num_attention_heads": 2, "attention_head_dim": 32}))
    formats.write_safetensors(one.path / "vae/diffusion_pytorch_model.safetensors", renamed(vae_21, TO_DIFFUSERS_VAE_21))
    (one.path / "vae/config.json").write_text(json.dumps({"_class_name": "AutoencoderKLWan", "base_dim": 2, "z_dim": 16}))
    formats.write_shards(one.path / "text_encoder", "model", renamed(umt5, TO_HUGGING_FACE), 3)
    (one.path / "text_encoder/config.json").write_text(json.dumps({"architectures": ["UMT5EncoderModel"]}))
    one.tokenizer("tokenizer/spiece.model")
    one.transformer(wan, num_heads=2)
    one.section("text", umt5, UMT5_SHAPE)
    one.section("decoder", vae_21, VAE_21)
    one.finish()


def light_rows(to):
    """Small decoders in the place of the VAE."""
    case = json.loads((GOLDEN / "wan-vae-encode/case.json").read_text())["config"]
    statistics = {field: [round(value, 4) for value in case[field]] for field in ("latents_mean", "latents_std")}
    for folder, file, config in [("Self-Forcing-light", "lighttaew2_1.safetensors", {**TAEHV, **statistics}),
                                 ("Self-Forcing-taehv", "taew2_1.pth", TAEHV)]:
        one = Download(to, folder, "self-forcing-1.3b")
        training_file(one.path / "checkpoints/self_forcing_dmd.pt", "generator_ema", wan)
        if file.endswith(".pth"):
            formats.write_torch(one.path / file, taehv, "F16")
            kept = {name: formats.as_f16(tensor) for name, tensor in taehv.items()}
        else:
            formats.write_safetensors(one.path / file, taehv, "BF16")
            kept = taehv
        one.transformer(wan)
        one.wan_text()
        one.decoder("taehv", kept, config)
        one.finish()


def comfyui_rows(to):
    """Single files for ComfyUI: the tokenizer lies in the text encoder's, and the transformer may be a GGUF."""
    pieces = (GOLDEN / "umt5-tokenize/spiece.model").read_bytes()
    for folder in ("Self-Forcing-comfyui", "Self-Forcing-gguf"):
        one = Download(to, folder, "self-forcing-1.3b")
        if folder.endswith("gguf"):
            kept = formats.write_gguf(one.path / "unet/self_forcing_dmd-Q8_0.gguf", wan)
        else:
            kept = wan
            formats.write_safetensors(one.path / "diffusion_models/self_forcing_dmd.safetensors",
                                      under("model.diffusion_model.", wan), "BF16")
        formats.write_safetensors(one.path / "text_encoders/umt5_xxl_fp16.safetensors", renamed(umt5, TO_HUGGING_FACE),
                                  "BF16", {"spiece_model": pieces})
        formats.write_safetensors(one.path / "vae/wan_2.1_vae.safetensors", vae_21, "BF16")
        one.transformer(kept)
        one.section("text", umt5, UMT5_SHAPE)
        one.section("decoder", vae_21, VAE_21)
        one.finish()


def magi_vae():
    dim, grid = 256, 4 * 8 * 8
    shapes = {"decoder.proj_in": [dim, 16], "decoder.last_layer": [3, 1, 3, 3, 3], "encoder.patch_embed.proj": [dim, 3, 4, 8, 8],
              "encoder.last_layer": [32, dim]}
    for half in ("decoder.", "encoder."):
        shapes.update({half + "norm": [dim], half + "blocks.0.norm2": [dim], half + "blocks.0.attn.qkv": [3 * dim, dim],
                       half + "blocks.0.attn.proj": [dim, dim], half + "blocks.0.mlp.fc1": [dim, dim],
                       half + "blocks.0.mlp.fc2": [dim, dim]})
    tensors = {}
    for name, shape in shapes.items():
        around = 1.0 if "norm" in name else 0.0
        tensors[name + ".weight"] = numbers(shape, len(tensors), around=around)
        tensors[name + ".bias"] = numbers(shape[:1], len(tensors))
    for half in ("decoder.", "encoder."):
        tensors[half + "cls_token"] = numbers([1, 1, dim], len(tensors))
        tensors[half + "pos_embed"] = numbers([1, 1 + grid, dim], len(tensors))
    config = {"embed_dim": dim, "depth": 1, "num_heads": 2, "mlp_ratio": 1, "z_chans": 16, "patch_length": 4, "patch_size": 8,
              "video_length": 16, "video_size": 64}
    return tensors, config


def magi_network(case, layers):
    tensors = golden(case)
    hidden = tensors["x_embedder.weight"].shape[0]
    block = r"videodit_blocks\.layers\.0\."
    for i in range(2, layers):
        tensors.update({re.sub(block, f"videodit_blocks.layers.{i}.", name): tensor for name, tensor in list(tensors.items())
                        if re.match(block, name)})
    null = "y_embedder.null_caption_embedding"
    tensors[null] = cycled(tensors[null], [CAPTION_LENGTH, tensors[null].shape[1]])
    config = json.loads((GOLDEN / case / "case.json").read_text())["config"]
    config["model_config"].update(num_layers=layers, caption_max_length=CAPTION_LENGTH)
    assert config["model_config"]["hidden_size"] == hidden
    return tensors, config


def magi_rows(to):
    vae, vae_config = magi_vae()
    for folder, name, case, layers, steps, distilled in [
            ("MAGI-4.5B_distill", "magi-1-4.5b-distill", "magi-dit-window", 2, 64, True),
            ("MAGI-4.5B_base", "magi-1-4.5b-base", "magi-dit-window", 2, 64, False),
            ("MAGI-24B_distill", "magi-1-24b-distill", "magi-dit-window-24b", 41, 16, True),
            ("MAGI-24B_base", "magi-1-24b-base", "magi-dit-window-24b", 41, 8, False)]:
        one = Download(to, folder, name, size="")
        tensors, config = magi_network(case, layers)
        weights = one.path / ("inference_weight.distill" if distilled else "inference_weight")
        if layers > 40:
            formats.write_shards(weights, "model", tensors, 6, "BF16")
        else:
            formats.write_safetensors(weights / "model.safetensors", tensors, "BF16")
        # MAGI-1's own configuration, in which its users choose picture and steps.
        template = one.model["transformer"]["config"]
        config["runtime_config"].update(template["runtime_config"], num_steps=steps, window_size=4, video_size_w=48,
                                        video_size_h=32)
        config["engine_config"]["distill"] = distilled
        (one.path / (folder.removeprefix("MAGI-") + "_config.json")).write_text(json.dumps(config))

        shape = config["model_config"]
        own = copy.deepcopy(template)
        own.update(num_layers=layers, dim=shape["hidden_size"], num_heads=shape["num_attention_heads"],
                   num_kv_heads=shape["num_query_groups"],
                   ffn_dim=shape["ffn_hidden_size"] * (2 if shape["gated_linear_unit"] else 1))
        own["model_config"] = {field: shape[field] for field in own["model_config"]}
        own["runtime_config"]["num_steps"] = steps
        one.model["transformer"]["config"] = {}
        one.section("transformer", tensors, own)
        one.model["video"].update(width=48, height=32)
        one.model["sampler"].update(steps=steps, lag=steps // 4)

        for i, part in enumerate(formats.in_shards(t5, 2)):
            formats.write_torch(one.path / "t5" / formats.SHARD.format("pytorch_model", i + 1, 2, "bin"), part)
        one.tokenizer("t5/spiece.model")
        one.section("text", t5, T5_SHAPE, max_length=CAPTION_LENGTH, special_tokens="special_tokens.npz")
        special = numbers([100, 24], 5)
        for place in (one.path, one.plain):
            formats.write_npz(place / "special_tokens.npz", "other_tokens", special)
        formats.write_safetensors(one.path / "vae/diffusion_pytorch_model.safetensors", vae)
        (one.path / "vae/config.json").write_text(json.dumps({"_class_name": "ViTVAE", "ddconfig": vae_config}))
        one.section("decoder", vae, {"ddconfig": vae_config})
        one.finish()


def write(to):
    """Returns the rows."""
    for make in (few_step_rows, longlive_row, krea_row, longlive_2_rows, skyreels_rows, fastvideo_row, light_rows, comfyui_rows,
                 magi_rows):
        make(to)
    return rows


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for row in write(pathlib.Path(sys.argv[1])):
        print(row.folder)
