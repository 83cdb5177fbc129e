# SPDX-License-Identifier: LGPL-2.1-or-later
"""Puts what has to be carried to a card into one folder."""
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib

LIMIT = 20_000_000  # bytes
ARCHIVE = "kit.tar.gz"
PROGRAMS = ["engine/cli/flowcache", "tests/device_kit/device-kit", "tests/golden-runner/golden-runner"]
LIBRARIES = ["engine/libflowcache.so.0"]
IF_BUILT = ["engine/libflowcache-sentencepiece.so", "kernels/libflowcache-kernels-cuda.so",
            "engine/graphs/libflowcache-graphs-cuda.so", "gst-plugin/libgstflowcache.so"]
AMBIENT = ["model.json", "transformer.safetensors", "decoder.safetensors", "text.safetensors", "pca.safetensors"]
TEMPLATES = ["self-forcing-1.3b", "skyreels-v2-df-1.3b-540p", "magi-1-4.5b-distill"]
FIRST_GOLDENS = ["wan-causal-kv", "magi-dit-window-24b", "taehv-decode-stream", "skyreels-df-transformer"]
# Of the system that they are carried to, or of LibTorch and what it needs of NVIDIA's, which a machine may have by itself.
NOT_CARRIED = re.compile(r"lib(torch|c10|cuda|cupti|cublas|cudnn|cufft|cufile|curand|cusolver|cusparse|nccl|nvJitLink|nvrtc|nvshmem|"
                         r"nvToolsExt|nvidia|gomp|stdc\+\+|gcc_s|flowcache|gst|glib|gobject|gmodule|gio|(c|m|mvec|dl|pthread|rt|util)\.so)"
                         r"|ld-linux")


def strip(source, target):
    shutil.copyfile(source, target)
    target.chmod(0o755)
    subprocess.run(["strip", "--strip-unneeded", str(target)], check=False, stderr=subprocess.DEVNULL)


def needed_libraries(files):
    """Small libraries of this system that a bare one may lack."""
    found = {}
    for file in files:
        listed = subprocess.run(["ldd", str(file)], capture_output=True, text=True, check=False).stdout
        for name, path in re.findall(r"^\s*(\S+) => (/\S+)", listed, re.MULTILINE):
            if not NOT_CARRIED.match(name):
                found[name] = pathlib.Path(path).resolve()
    return found


def torch_version(torch):
    """Of the folder torch/ of a wheel: "2.11.0+cu130"; "" if it does not say."""
    file = torch / "version.py"
    found = re.search(r"__version__ = '([^']*)'", file.read_text(encoding="utf-8")) if file.exists() else None
    return found.group(1) if found else ""


def manifest(root, build):
    """Of what the programs were made: the LibTorch that they are linked with must be there, too."""
    linked = subprocess.run(["ldd", str(build / LIBRARIES[0])], capture_output=True, text=True, check=False).stdout
    found = re.search(r"libtorch_cpu\.so => (\S+)", linked)
    revision = subprocess.run(["git", "-C", str(root), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return {"revision": revision.stdout.strip() or "unknown",
            "libtorch": torch_version(pathlib.Path(found.group(1)).parents[1]) if found else ""}


def packed_size(folder):
    """Bytes of its files when each is compressed: a little more than they take in an archive."""
    return sum(len(zlib.compress(file.read_bytes(), 6)) for file in folder.rglob("*") if file.is_file())


def lay_out(folder, root, build):
    """What is carried, as kit.py wants to find it. Returns the golden cases for which there was no room: one of each network
    comes first, then the smaller ones. Inside a checkout all are there (Kit.goldens)."""
    for part in ("bin", "lib", "models/ambient", "models/templates", "golden"):
        (folder / part).mkdir(parents=True)
    carried = PROGRAMS + LIBRARIES + [name for name in IF_BUILT if (build / name).exists()]
    for name in carried:
        strip(build / name, folder / ("bin" if name in PROGRAMS else "lib") / pathlib.Path(name).name)
    ours = [name for name in carried if not name.startswith("gst-plugin")]  # where GStreamer is, its libraries are
    for name, path in needed_libraries([build / name for name in ours]).items():
        strip(path, folder / "lib" / name)
    for name in AMBIENT:
        shutil.copyfile(root / "models/ambient" / name, folder / "models/ambient" / name)
    for name in TEMPLATES:
        shutil.copyfile(root / f"models/templates/{name}.json", folder / f"models/templates/{name}.json")
    for name in ("bf16_bounds.json", "fp8_bounds.json"):
        shutil.copyfile(root / "tests/golden-runner" / name, folder / "golden" / name)
    (folder / "manifest.json").write_text(json.dumps(manifest(root, build)), encoding="utf-8")
    left_out, used = [], packed_size(folder)
    cases = {one: packed_size(one) for one in (root / "tests/golden").iterdir() if (one / "case.json").exists()}
    for case in sorted(cases, key=lambda one: (one.name not in FIRST_GOLDENS, cases[one], one.name)):
        if used + cases[case] > LIMIT - 500_000:
            left_out.append(case.name)
        else:
            shutil.copytree(case, folder / "golden" / case.name)
            used += cases[case]
    return left_out


def missing_parts(build):
    missing = [name for name in PROGRAMS + LIBRARIES if not (build / name).exists()]
    if missing:
        print(f"error: not built in {build}: {', '.join(missing)}; run ninja -C {build} {' '.join(missing)}", file=sys.stderr)
    return missing


def prepare(folder, build):
    root = pathlib.Path(__file__).resolve().parents[2]
    if missing_parts(build):
        return 1
    archive = folder / ARCHIVE
    if folder.exists() and any(folder.iterdir()) and not archive.exists():
        print(f"error: {folder} is not empty and no prepared folder: name another", file=sys.stderr)
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "tools").mkdir(parents=True)
    with tempfile.TemporaryDirectory() as parts:
        left_out = lay_out(pathlib.Path(parts) / "kit", root, build)
        with tarfile.open(archive, "w:gz", compresslevel=6) as packed:
            packed.add(pathlib.Path(parts) / "kit", "kit")
    shutil.copyfile(root / "tools/device_kit.sh", folder / "tools/device_kit.sh")
    (folder / "tools/device_kit.sh").chmod(0o755)
    shutil.copytree(root / "tools/device_kit", folder / "tools/device_kit", ignore=shutil.ignore_patterns("__pycache__"))
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{folder}: {size / 1e6:.1f} MB to carry; golden cases left out for their size: {' '.join(left_out) or 'none'}")
    if size > LIMIT:
        print(f"error: that is more than {LIMIT / 1e6:.0f} MB: build with -Dbuildtype=release", file=sys.stderr)
        return 1
    return 0


def unpack(folder, to):
    """Returns the folder of what was carried in `folder`."""
    with tarfile.open(folder / ARCHIVE) as packed:
        packed.extractall(to, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return pathlib.Path(to) / "kit"
