# SPDX-License-Identifier: LGPL-2.1-or-later
"""Procedural ambient scenes: the training data of the model.

A scene is a smooth function of pixel and time, so that a small autoencoder can hold it and a small
transformer can learn it. `render` draws a clip, `caption` writes a prompt for it as people type one.
"""
import random

import torch
import torch.nn.functional as F

import scenes
import scenes_detailed
from paint import COLORS, FPS, SPEEDS, Canvas

WIDTH, HEIGHT = 512, 288
SCENES = {  # family -> (what people call it, colours it is usually drawn in)
    "aurora": (["aurora", "northern lights", "polar lights"], ["green", "purple", "teal", "blue", "pink", "red", "orange"]),
    "fire": (["fire", "flames", "bonfire"], ["orange", "red", "blue", "green", "purple", "golden", "white"]),
    "ocean": (["ocean", "sea", "waves"], ["golden", "blue", "pink", "orange", "teal", "purple", "green"]),
    "lava": (["lava lamp", "lava", "blobs"], ["red", "orange", "blue", "green", "purple", "pink", "white"]),
    "stars": (["stars", "starfield", "hyperspace"], ["white", "blue", "golden", "pink", "teal", "purple", "red"]),
    "snow": (["snow", "snowfall", "snowflakes"], ["white", "blue", "golden", "pink", "purple", "teal", "green"]),
    "clouds": (["clouds", "cloudy sky", "drifting clouds"], ["blue", "golden", "pink", "white", "orange", "purple", "red"]),
    "tunnel": (["tunnel", "neon tunnel", "vortex"], ["blue", "purple", "pink", "green", "orange", "teal", "golden"]),
    "rain": (["rain", "rainy window", "rain on glass", "bokeh lights"], ["orange", "blue", "golden", "purple", "teal", "red", "pink"]),
    "galaxy": (["galaxy", "spiral galaxy", "nebula", "milky way"], ["purple", "blue", "pink", "golden", "teal", "orange", "white"]),
    "underwater": (["underwater", "underwater light", "caustics"], ["blue", "teal", "green", "purple", "golden", "pink", "orange"]),
    "ink": (["ink", "ink in water", "smoke"], ["purple", "red", "blue", "orange", "green", "pink", "teal"])}
DENSITIES = {  # family -> how many things are shown (for clouds: how much of them)
    "lava": {"sparse": 4, "": 7, "dense": 11}, "stars": {"sparse": 12, "": 24, "dense": 36},
    "snow": {"sparse": 12, "": 28, "dense": 50}, "clouds": {"sparse": -.32, "": .05, "dense": .45},
    "rain": {"sparse": 12, "": 26, "dense": 44}}
# Families that drift to one side; a mirrored clip drifts to the other side. Snow drifts in every second clip.
DRIFTS = {"aurora": ["left"], "clouds": ["left"], "snow": ["", "left"]}
OTHER_SIDE = {"": "", "left": "right", "right": "left"}
# How often a family is drawn; difficult ones more often.
WEIGHTS = {"aurora": 1.5, "clouds": 1.5, "stars": 1.5, "tunnel": 1.3, "ocean": 1.3, "snow": 1.2,
           "rain": 2.2, "galaxy": 2.2, "underwater": 2.2, "ink": 2.0}

_Y, _X = torch.meshgrid(torch.linspace(-1, 1, HEIGHT), torch.linspace(-WIDTH / HEIGHT, WIDTH / HEIGHT, WIDTH),
                        indexing="ij")

HALF_SIZE = ("stars", "snow", "rain", "galaxy", "underwater", "ink")
DRAW = {name: getattr(scenes_detailed, name, None) or getattr(scenes, name) for name in SCENES}


def render(scene, color, speed, density, drift, seed, frames):
    """RGB clip [frames,3,H,W] in 0..1; the same arguments give the same clip.

    Scenes of many soft dots, and others without thin edges, are drawn at half size and enlarged, which is four times cheaper.
    """
    step = 2 if scene in HALF_SIZE else 1
    amount = DENSITIES.get(scene, {"": None})[density]
    canvas = Canvas(color, speed, amount, drift, seed, frames, _X[::step, ::step], _Y[::step, ::step])
    img = 1 - torch.exp(-1.55 * DRAW[scene](canvas).clamp(0, 1.6))  # limits bright values softly
    img = img.clamp(0, 1).permute(0, 3, 1, 2).contiguous()
    if step == 1:
        return img
    return F.interpolate(img, size=(HEIGHT, WIDTH), mode="bicubic", align_corners=False).clamp(0, 1)


def caption(scene, color, speed, density="", drift="", rng=random):
    """A prompt as people type it. The words name scene, colour, speed, density and direction in any order.

    For families that always drift, half of the prompts leave the direction out.
    """
    name = rng.choice(SCENES[scene][0])
    words = [w for w in (speed, color, density) if w]
    rng.shuffle(words)
    form = rng.choice(["{a} {s}", "{a} {s}", "{s} {a}", "a {a} {s}", "{s} in {a}", "{a} {s} at night",
                       "calm {a} {s}", "{a} {s} moving gently"])
    if speed == "fast":
        form = form.replace("calm ", "").replace(" moving gently", "")
    if drift and ("" in DRIFTS[scene] or rng.random() < .5):
        form += rng.choice([" {d}", " moving {d}", " to the {d}", " drifting {d}"])
    return " ".join(form.format(a=" ".join(words), s=name, d=drift).split())


def unusual_colors(scene):
    """The colours that a scene is drawn in only on request."""
    return [color for color in COLORS if color not in SCENES[scene][1]]


def sample_spec(rng=random, unusual=False):
    """(scene, colour, speed, density, drift) of the next clip. unusual: in one of its unusual_colors()."""
    names = list(SCENES)
    scene = rng.choices(names, [WEIGHTS.get(n, 1.0) for n in names])[0]
    density = rng.choice(["", "", "sparse", "dense"]) if scene in DENSITIES else ""
    return (scene, rng.choice(unusual_colors(scene) if unusual else SCENES[scene][1]), rng.choice(["slow", "", "", "fast"]), density,
            rng.choice(DRIFTS.get(scene, [""])))
