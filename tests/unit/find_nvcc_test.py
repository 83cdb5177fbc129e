#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""kernels/find_nvcc.py with compilers that are missing, of another version, or refuse the host's compiler."""
import contextlib
import importlib.util
import io
import os
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "kernels/find_nvcc.py"
SPEC = importlib.util.spec_from_file_location("find_nvcc", SCRIPT)
find_nvcc = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(find_nvcc)

NVCC = """#!/bin/sh
case "$*" in
  --version) echo "Cuda compilation tools, release {version}, V{version}.1" ;;
  --list-gpu-arch) printf '{architectures}' ;;
  *) {compiling} ;;
esac
"""
ALL = "compute_75\\ncompute_80\\ncompute_90\\ncompute_120\\n"
FLAGS = ["-gencode", "arch=compute_75,code=sm_75", "-gencode", "arch=compute_80,code=sm_80",
         "-gencode", "arch=compute_90,code=[sm_90,compute_90]"]
REFUSES = 'echo "host_config.h:1: error: #error -- unsupported GNU version!" >&2; exit 1'


class FindNvcc(unittest.TestCase):
    def setUp(self) -> None:
        self.temporary = tempfile.TemporaryDirectory()
        self.addCleanup(self.temporary.cleanup)
        self.root = Path(self.temporary.name)
        (self.root / "bin").mkdir()
        self.before = dict(os.environ)
        os.environ["PATH"] = f"{self.root}/bin"
        os.environ.pop("NVCC", None)
        find_nvcc.SYSTEM = str(self.root / "no/nvcc")

    def tearDown(self) -> None:
        os.environ.clear()
        os.environ.update(self.before)

    def program(self, where: str, text: str) -> str:
        path = self.root / where
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return str(path)

    def nvcc(self, where: str = "bin/nvcc", version: str = "13.0", architectures: str = ALL, compiling: str = "exit 0") -> str:
        return self.program(where, NVCC.format(version=version, architectures=architectures, compiling=compiling))

    def find(self) -> tuple[int, list[str], str]:
        out, err = io.StringIO(), io.StringIO()
        sys.argv = ["find_nvcc.py", str(self.root / "deps"), "13"]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = find_nvcc.main()
        return status, out.getvalue().split("\n")[:-1], err.getvalue()

    def test_the_one_on_the_path(self) -> None:
        self.assertEqual(self.find()[0], 1)
        nvcc = self.nvcc()
        self.assertEqual(self.find(), (0, [nvcc, *FLAGS], ""))

    def test_none_is_said_with_the_places(self) -> None:
        status, words, reason = self.find()
        self.assertEqual((status, words), (1, []))
        self.assertIn(str(self.root / "deps"), reason)

    def test_another_major_version_is_named_and_the_next_is_taken(self) -> None:
        self.nvcc(version="12.4")
        status, words, reason = self.find()
        self.assertEqual((status, words), (1, []))
        self.assertIn("is of CUDA 12.4, LibTorch's runtime of CUDA 13", reason)
        fetched = self.nvcc("deps/nvidia/cu13/bin/nvcc")
        self.assertEqual(self.find()[1][0], fetched)

    def test_a_host_compiler_that_is_too_new_is_replaced(self) -> None:
        self.program("bin/g++-12", "#!/bin/sh\n")
        nvcc = self.nvcc(compiling=f'case "$*" in *"-ccbin g++-12"*) exit 0 ;; *) {REFUSES} ;; esac')
        self.assertEqual(self.find()[1], [nvcc, "-ccbin", "g++-12", *FLAGS])

    def test_without_an_older_one_the_check_of_versions_goes_off(self) -> None:
        nvcc = self.nvcc(compiling=f'case "$*" in *-allow-unsupported-compiler*) exit 0 ;; *) {REFUSES} ;; esac')
        self.assertEqual(self.find()[1], [nvcc, "-allow-unsupported-compiler", *FLAGS])

    def test_one_that_compiles_nothing_is_named_with_its_first_error(self) -> None:
        self.program("bin/g++-13", "#!/bin/sh\n")
        nvcc = self.nvcc(compiling=REFUSES)
        status, words, reason = self.find()
        self.assertEqual((status, words), (1, []))
        for part in (nvcc, "g++-13", "unsupported GNU version"):
            self.assertIn(part, reason)

    def test_architectures_that_it_does_not_know_are_left_out(self) -> None:
        self.nvcc(architectures="compute_80\\ncompute_900\\n")
        self.assertEqual(self.find()[1][1:], ["-gencode", "arch=compute_80,code=[sm_80,compute_80]"])
        self.nvcc(architectures="compute_30\\n")
        self.assertIn("knows none of the architectures 75, 80, 90", self.find()[2])

    def test_one_that_does_not_run(self) -> None:
        self.program("bin/nvcc", "#!/bin/sh\necho 'cannot execute' >&2; exit 126\n")
        self.assertIn("does not run: cannot execute", self.find()[2])


if __name__ == "__main__":
    unittest.main()
