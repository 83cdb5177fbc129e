#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""From a download to frames by one command, for every row of models/README.md: `flowcache generate` on each of the folders
that miniatures.py writes gives the frames of the same numbers in the plain layout. And `flowcache inspect random:` for every
template. Prints TAP.

tests/checkpoints/downloads_test.py FLOWCACHE"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor

import miniatures

AT_ONCE = 2  # rows, each of which keeps one core busy
done = failed = 0
printing = threading.Lock()


def report(passed, name, why=""):
    global done, failed
    with printing:
        done += 1
        failed += not passed
        print(f"{'ok' if passed else 'not ok'} {done} - {name}")
        if not passed:
            print("".join(f"# {line}\n" for line in why.strip().splitlines()[-20:]), end="", flush=True)


class Command:
    def __init__(self, program):
        self.program = program

    def __call__(self, *arguments):
        return subprocess.run([self.program, *map(str, arguments)], capture_output=True, text=True, check=False)

    def frames(self, model, out, row, *more):
        size = ["--size", row.size] if row.size else []
        return self("generate", "a red fox in snow", "-m", model, "-o", out, "-s", row.seconds, "--seed", 3, "--precision",
                    "fp32", "--threads", 1, *size, *row.more, *more)


def is_a_picture(video):
    """Whether the last frame of a Y4M file is more than one colour."""
    return len(set(video[-2000:])) > 3


def check_row(flowcache, folder, row, seen):
    given, plain = folder / row.folder, folder / "plain" / row.folder
    videos = []
    for model, more in ((given, ["--as", row.as_name] if row.as_name else []), (plain, [])):
        out = folder / f"{row.folder}.y4m"
        run = flowcache.frames(model, out, row, *more)
        if run.returncode != 0:
            return report(False, f"{row.folder}: frames of {model}", run.stderr)
        if model == given and not re.search(rf"is taken for {re.escape(row.name)}, (by its|as you)", run.stderr):
            return report(False, f"{row.folder} is taken for {row.name}", run.stderr)
        videos.append(out.read_bytes())
    if not is_a_picture(videos[0]):
        return report(False, f"{row.folder}: frames that show something")
    seen.setdefault(videos[0], row.folder)
    report(videos[0] == videos[1], f"{row.folder}: a download of {row.name} gives the frames of the plain layout",
           "the videos differ")


def check_refusals(flowcache, folder, row):
    """What is a guess or not complete is not played, and nothing is written."""
    def refused(name, model, pattern, *more):
        run = flowcache.frames(model, folder / "none.y4m", row, *more)
        report(run.returncode != 0 and re.search(pattern, run.stderr) and not (model / "model.json").exists() and
               not (folder / "none.y4m").exists(), name, f"wanted {pattern}\n{run.stderr}")

    unnamed = folder / "unnamed"
    shutil.copytree(folder / row.folder, unnamed)
    (unnamed / "model.json").unlink(missing_ok=True)
    (unnamed / "checkpoints/self_forcing_dmd.pt").rename(unnamed / "checkpoints/x.pt")
    refused("a model that nothing tells is not played", unnamed, r"would be a guess: .*--as self-forcing-1.3b")
    refused("nor one that is no template", unnamed, "there is no template \"nothing\"", "--as", "nothing")
    run = flowcache.frames(unnamed, folder / "named.y4m", row, "--as", "causal-forcing-1.3b")
    report(run.returncode == 0 and "is taken for causal-forcing-1.3b, as you say" in run.stderr, "but --as says it",
           run.stderr)
    run = flowcache.frames(unnamed, folder / "none.y4m", row, "--as", "causvid-1.3b")
    report(run.returncode != 0 and "adopt --replace --as causvid-1.3b" in run.stderr, "and only once", run.stderr)
    (unnamed / "model.json").unlink(missing_ok=True)
    (unnamed / "Wan2.1_VAE.pth").unlink()
    refused("a part that is missing is named with its source", unnamed,
            r"files are missing: Wan2.1_VAE.pth \(from Wan-AI/Wan2.1-T2V-1.3B\)", "--as", "self-forcing-1.3b")
    empty = folder / "empty"
    empty.mkdir()
    refused("a folder without weights is none", empty, "no file of weights was found")


def check_prefix(flowcache, folder, rows):
    """Frames to go on from, through Wan 2.2's encoder in diffusers' names."""
    row = next(row for row in rows if row.folder == "LongLive-2.0-5B-diffusers")
    frames = folder / "frames"
    frames.mkdir()
    whole_chunk = row._replace(seconds=28.9 / 24)  # 29 frames, which are 8 of the latent
    run = flowcache.frames(folder / "plain" / row.folder, frames / "%04d.png", whole_chunk)
    report(run.returncode == 0 and len(list(frames.iterdir())) == 29, "29 frames to go on from", run.stderr)
    videos = []
    for model, more in ((folder / row.folder, ["--prefix", frames]), (folder / "plain" / row.folder, ["--prefix", frames]),
                        (folder / row.folder, [])):
        run = flowcache.frames(model, folder / "prefix.y4m", row, *more)
        videos.append((folder / "prefix.y4m").read_bytes() if run.returncode == 0 else run.stderr)
    report(isinstance(videos[0], bytes) and videos[0] == videos[1] and videos[0] != videos[2],
           "a download goes on from frames through Wan 2.2's VAE", str(videos)[-2000:])


HF = """#!/bin/sh -e
# Stands in for Hugging Face's command: hf download REPOSITORY FILE... --local-dir FOLDER
[ "$1" = download ] && shift 2
while [ "$1" != --local-dir ]; do files="$files $1"; shift; done
for file in $files; do mkdir -p "$(dirname "$2/$file")"; cp "$MINIATURE/$file" "$2/$file"; done
"""


def check_page(flowcache, folder, row, page, pattern):
    """The lines of a page, as they stand there."""
    lines = [line.strip() for line in re.search(pattern, (miniatures.ROOT / page).read_text(), re.S)[1].strip().splitlines()]
    report(len(lines) == 5, f"{page}: a checkpoint of one's own in five lines", "\n".join(lines))
    work = folder / page.replace("/", "-")
    for place in (work / "bin/flowcache", work / "build/engine/cli/flowcache"):
        place.parent.mkdir(parents=True)
        place.symlink_to(pathlib.Path(flowcache.program).resolve())
    (work / "bin/hf").write_text(HF)
    (work / "bin/hf").chmod(0o755)
    surroundings = {**os.environ, "PATH": f"{work / 'bin'}:{os.environ['PATH']}", "MINIATURE": str(folder / row.folder)}
    for line in lines:
        if line.startswith("gst-launch"):
            continue
        short = " -s 0.5 --size 256x256 --threads 1" if " generate " in line else ""
        run = subprocess.run(["bash", "-c", line + short], cwd=work, env=surroundings, capture_output=True, text=True, check=False)
        report(run.returncode == 0, f"{page}: {line.split('  ')[0]}", run.stdout + run.stderr)


def check_templates(flowcache):
    for template in sorted(miniatures.TEMPLATES.glob("*.json")):
        run = flowcache("inspect", f"random:{template}", "--device", "gpu")
        wanted = [rf"^{re.escape(template.stem)} \(", r"memory needed +[1-9][0-9.,]* [MG]B on gpu", r"transformer +[1-9]",
                  r"text encoder +[1-9]", r"decoder +[1-9]", r"KV budget of history +[1-9]", r"licence +\w"]
        lacking = [one for one in wanted if not re.search(one, run.stdout, re.M)]
        report(run.returncode == 0 and not lacking, f"inspect random:{template.name}", f"lacks {lacking}\n{run.stdout}{run.stderr}")


def check_wrong_template(flowcache, folder):
    template = miniatures.TEMPLATES / "self-forcing-1.3b.json"
    wrong = folder / "wrong.json"
    for name, old, new, says in [("a decoder of other latents", '"z_dim": 16', '"z_dim": 48', "decoder.config.z_dim"),
                                 ("a decoder that is none", '"wan_vae"', '"wan_vea"', "wan_vae"),
                                 ("a width that its heads do not divide", '"num_heads": 12', '"num_heads": 13', "num_heads|heads")]:
        text = template.read_text()
        assert old in text
        wrong.write_text(text.replace(old, new))
        run = flowcache("inspect", f"random:{wrong}", "--device", "gpu")
        report(run.returncode != 0 and re.search(says, run.stderr), f"inspect refuses {name}", run.stdout + run.stderr)


def main(program):
    flowcache = Command(program)
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        rows = miniatures.write(folder)
        names = {row.name for row in rows}
        lacking = [one.stem for one in miniatures.TEMPLATES.glob("*.json") if one.stem not in names]
        report(not lacking, "every template has a miniature", f"none of {lacking}")
        seen = {}
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda row: check_row(flowcache, folder, row, seen), rows))
        # Different decoders and networks do not show the same.
        report(len(seen) >= 10, "the miniatures show different things", str(seen.values()))
        check_refusals(flowcache, folder, rows[0])
        check_prefix(flowcache, folder, rows)
        check_page(flowcache, folder, rows[0], "README.md", r"## Bring your own checkpoint\n\n```\n(.*?)```")
        check_page(flowcache, folder, rows[0], "models/README.md", r"## Bring your own checkpoint\n\n(.*?)\n\n")
        check_templates(flowcache)
        check_wrong_template(flowcache, folder)
    print(f"1..{done}")
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
