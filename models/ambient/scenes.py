# SPDX-License-Identifier: LGPL-2.1-or-later
"""Six scenes that are smooth functions of pixel and time. Each takes a Canvas and returns light [T,H,W,3]."""
import math

import torch

from paint import COLORS, fbm, mix, noise, ramp


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
