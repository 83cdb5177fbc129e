# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the scenes are painted with: colours, smooth noise, and the canvas of a clip."""
import torch
import torch.nn.functional as F

FPS = 16
COLORS = {  # colour word -> RGB, linear-ish, 0..1
    "red": (1.0, .12, .08), "orange": (1.0, .48, .08), "golden": (1.0, .78, .25),
    "green": (.12, .95, .35), "teal": (.08, .85, .80), "blue": (.12, .35, 1.0),
    "purple": (.60, .18, 1.0), "pink": (1.0, .35, .70), "white": (.92, .95, 1.0)}
# The second colour of a scene that has two: a neighbour that goes with the first, and one on the other side.
NEAR = {"red": ("orange", "pink"), "orange": ("golden", "red"), "golden": ("orange", "pink"), "green": ("teal", "golden"),
        "teal": ("blue", "green"), "blue": ("purple", "teal"), "purple": ("pink", "blue"), "pink": ("purple", "orange"),
        "white": ("blue", "golden")}
SPEEDS = {"slow": .5, "": 1.0, "fast": 2.0}


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


def near(color, side=1):
    """RGB of a colour that goes with this one."""
    return COLORS[NEAR[color][side < 0]]


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
