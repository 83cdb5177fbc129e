# SPDX-License-Identifier: LGPL-2.1-or-later
"""Procedural ambient scenes: the training data of the model.

A scene is a smooth function of pixel and time, so that a small autoencoder can hold it and a small
transformer can learn it. `render` draws a clip, `caption` writes a prompt for it as people type one.
"""
import math
import random

import torch
import torch.nn.functional as F

WIDTH, HEIGHT, FPS = 512, 288, 16

COLORS = {  # colour word -> RGB, linear-ish, 0..1
    "red": (1.0, .12, .08), "orange": (1.0, .48, .08), "golden": (1.0, .78, .25),
    "green": (.12, .95, .35), "teal": (.08, .85, .80), "blue": (.12, .35, 1.0),
    "purple": (.60, .18, 1.0), "pink": (1.0, .35, .70), "white": (.92, .95, 1.0)}
SCENES = {  # family -> (what people call it, colours it is drawn in)
    "aurora": (["aurora", "northern lights", "polar lights"], ["green", "purple", "teal", "blue", "pink", "red", "orange"]),
    "fire": (["fire", "flames", "bonfire"], ["orange", "red", "blue", "green", "purple", "golden", "white"]),
    "ocean": (["ocean", "sea", "waves"], ["golden", "blue", "pink", "orange", "teal", "purple", "green"]),
    "lava": (["lava lamp", "lava", "blobs"], ["red", "orange", "blue", "green", "purple", "pink", "white"]),
    "stars": (["stars", "starfield", "hyperspace"], ["white", "blue", "golden", "pink", "teal", "purple", "red"]),
    "snow": (["snow", "snowfall", "snowflakes"], ["white", "blue", "golden", "pink", "purple", "teal", "green"]),
    "clouds": (["clouds", "cloudy sky", "drifting clouds"], ["blue", "golden", "pink", "white", "orange", "purple", "red"]),
    "tunnel": (["tunnel", "neon tunnel", "vortex"], ["blue", "purple", "pink", "green", "orange", "teal", "golden"])}
SPEEDS = {"slow": .5, "": 1.0, "fast": 2.0}
DENSITIES = {  # family -> how many things are shown (for clouds: how much of them)
    "lava": {"sparse": 4, "": 7, "dense": 11}, "stars": {"sparse": 12, "": 24, "dense": 36},
    "snow": {"sparse": 12, "": 28, "dense": 50}, "clouds": {"sparse": -.32, "": .05, "dense": .45}}
# Families that drift to one side; a mirrored clip drifts to the other side. Snow drifts in every second clip.
DRIFTS = {"aurora": ["left"], "clouds": ["left"], "snow": ["", "left"]}
OTHER_SIDE = {"": "", "left": "right", "right": "left"}
# How often a family is drawn; difficult ones more often.
WEIGHTS = {"stars": 2.0, "tunnel": 2.0, "ocean": 1.6}

_Y, _X = torch.meshgrid(torch.linspace(-1, 1, HEIGHT), torch.linspace(-WIDTH / HEIGHT, WIDTH / HEIGHT, WIDTH),
                        indexing="ij")


def make_texture(gen, n=32):
    """Smooth periodic texture of n x n cells. It is enlarged once, so that fast bilinear look-ups are smooth."""
    cells = F.pad(torch.randn(1, 1, n, n, generator=gen) * .6, (2, 2, 2, 2), mode="circular")
    return F.interpolate(cells, scale_factor=8, mode="bicubic", align_corners=False)[..., 8:-8, 8:-8]


def noise(tex, u, v):
    """Periodic value noise at u, v (in cells of the texture), broadcast to [T,H,W]."""
    n = tex.shape[-1] // 8 - 2
    u, v = torch.broadcast_tensors(u, v)
    grid = torch.stack([u % n, v % n], -1).add_(1).mul_(2 / (n + 2)).sub_(1)
    return F.grid_sample(tex.expand(grid.shape[0], -1, -1, -1), grid, mode="bilinear", align_corners=False)[:, 0]


def fbm(tex, u, v, octaves=3, gain=.5):
    """Noise summed over octaves (fractional Brownian motion)."""
    total, amplitude, norm = 0, 1.0, 0
    for o in range(octaves):
        total = total + amplitude * noise(tex, u * 2 ** o + 7.3 * o, v * 2 ** o + 3.1 * o)
        norm += amplitude
        amplitude *= gain
    return total / norm


def ramp(x, stops):
    """x [T,H,W] in 0..1 through the colours [(position, rgb)] -> [T,H,W,3]."""
    out = torch.zeros(*x.shape, 3)
    for (p0, c0), (p1, c1) in zip(stops, stops[1:]):
        a = ((x - p0) / (p1 - p0)).clamp(0, 1)[..., None]
        inside = ((x >= p0) & (x < p1))[..., None] if p1 < 1 else (x >= p0)[..., None]
        out = torch.where(inside, torch.tensor(c0) * (1 - a) + torch.tensor(c1) * a, out)
    return out


def mix(c, k, to=(0, 0, 0)):
    """A mixture as a tensor: k of colour c and 1 - k of `to`."""
    return torch.tensor([a * k + b * (1 - k) for a, b in zip(c, to)])


class Canvas:
    """What every scene uses: the grid x, y [1,H,W], the time t [T,1,1], two textures, random numbers."""

    def __init__(self, color, speed, density, drift, seed, frames, x, y):
        gen = torch.Generator().manual_seed(seed)
        self.rnd = lambda a=0., b=1.: a + (b - a) * torch.rand((), generator=gen).item()
        self.tex, self.tex2 = make_texture(gen), make_texture(gen)
        self.t = (torch.arange(frames) / FPS * SPEEDS[speed] + self.rnd(0, 60)).view(-1, 1, 1)
        self.x, self.y = x[None], y[None]
        self.frames, self.color, self.c = frames, color, COLORS[color]
        self.density, self.wind = density, dict(left=-1.0).get(drift, 0.0)

    def zeros(self, *tail):
        return torch.zeros(self.frames, *self.x.shape[1:], *tail)


def aurora(s):
    x, y, t, tex, tex2 = s.x, s.y, s.t, s.tex, s.tex2
    base = noise(tex, x * 1.1 + t * .12, t * .15 + 0 * x) * .35 - .05
    above = y - base + .15
    curtain = torch.exp(-above.clamp(min=0) * 7) * torch.exp(-(-above).clamp(min=0) * 1.9)
    stripes = .55 + .45 * noise(tex2, x * 4.5 + t * .35 + base * 3, t * .4 + 0 * x)
    shimmer = .75 + .4 * noise(tex, x * .9 - t * .2, y * .3 + t * .1)
    glow = (curtain * stripes.clamp(0, 1.4) * shimmer).clamp(0, 1.2)
    sky = torch.tensor((.015, .03, .09)) * (1 - .4 * y[..., None])
    other = "purple" if s.color in ("green", "teal", "blue") else "golden" if s.color == "red" else "blue"
    k = ((base - y) * .9).clamp(0, 1)[..., None]
    img = sky + glow[..., None] * (torch.tensor(s.c) * (1 - k * .7) + torch.tensor(COLORS[other]) * k * .7)
    ridge = .62 + .18 * noise(tex, x * 1.3 + 5, 0 * x + 9) + .06 * noise(tex2, x * 4, 0 * x + 2)
    mountains = torch.sigmoid((y - ridge) * 60)[..., None]
    return img * (1 - mountains) + mountains * torch.tensor((.01, .015, .03))


def fire(s):
    x, y, c = s.x, s.y, s.c
    v = y * 1.6 + s.t * 2.2
    n = fbm(s.tex, x * 2.0 + .35 * noise(s.tex2, x * 2, v * .8), v, 3)
    heat = (1 - (1 - y) * .62) + n * .55 - .18 * (x.abs() * .9) ** 2
    stops = [(0, (.01, .005, .01)), (.35, mix(c, .10)), (.6, mix(c, .85)), (.82, mix(c, .55, (1, .85, .45))),
             (1.001, (1., .97, .85))]
    return ramp((heat * .95).clamp(0, 1), [(p, tuple(float(a) for a in rgb)) for p, rgb in stops])


def ocean(s):
    x, y, t, c, horizon = s.x, s.y, s.t, s.c, -.08
    sun_x, sun_y = s.rnd(-.35, .35), s.rnd(-.5, -.25)  # one sun, never far from the middle
    d = ((x - sun_x) ** 2 + (y - sun_y) ** 2).sqrt()
    k = (y - horizon + .9).clamp(0, 1)[..., None]
    sky = mix(c, .25, (.05, .05, .16)) * (1 - k) + mix(c, .8, (.3, .2, .3)) * k
    sky = sky + (torch.exp(-d * 5) * .45 + torch.sigmoid((.15 - d) * 60) * .8)[..., None] * mix(c, .6, (1, .95, .8))
    depth = 1 / (y - horizon + .08).clamp(min=.03)
    w = fbm(s.tex, x * depth * .8 + t * .4, depth * 2.4 + t * .9, 2)
    w = w + .5 * noise(s.tex2, x * depth * 1.3 - t * .5, depth * 4 + t * 1.1)
    path = torch.exp(-((x - sun_x) * (1.6 - .6 * (y - horizon))) ** 2 * 6) * (.35 + .65 * torch.sigmoid(w * 6))
    sea = mix(c, .22, (.01, .05, .14)) * (1.15 - .3 * (y - horizon))[..., None]
    sea = sea + (torch.sigmoid(w * 5 - 1.2) * .22)[..., None] * mix(c, .6, (.4, .5, .6))
    sea = sea + (path * .75)[..., None] * mix(c, .8, (1, .9, .7))
    m = torch.sigmoid((y - horizon) * 90)[..., None]
    return sky * (1 - m) + sea * m


def lava(s):
    x, y, t, c = s.x, s.y, s.t, s.c
    field = 0
    for _ in range(s.density):
        phase, px, size = s.rnd(0, 6.28), s.rnd(-1.3, 1.3), s.rnd(.16, .34)
        cy = 1.05 * torch.sin(t * s.rnd(.25, .5) + phase)
        cx = px + .18 * torch.sin(t * .4 + phase * 2)
        field = field + size ** 2 / ((x - cx) ** 2 + (y - cy) ** 2 + .02)
    m = torch.sigmoid((field - .95) * 5)[..., None]
    shade = (field * .35).clamp(0, 1)[..., None]
    back = mix(c, .10, (.03, .01, .05)) * (1.2 + .5 * y[..., None])
    img = back * (1 - m) + m * (mix(c, .75) * (1 - shade) + mix(c, .45, (1, .9, .6)) * shade)
    return img + (torch.sigmoid((field - .5) * 3) * .16)[..., None] * torch.tensor(c)


def stars(s):
    """Star warp: streaks that fly out of the centre and grow. They are wide enough for a latent cell of 16 x 16 pixels."""
    x, y, t, c = s.x, s.y, s.t, s.c
    light = s.zeros()
    for i in range(s.density):
        angle, z0 = (i + s.rnd(0, 1)) * 2 * math.pi / s.density, s.rnd()
        z = 1 - ((z0 + t * .30) % 1)
        radius = .13 / z.clamp(min=.05)
        ux, uy = math.cos(angle), math.sin(angle)
        dx, dy = x - radius * ux * 1.3, y - radius * uy
        along, across = dx * ux + dy * uy, -dx * uy + dy * ux
        length, width = .03 + .22 * radius, .018 + .022 * radius
        light = light + torch.exp(-(along / length) ** 2 - (across / width) ** 2) * (1.08 - z).clamp(0, 1) ** .6 * 1.3
    glow = (torch.exp(-(x ** 2 + y ** 2) * 4) * .25)[..., None] * torch.tensor(c)
    return mix(c, .06, (.005, .005, .02)) + light.clamp(0, 1.3)[..., None] * mix(c, .65, (1, 1, 1)) + glow


def snow(s):
    x, y, t, c = s.x, s.y, s.t, s.c
    g = (y * .5 + .5)[..., None]
    img = mix(c, .22, (.03, .05, .12)) * (1 - g) + mix(c, .5, (.12, .14, .22)) * g + s.zeros(1)
    hill = .55 + .16 * noise(s.tex, x * .8 + 3, 0 * x + 4)
    m = torch.sigmoid((y - hill) * 50)[..., None]
    img = img * (1 - m) + m * mix(c, .35, (.62, .66, .74))
    flakes = s.zeros()
    for _ in range(s.density):
        px, size, fall, phase = s.rnd(-1.75, 1.75), s.rnd(.028, .060), s.rnd(.35, .8), s.rnd(0, 6.28)
        cy = ((s.rnd(0, 2.4) + t * fall) % 2.4) - 1.2
        cx = (px + 1.8 + s.wind * .5 * t) % 3.6 - 1.8 + .12 * torch.sin(t * .9 + phase)
        flakes = flakes + torch.exp(-((x - cx) ** 2 + (y - cy) ** 2) / size ** 2)
    return img + flakes.clamp(0, 1)[..., None] * torch.tensor((.85, .88, .95)) * .9


def clouds(s):
    x, y, t, tex, tex2 = s.x, s.y, s.t, s.tex, s.tex2
    n = fbm(tex, x * 1.3 + t * .35, y * 1.9 + .05 * t, 4, .55) + .35 * noise(tex2, x * .8 + t * .2, y + t * .05)
    m = torch.sigmoid((n + s.density) * 4.2)[..., None]
    g = (y * .5 + .5)[..., None]
    sky = mix(s.c, .75, (.02, .08, .3)) * (.55 + .4 * g)
    shade = (.78 + .3 * noise(tex, x * 1.3 + t * .35, y * 1.9 + .25 + .05 * t))[..., None].clamp(.4, 1.1)
    return sky * (1 - m) + m * shade * mix(s.c, .22, (.95, .94, .93))


def tunnel(s):
    """Neon rings that come out of a dark centre, crossed by a few turning spokes. The distance of rings is even in the
    logarithm of the radius, so each ring grows as it comes and none ever fills the picture."""
    x, y, t = s.x, s.y, s.t
    r = (x ** 2 + y ** 2 + .004).sqrt()
    theta = torch.atan2(y, x + .0001)
    twist, sides = s.rnd(-.6, .6), 4 + int(s.rnd(0, 3))
    depth = 1.05 * r.log() - t * .45  # a distance of 1 between rings
    ring = (.5 + .5 * torch.cos(depth * 2 * math.pi)) ** 2.5
    spoke = (.5 + .5 * torch.cos(theta * sides + r.log() * twist * 2 + t * .4)) ** 4
    light = (ring * (.75 + .35 * spoke) + spoke * .22) * ((r - .10) * 2.5).clamp(0, 1)
    names = list(COLORS)
    other = torch.tensor(COLORS[names[(names.index(s.color) + 3) % 8]])
    k = (.5 + .5 * torch.cos(depth * math.pi))[..., None] * .4
    return mix(s.c, .06) + light[..., None] * (torch.tensor(s.c) * (1 - k) + other * k)


DRAW = dict(aurora=aurora, fire=fire, ocean=ocean, lava=lava, stars=stars, snow=snow, clouds=clouds, tunnel=tunnel)


def render(scene, color, speed, density, drift, seed, frames):
    """RGB clip [frames,3,H,W] in 0..1; the same arguments give the same clip.

    Scenes of many soft dots are drawn at half size and enlarged, which is four times cheaper.
    """
    step = 2 if scene in ("stars", "snow") else 1
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


def sample_spec(rng=random):
    """(scene, colour, speed, density, drift) of the next clip."""
    names = list(SCENES)
    scene = rng.choices(names, [WEIGHTS.get(n, 1.0) for n in names])[0]
    density = rng.choice(["", "", "sparse", "dense"]) if scene in DENSITIES else ""
    return (scene, rng.choice(SCENES[scene][1]), rng.choice(["slow", "", "", "fast"]), density,
            rng.choice(DRIFTS.get(scene, [""])))
