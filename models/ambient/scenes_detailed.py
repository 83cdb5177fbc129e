# SPDX-License-Identifier: LGPL-2.1-or-later
"""Six scenes with more detail: aurora, clouds, rain on glass, galaxy, underwater light, ink in water.

Detail is at least as wide as half a latent cell of 16 x 16 pixels, about 0.05 in the units of x and y: what is finer does
not pass through the autoencoder.
"""
import math

import torch

from paint import COLORS, fbm, mix, near, noise


def aurora(s):
    """Two curtains of rays above two ranges of mountains, the farther one in the light of the sky."""
    x, y, t, tex, tex2 = s.x, s.y, s.t, s.tex, s.tex2
    other = torch.tensor(COLORS["purple" if s.color in ("green", "teal", "blue") else "golden" if s.color == "red" else "blue"])
    img = torch.tensor((.02, .035, .10)) * (1 - .35 * y[..., None]) + s.zeros(1)
    for tall, strength, shift, wave in ((1.7, .62, 0.0, 1.0), (2.6, .42, 11.0, .6)):
        foot = noise(tex, x * 1.0 + t * .12 + shift, t * .15 + shift + 0 * x) * .34 - .02 - .22 * (shift > 0)
        above = foot - y
        edge = torch.exp(-(-above).clamp(min=0) * 9) * torch.exp(-above.clamp(min=0) * tall)
        lean = x + .12 * above  # rays meet far above
        rays = noise(tex2, lean * 6.5 + t * .30 * wave + foot * 4, t * .35 + shift + .12 * above)
        broad = noise(tex2, lean * 1.7 + t * .12 + shift, t * .2 + 0 * x)
        light = edge * ((.58 + .62 * rays).clamp(.2, 1.4) * (.8 + .6 * broad).clamp(.3, 1.5)) * strength * 2.0
        k = (above * .95).clamp(0, 1)[..., None] ** 1.2
        img = img + light[..., None] * (torch.tensor(s.c) * (1 - k * .8) + other * k * .8)
    glow = (torch.exp(-((y - .42) * 2.6) ** 2) * (.75 + .4 * noise(tex, x * .7 + t * .1, t * .1 + 0 * x)))[..., None]
    img = img + glow * .16 * torch.tensor(s.c)
    for height, rough, dark, shift in ((.50, .20, mix(s.c, .10, (.035, .06, .12)), 5), (.72, .16, mix(s.c, .02, (.008, .012, .026)), 17)):
        ridge = height + rough * noise(tex, x * 1.2 + shift, 0 * x + 9) + .06 * noise(tex2, x * 3.6 + shift, 0 * x + 2)
        m = torch.sigmoid((y - ridge) * 55)[..., None]
        snow = torch.exp(-(y - ridge).clamp(min=0) * 14)[..., None] * (.10 if shift == 5 else .03)
        img = img * (1 - m) + m * (dark + snow * mix(s.c, .6, (.6, .7, .8)))
    return img


def clouds(s):
    """Heaps of cloud with a lit side, in front of thinner ones that move more slowly."""
    x, y, t, tex, tex2 = s.x, s.y, s.t, s.tex, s.tex2
    g = (y * .5 + .5)[..., None]
    img = mix(s.c, .75, (.02, .08, .3)) * (.42 + .55 * g)

    def heap(u, v, amount, gain):
        n = fbm(tex, u, v, 4, .52) + .3 * noise(tex2, u * .6, v * .8)
        return n + amount, torch.sigmoid((n + amount) * gain)

    far = fbm(tex2, x * 1.9 + t * .16 + 9, y * 3.4 + 4 + .02 * t, 3, .5)
    m = (torch.sigmoid((far + s.density * .6 - .05) * 7) * .55)[..., None]
    img = img * (1 - m) + m * mix(s.c, .45, (.85, .86, .9)) * (.62 + .25 * g)
    u, v = x * 1.15 + t * .34, y * 1.75 + .05 * t
    n, m = heap(u, v, s.density, 8.5)
    lit, _ = heap(u - .16, v - .30, s.density, 8.5)  # towards the light, above on the left
    side = ((n - lit) * 1.5).clamp(-.5, .5)
    shade = (.74 + .75 * side - .16 * (n.clamp(0, 1.2)))[..., None].clamp(.26, 1.12)
    white, under = mix(s.c, .16, (1.0, .97, .93)), mix(s.c, .45, (.32, .33, .42))
    k = ((shade - .26) / .8).clamp(0, 1)
    return img * (1 - m[..., None]) + m[..., None] * shade * (under * (1 - k) + white * k)


def rain(s):
    """Lights of a city out of focus and their reflections on a wet street, behind a pane with standing and running drops.
    A drop is a small lens: it shows the lights around it blurred and upside down, so it is bright below and dark above."""
    x, y, t = s.x, s.y, s.t
    kinds = [mix(s.c, .95), mix(s.c, .95), mix(near(s.color), .8, s.c), mix(s.c, .45, (1, .85, .6)), mix(near(s.color, -1), .75, s.c)]
    img = mix(s.c, .10, (.012, .014, .03)) + (torch.exp(-((y - .12) * 1.5) ** 2) * .16)[..., None] * mix(s.c, .75, (.4, .35, .45))
    img, blur = img + s.zeros(1), img * .6 + s.zeros(1)
    for i in range(16):
        px, py, r = s.rnd(-1.75, 1.75), s.rnd(-.75, .38), s.rnd(.11, .23)
        going, pulse, phase, power = s.rnd(-.06, .06) * (i % 2), s.rnd(.3, .9), s.rnd(0, 6.28), s.rnd(.35, .95)
        cx = (px + going * t + 2.05) % 4.1 - 2.05
        d2 = ((x - cx) ** 2 + (y - py) ** 2) / r ** 2
        power = power * (.8 + .2 * torch.sin(t * pulse + phase))
        disc = torch.sigmoid((1 - d2) * r * 32) * (.74 + .26 * d2.clamp(0, 1) ** 2)
        street = torch.exp(-((x - cx + .04 * torch.sin(y * 9 + t * 1.3 + i)) / (r * .6)) ** 2) * torch.sigmoid((y - .55) * 14)
        street = street * torch.exp(-(y - .55).clamp(min=0) * 2.2) * .38
        img = img + ((disc + street) * power)[..., None] * kinds[i % 5]
        blur = blur + (torch.exp(-d2 * .22) * power * .85)[..., None] * kinds[i % 5]
    mask, lower = s.zeros(), s.zeros()

    def drop(px, py, r, stretch=1.0):
        nonlocal mask, lower
        dx, dy = (x - px) / r, (y - py) / (r * stretch)
        m = torch.sigmoid((1 - (dx ** 2 + dy ** 2)) * 3.2)
        mask, lower = torch.maximum(mask, m), lower + m * dy.clamp(-1.2, 1.2)

    for _ in range(max(2, s.density // 5)):
        px, r, fall, phase = s.rnd(-1.7, 1.7), s.rnd(.075, .105), s.rnd(.16, .34), s.rnd(0, 6.28)
        py = (s.rnd(0, 4.0) + fall * (t + .8 * torch.sin(t * 1.1 + phase))) % 4.0 - 1.4  # it waits, then runs
        drop(px + .03 * torch.sin(py * 5 + phase), py, r, 1.3)
        up, off = (py - y).clamp(min=0), (x - px - .03 * torch.sin(y * 5 + phase)) / (r * .6)
        trail = torch.exp(-off ** 2 - up * 2.4) * torch.sigmoid((py - y - .02) * 24)
        mask, lower = torch.maximum(mask, trail * .5), lower + trail * off * .25
    for _ in range(s.density):
        drop(s.rnd(-1.75, 1.75), s.rnd(-1.0, 1.0), s.rnd(.05, .095))
    lens = blur.flip(1) * .35 + blur * .75 + .05 * mix(s.c, .5, (.8, .85, 1))
    lens = lens * (.72 + .85 * lower)[..., None].clamp(.12, 1.9)
    return img * (1 - mask[..., None]) + lens * mask[..., None]


def galaxy(s):
    """A spiral galaxy, tilted, that turns slowly: core, arms of clouds and dust, clusters of stars."""
    x, y, t = s.x, s.y, s.t
    tilt, turn, squeeze = s.rnd(-.5, .5), t * .16 + s.rnd(0, 6.28), s.rnd(1.45, 2.0)
    cx, cy, size = s.rnd(-.25, .25), s.rnd(-.12, .12), s.rnd(.95, 1.25)
    a = (x - cx) * math.cos(tilt) + (y - cy) * math.sin(tilt)
    b = (-(x - cx) * math.sin(tilt) + (y - cy) * math.cos(tilt)) * squeeze
    r = ((a ** 2 + b ** 2 + .002).sqrt()) / size
    theta = torch.atan2(b, a + .0001) - turn
    p, q = r * torch.cos(theta), r * torch.sin(theta)  # turns with the galaxy
    cloud = fbm(s.tex, p * 3.1 + 7, q * 3.1 + 5, 3, .6)
    wind = 2 * (theta + 2.5 * (r + .06).log() + .55 * cloud)
    arm = .5 + .5 * torch.cos(wind)
    dust = torch.sigmoid((torch.cos(wind - 1.0) - .45 + .7 * cloud) * 4)
    disc = torch.exp(-r * 1.9) * (1 - torch.exp(-r * 9))
    light = disc * (arm ** 1.6 * (1.5 + 1.1 * cloud).clamp(.2) + .22) * 1.7 * (1 - .55 * dust * torch.exp(-((r - .4) * 2.4) ** 2))
    core = torch.exp(-(r * 4.6) ** 1.4)
    outer = torch.tensor(near(s.color))
    k = (r * .95 - .1).clamp(0, 1)[..., None] * .55
    img = mix(s.c, .05, (.006, .007, .018)) + light[..., None] * (torch.tensor(s.c) * (1 - k) + outer * k)
    veil = (noise(s.tex2, x * .8 + 3 + t * .01, y * .8 + 0 * t) * .5 + .5).clamp(0, 1)
    img = img + (veil * .055)[..., None] * mix(s.c, .6, outer.tolist())
    img = img + core[..., None] * mix(s.c, .32, (1, .92, .78)) * 1.25
    points = s.zeros()
    for i in range(24):
        angle, far, width, phase = s.rnd(0, 6.28), s.rnd(.12, .95), s.rnd(.027, .040), s.rnd(0, 6.28)
        far_angle = angle + turn
        pa, pb = far * size * torch.cos(far_angle), far * size * torch.sin(far_angle)
        points = points + torch.exp(-((a - pa) ** 2 + ((b - pb) / squeeze) ** 2) / width ** 2) * (.55 + .25 * torch.sin(t * .8 + phase))
    for i in range(16):  # stars in front, which stand still
        px, py, width, phase = s.rnd(-1.75, 1.75), s.rnd(-1, 1), s.rnd(.026, .042), s.rnd(0, 6.28)
        points = points + torch.exp(-((x - px) ** 2 + (y - py) ** 2) / width ** 2) * (.6 + .3 * torch.sin(t * 1.1 + phase))
    return img + points.clamp(0, 1.1)[..., None] * mix(s.c, .4, (1, .97, .92))


def underwater(s):
    """Rays that fall from a moving surface through haze on a floor with a net of light."""
    x, y, t, c = s.x, s.y, s.t, s.c
    deep = (y * .5 + .5).clamp(0, 1)
    img = (mix(c, .80, (.05, .20, .30)) * .62) * (1 - deep)[..., None] ** 1.4 + mix(c, .16, (.0, .03, .08)) * .9
    sun = s.rnd(-.5, .5)
    lean = (x - sun) / (y + 2.1)  # rays meet above the picture
    beam = noise(s.tex, lean * 7.5 + t * .14, t * .32 + 0 * x) + .6 * noise(s.tex2, lean * 15 - t * .2, t * .42 + 0 * x)
    beam = torch.sigmoid((beam - .12) * 4.2) * (1.05 - deep) ** 1.15 * torch.exp(-(lean * 1.3) ** 2)
    img = img + beam[..., None] * mix(c, .62, (.55, .75, .8)) * .78

    def net(u, v):
        """Bright lines where two moving patterns of waves meet."""
        wu, wv = .45 * noise(s.tex, u * .8 + t * .22, v * .8), .45 * noise(s.tex2, u * .8, v * .8 - t * .25)
        n = noise(s.tex, u + wv + t * .18, v + wu - t * .12) + noise(s.tex2, u - wu - t * .15, v + wv + t * .2)
        return torch.exp(-n.abs() * 2.9)

    top = torch.sigmoid((-.70 - y + .05 * noise(s.tex, x * 1.6 + t * .4, t * .5 + 0 * x)) * 16)
    high = 1 / (-y - .38).clamp(min=.16)
    surface = net(x * high * .42, high * 1.1) * top * ((-y - .62) * 3.5).clamp(0, 1)
    img = img + surface[..., None] * mix(c, .5, (.8, .95, 1)) * .75 + top[..., None] * mix(c, .7, (.4, .6, .6)) * .22
    ground = .50 + .10 * noise(s.tex2, x * .9 + 4, 0 * x + 3) + .04 * noise(s.tex, x * 2.4, 0 * x + 6)
    floor = torch.sigmoid((y - ground) * 26)
    depth = 1 / (y - ground + .36).clamp(min=.2)
    light = net(x * depth * .70 + 3, depth * 1.9 + 6) * ((y - ground) * 3.2).clamp(0, 1) * torch.exp(-((x - sun) * .62) ** 2)
    sand = (.10 + .07 * noise(s.tex2, x * depth * 1.2, depth * 3 + 2))[..., None] * mix(c, .55, (.55, .60, .55)) * 1.3
    floor = floor[..., None]
    img = img * (1 - floor) + floor * (img * .35 + sand + light[..., None] * mix(c, .55, (.75, .95, .9)) * .85)
    dots = s.zeros()
    for _ in range(12):
        px, size, rise, phase = s.rnd(-1.75, 1.75), s.rnd(.030, .048), s.rnd(.05, .16), s.rnd(0, 6.28)
        py = 1.2 - (s.rnd(0, 2.4) + t * rise) % 2.4
        dots = dots + torch.exp(-((x - px - .05 * torch.sin(t * .7 + phase)) ** 2 + (y - py) ** 2) / size ** 2)
    return img + dots.clamp(0, 1)[..., None] * mix(c, .5, (.8, .95, 1)) * .38


def ink(s):
    """Two inks that billow in dark water. The field bends the place where it is looked up, which draws the curls."""
    x, y, t, c = s.x, s.y, s.t, s.c
    u, v = x * .95 + 3, y * .95 - t * .10 + 2
    a, b = fbm(s.tex, u + t * .05, v + t * .07, 2), fbm(s.tex2, u + 5 - t * .06, v + 1 + t * .04, 2)
    p, q = u + 1.15 * a, v + 1.15 * b
    n = fbm(s.tex2, p + .35 * b + t * .03, q + 1.0, 3, .55)
    lit = fbm(s.tex2, p + .35 * b + t * .03 - .10, q + 1.0 - .16, 3, .55)
    body = torch.sigmoid((n + .18) * 7.5)
    fold = torch.exp(-((n + .12) * 6.5) ** 2)  # the rim is thin, so it is brighter
    side = ((n - lit) * 2.4).clamp(-.6, .6)
    k = torch.sigmoid((a - b) * 3.2)[..., None]
    tint = torch.tensor(c) * (1 - k) + torch.tensor(near(s.color)) * k
    light = (body * (.50 + .55 * side + .38 * n.clamp(0, 1)) + fold * .30).clamp(0, 1.3)[..., None]
    back = mix(c, .07, (.006, .010, .028)) * (1.25 - .5 * y[..., None])
    spark = (fold * side.clamp(0, 1))[..., None] * mix(c, .3, (1, 1, 1)) * .55
    return back + light * tint + spark
