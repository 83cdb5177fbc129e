# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes what the engine loads: Wan key names for the transformer, TAEHV's for the decoder, and model.json.

As a program it averages the transformers of two exports of one training, the ends of two falls of its rate (model soups,
arXiv 2203.05482); the decoder is the first one's:

    models/ambient/export.py --average A/export B/export --out averaged
"""
import argparse
import json
import pathlib
import shutil

import torch
from safetensors.torch import load_file, save_file

import render
import text
from autoencoder import CELL, CHANNELS, DECODER, EVENNESS, STRIDE
from dit import CONFIG

PROMPTS = ["slow green aurora over mountains", "orange fire", "golden ocean at sunset", "red lava lamp", "fast blue stars",
           "dense blue snowfall at night", "pink clouds moving gently", "purple neon tunnel", "golden rain on glass",
           "purple spiral galaxy", "teal underwater light", "red ink in water"]


def describe(latent_scale):
    """The contents of model.json. latent_scale: factor of the transformer's latents before they are decoded."""
    return dict(
        name="ambient", family="wan-causal",
        description="Ambient scenes (aurora, fire, ocean, lava lamp, stars, snow, clouds, tunnel, rain on glass, galaxy, "
                    "underwater light, ink) in nine colours and three speeds, sparse or dense; trained on procedural clips",
        license="LGPL-2.1-or-later", prompts=PROMPTS,
        video=dict(width=render.WIDTH, height=render.HEIGHT, framerate=f"{render.FPS}/1", latent_frames_per_chunk=3,
                   frames_per_chunk=12,
                   sizes=dict(least=[256, 160], most=[640, 384], good=[[512, 288], [384, 224], [320, 192]])),
        transformer=dict(file="transformer.safetensors", config=CONFIG),
        text=dict(kind="words", file="text.safetensors", vocabulary=text.WORDS, max_length=text.MAX_IDS,
                  synonyms=text.SYNONYMS),
        decoder=dict(kind="taehv", file="decoder.safetensors", config=DECODER | dict(latent_scale=latent_scale),
                     seam_fade_frames=8, latent_fade_frames=4),
        encoder=dict(kind="pca", file="pca.safetensors",
                     config=dict(latent_channels=CHANNELS, frames=STRIDE, cell=CELL, evenness=EVENNESS, latent_scale=latent_scale)),
        sampler=dict(kind="flow_euler", steps=24, shift=1.5, prediction="velocity noise - data", timestep_scale=1000,
                     clean_context=True, lag=0),
        cache=dict(reuse="ramp:computed=5", kv="window", history_chunks=3, on_cut="forget"))


def _shift(key, by):
    """TAEHV counts its clamp as layer 0 of the decoder, so its layer numbers are one higher than ours."""
    head, number, tail = key.split(".", 2)
    return f"{head}.{int(number) + by}.{tail}"


def save(folder, transformer, decoder, latent_scale, dtype=torch.bfloat16):
    """transformer, decoder: state dicts. Text vectors stay float32, they are small."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    table = "token_embedding.weight"
    pack = lambda tensors: {k: v.detach().cpu().to(dtype).contiguous() for k, v in tensors.items()}
    save_file(pack({k: v for k, v in transformer.items() if k != table}), folder / "transformer.safetensors")
    save_file({table: transformer[table].detach().cpu().float().contiguous()}, folder / "text.safetensors")
    save_file(pack({_shift(k, 1): v for k, v in decoder.items()}), folder / "decoder.safetensors")
    (folder / "model.json").write_text(json.dumps(describe(latent_scale), indent=1) + "\n")
    encoder = pathlib.Path(__file__).with_name("pca.safetensors")  # it never changes
    if not (folder / encoder.name).exists():
        shutil.copyfile(encoder, folder / encoder.name)


def vocabulary(folder):
    """The words of an exported model. text.py may have learned more since, at the end."""
    words = json.loads((pathlib.Path(folder) / "model.json").read_text())["text"]["vocabulary"]
    if words != text.WORDS[:len(words)]:
        raise ValueError("its words are not the first ones of text.py, so the vectors would belong to other words")
    return words


def scenes(folder):
    """The scenes of render.py that an exported model has learned: all that it has the words of."""
    words = set(vocabulary(folder))
    return {scene: value for scene, value in render.SCENES.items() if words.issuperset(value[0][0].split())}


def load(folder):
    """(transformer state, decoder state, latent_scale) of an exported model, as float32. Words that it does not have get 0."""
    folder = pathlib.Path(folder)
    read = lambda name: {k: v.float() for k, v in load_file(folder / name).items()}
    scale = json.loads((folder / "model.json").read_text())["decoder"]["config"]["latent_scale"]
    decoder = {_shift(k, -1): v for k, v in read("decoder.safetensors").items()}
    more = len(text.WORDS) - len(vocabulary(folder))
    table = {k: torch.cat([v, v.new_zeros(more, v.shape[1])]) for k, v in read("text.safetensors").items()}
    return read("transformer.safetensors") | table, decoder, scale


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--average", nargs=2, type=pathlib.Path, required=True, metavar="FOLDER", help="two exports with the same words")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder to write")
    args = parser.parse_args()
    for folder in args.average:
        if not (folder / "model.json").is_file():
            parser.error(f"--average {folder}: there is no model.json; name a folder that train.py exported to")
    (first, decoder, scale), (second, _, other) = map(load, args.average)
    if scale != other or vocabulary(args.average[0]) != vocabulary(args.average[1]):
        parser.error("--average: the two have other words or another latent_scale, so they are not of one training")
    save(args.out, {k: v.lerp(second[k], .5) for k, v in first.items()}, decoder, scale)
    print(f"{args.out}: the average of {args.average[0]} and {args.average[1]}")


if __name__ == "__main__":
    main()
