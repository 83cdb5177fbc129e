#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What gate.sh and peers.sh make of figures: records and turns that are made up here."""
import contextlib
import copy
import io
import pathlib
import sys
import types
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "gate"), str(HERE / "peers")]
import compare  # noqa: E402
import judge  # noqa: E402

# The fields of gates.v1 that are looked at.
CONTRACT = dict(
    temporal=dict(native_pixel_fps=16, playback_pixel_fps=16), latency=dict(warm_ttff_max_ms=3000),
    primary_proof=dict(duration_seconds=60, min_generated_frames=960, max_display_underruns=0, queue_lower_bound=0,
                       aligned_window_seconds=10))


def good_record():
    """A minute of twelve frames a chunk at sixteen a second, the first one shown after half a second."""
    frames = [dict(pts=i / 16, shown=.5 + i / 16, late=.001, repeated=False) for i in range(16 * 61)]
    samples = [dict(at=.5 + i / 50, ring=12, capacity=24, queued=1, skipped=3, chunks=2 + int(i / 50 / .75)) for i in range(50 * 61)]
    chunks = [dict(at=.5 + .75 * i, ms=400) for i in range(1, 82)]
    stats = {"native-fps": 16, "underruns": 0, "skipped": 3, "dropped": 0, "steps-computed": 5, "steps-reused": 19}
    return dict(cold=1.5, run=dict(first_shown=.5, frames_per_chunk=12, most_queued=200, frames=frames, samples=samples,
                                   chunks=chunks, stats=stats))


def failing_lines(record, seconds=60):
    sheet = judge.Sheet()
    with contextlib.redirect_stdout(io.StringIO()):
        judge.judge(record, seconds, CONTRACT, sheet)
    return {line["line"] for line in sheet.lines if line["passed"] is False}


class Gate(unittest.TestCase):
    def check(self, change, *expected):
        record = copy.deepcopy(good_record())
        change(record["run"])
        failing = failing_lines(record)
        for line in expected:
            self.assertTrue(any(name.startswith(line) for name in failing), f"{line} in {failing}")

    def test_a_good_minute_passes(self):
        self.assertEqual(failing_lines(good_record()), set())

    def test_less_than_a_minute_never_passes(self):
        self.assertEqual(failing_lines(good_record(), 40), {"duration, s"})

    def test_a_repeated_frame_does_not_count(self):
        self.check(lambda run: run["frames"][500].update(repeated=True), "frames shown, each new", "shown in each",
                   "frames repeated")

    def test_a_late_frame_is_an_underrun(self):
        self.check(lambda run: run["frames"][500].update(late=.07), "frames shown, each new", "underruns")

    def test_a_frame_that_is_skipped_after_the_first_fails(self):
        self.check(lambda run: run["stats"].update(skipped=4), "frames repeated, skipped")

    def test_a_frame_that_was_never_shown_does_not_count(self):
        self.check(lambda run: run["frames"][959].update(shown=-1), "frames shown, each new")

    def test_a_slowed_timeline_fails(self):
        self.check(lambda run: [f.update(pts=f["pts"] * 1.01) for f in run["frames"]], "timestamps", "shown in each")

    def test_a_queue_that_drains_fails(self):
        def drain(run):
            for i, sample in enumerate(run["samples"]):
                sample.update(ring=max(0, 24 - i // 100), chunks=2 + int(i / 50 / .78))
        self.check(drain, "frames generated", "the same, at the start and at the end")

    def test_a_ring_beyond_its_bound_fails(self):
        self.check(lambda run: run["samples"][9].update(ring=25), "finished frames that wait")

    def test_slow_chunks_fail_by_their_95th_percentile(self):
        self.check(lambda run: [c.update(ms=760) for c in run["chunks"][::15]], "chunk time, p95")
        few = good_record()
        few["run"]["chunks"][5]["ms"] = 2000
        self.assertEqual(failing_lines(few), set())

    def test_a_slow_start_fails(self):
        def late(run):
            run.update(first_shown=3.1)
        self.check(late, "first frame after a warm start")


class Peers(unittest.TestCase):
    def report(self, turns, missing):
        options = types.SimpleNamespace(shape="ambient", isa="native", precision="fp32", threads=2, rounds=3, runs=9, json=None)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            compare.report(options, turns, missing, (432, 1296), .75)
        return out.getvalue().splitlines()

    def test_the_ratio_is_to_the_fastest_of_medians(self):
        lines = self.report(dict(engine=[60, 50, 90], eager=[100, 100, 100], compile=[1, 80, 90]), {})
        self.assertEqual(lines[-1], "ratio to the fastest peer: 0.750")

    def test_a_peer_that_did_not_run_is_named(self):
        lines = self.report(dict(engine=[60], eager=[100]), {"compile": "torch.compile needs a C++ compiler"})
        self.assertTrue(any(line.split()[:4] == ["compile", "did", "not", "run:"] for line in lines), lines)
        self.assertIn("not among them: compile, flashdreams, flashdreams-compile", lines[-2])

    def test_no_peer_is_an_error(self):
        with self.assertRaises(SystemExit):
            self.report(dict(engine=[60]), {"eager": "broken"})


if __name__ == "__main__":
    unittest.main()
