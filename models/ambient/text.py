# SPDX-License-Identifier: LGPL-2.1-or-later
"""Prompts as words of a small fixed vocabulary, in any order. The engine's tokenizer does the same.

A prompt is lower-cased and split into runs of letters, of any script, and runs of digits. For each word, in this order:
  1. a word of the vocabulary is taken;
  2. a word of SYNONYMS becomes the words it stands for, which may be none;
  3. a word of 4 letters or more that is one edit (insert, delete, replace a letter) away from exactly
     one word of the vocabulary becomes that word;
  4. anything else is unknown and dropped.
At most MAX_IDS ids remain, padded with 0. The table of vectors depends on the order of WORDS: append only.
"""
import re

from paint import COLORS, SPEEDS
from render import SCENES

MAX_IDS = 12
EXTRA = ["a", "in", "at", "night", "calm", "moving", "gently"]
FIRST = ["aurora", "fire", "ocean", "lava", "stars", "snow", "clouds", "tunnel"]  # scenes of the first training
LATER = ["left", "right", "sparse", "dense",  # words that were added after the first training, in this order
         "rain", "rainy", "window", "glass", "bokeh", "galaxy", "spiral", "nebula", "milky", "underwater", "caustics", "ink",
         "smoke"]
WORDS = ["<pad>"] + sorted({w for scene in FIRST for n in SCENES[scene][0] for w in n.split()}
                           | set(COLORS) | {w for w in SPEEDS if w} | set(EXTRA)) + LATER
IDS = {w: i for i, w in enumerate(WORDS)}

_GROUPS = {  # meaning -> words that people use for it
    "aurora": "auroras borealis australis polarlight curtains",
    "northern": "north nordic", "lights": "light", "polar": "arctic antarctic",
    "fire": "fires flaming burning burn blaze blazing inferno ember embers campfire fireplace hearth candle",
    "flames": "flame", "bonfire": "bonfires",
    "ocean": "oceans seaside beach horizon coast pacific atlantic water lake", "sea": "seas seascape",
    "waves": "wave surf tide ripples",
    "golden ocean": "sunset sunrise sundown dusk dawn",
    "lava": "magma molten volcano volcanic wax", "lamp": "lamps", "blobs": "blob bubble bubbles metaballs goo",
    "stars": "star starry space constellation",
    "starfield": "starfields", "hyperspace": "warp warpspeed lightspeed wormhole",
    "snow": "snowy snowing winter blizzard", "snowfall": "snowstorm flurries", "snowflakes": "snowflake flakes flake",
    "clouds": "cloud cloudscape mist fog haze", "cloudy": "overcast", "sky": "skies heaven heavens",
    "drifting": "drift drifts floating",
    "tunnel": "tunnels tube corridor cyberpunk", "vortex": "vortices whirl swirl portal", "neon": "glowing synthwave",
    "rain": "rains raining rainfall raindrop raindrops drizzle rainstorm storm downpour drops droplets",
    "window": "windows windowpane pane", "bokeh": "city street traffic",
    "galaxy": "galaxies galactic cosmos cosmic universe interstellar andromeda", "spiral": "spirals", "nebula": "nebulae nebulas",
    "milky": "milkyway",
    "underwater": "undersea submarine aquarium reef coral diving seabed abyss", "caustics": "caustic pool pools",
    "ink": "inks inky plasma paint dye fluid", "smoke": "smoky smokes fumes vapor vapour incense",
    "red": "crimson scarlet ruby reddish", "orange": "amber tangerine copper", "golden": "gold yellow honey warm",
    "green": "emerald lime jade greenish", "teal": "turquoise cyan aqua aquamarine mint",
    "blue": "azure navy cobalt sapphire indigo bluish cold icy",
    "purple": "violet magenta lilac lavender", "pink": "rose rosy salmon fuchsia", "white": "silver grey gray pale ivory",
    "slow": "slowly lazy sluggish unhurried", "fast": "quick quickly rapid rapidly speedy racing rushing swift",
    "left": "leftward leftwards westward", "right": "rightward rightwards eastward",
    "sparse": "few scattered thin single isolated", "dense": "many heavy thick crowded packed full",
    "calm": "peaceful quiet serene tranquil still relaxing", "gently": "gentle softly soft",
    "": "over under with the and of on by an some above across behind through into from very mountains mountain hills "
        "scene view video to toward towards side under deep way swirling swirls rays grass grain train",  # known words without effect
    "moving": "flowing dancing", "night": "nights nighttime midnight evening dark",
}
SYNONYMS = {word: target for target, words in _GROUPS.items() for word in words.split()}


def one_edit_apart(a, b):
    """True if one inserted, deleted or replaced letter turns a into b."""
    if abs(len(a) - len(b)) > 1 or a == b:
        return False
    if len(a) > len(b):
        a, b = b, a
    i = 0
    while i < len(a) and a[i] == b[i]:
        i += 1
    return a[i + 1:] == b[i + 1:] if len(a) == len(b) else a[i:] == b[i + 1:]


def words_of(prompt):
    """(words of the vocabulary that the prompt stands for, unknown words)."""
    known, unknown = [], []
    for word in (w.lower() for w in re.findall(r"[^\W\d_]+|\d+", prompt)):
        near = [w for w in WORDS[1:] if one_edit_apart(word, w)] if len(word) >= 4 else []
        if word in IDS:
            known.append(word)
        elif word in SYNONYMS:
            known += SYNONYMS[word].split()
        elif len(near) == 1:
            known += near
        elif word not in unknown:
            unknown.append(word)
    return known, unknown


def encode(prompt):
    """MAX_IDS ids, 0 = padding."""
    ids = [IDS[w] for w in words_of(prompt)[0]][:MAX_IDS]
    return ids + [0] * (MAX_IDS - len(ids))
