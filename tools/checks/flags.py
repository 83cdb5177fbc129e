# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which flags a source or a header compiles with, out of a Meson build folder that need only be configured."""
import json
import os
import re
from pathlib import Path

ATEN = "engine/pch/aten.h"


def members(source):
    """The file itself, or what a file that Meson made of several (-Dunity=on) includes."""
    path = Path(source)
    if not re.search(r"-unity\d+\.\w+$", path.name) or not path.exists():
        return [str(path)]
    return re.findall(r'^#include *["<]([^">]+)[">]', path.read_text(encoding="utf-8"), re.M)


def sources(root, build):
    """Path below root -> flags, as the first target that compiles it has them, for every C and C++ source of the build."""
    found = {}
    targets = json.loads((Path(build) / "meson-info/intro-targets.json").read_text(encoding="utf-8"))
    for group in (g for t in targets for g in t["target_sources"] if g.get("language") in ("c", "cpp")):
        for key in ("sources", "generated_sources", "unity_sources"):
            for member in (m for s in group.get(key, []) for m in members(s)):
                path = Path(os.path.normpath(member))
                if path.is_relative_to(root) and not path.is_relative_to(build):
                    found.setdefault(str(path.relative_to(root)), group["parameters"])
    return found


def without_pch(flags):
    """The flags, less the header that the build includes everywhere for the sake of speed."""
    kept, rest = [], iter(flags)
    for flag in rest:
        if flag == "-include":
            next(rest)
        elif flag != "-Winvalid-pch":
            kept.append(flag)
    return kept


def candidates(path, known):
    """Sources of `known` whose flags header `path` may have, likeliest first: the source of its name, those of its folder, else
    those of the folder above, and so on; of those with the same flags the first."""
    same = str(Path(path).with_suffix(".cpp"))
    found = [same] if same in known else []
    for place in Path(path).parents:
        inside = sorted((s for s in known if Path(s).is_relative_to(place)), key=lambda s: (len(Path(s).parts), s))
        if inside:
            found += inside
            break
    distinct = {}
    for source in found:
        # A folder of its own for what Meson generates makes no difference here.
        distinct.setdefault(tuple(f for f in known[source] if not f.endswith(".p")), source)
    return list(distinct.values())
