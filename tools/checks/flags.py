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


def nearest(path, known):
    """A source of `known` that is likely to have the flags of header `path`: of the same name, of its folder or of one above."""
    folder = Path(path).parent
    same = str(Path(path).with_suffix(".cpp"))
    if same in known:
        return same
    for place in (folder, *folder.parents):
        inside = sorted(s for s in known if Path(s).is_relative_to(place))
        beside = [s for s in inside if Path(s).parent == place]
        if beside or inside:
            return (beside or inside)[0]
    return None
