# SPDX-License-Identifier: LGPL-2.1-or-later
"""What ./test.sh --asan, --ubsan and --tsan run, in which environment, and what each leaves out, with the reason.

LibTorch, GStreamer and GLib come without a sanitizer: what happens inside of them is not seen, nor what they hand over by locks
of their own.
"""
from dataclasses import dataclass, field

SUITES = ("unit", "golden", "element")

# What starts other programs: they have no sanitizer, and a plugin that has one cannot be loaded into them.
TESTS_OF_OTHER_PROGRAMS = {
    "unit-exports": "reads the exported symbols, among which the sanitizer has some",
    "unit-convert": "Python alone",
    "bench": "Python alone",
    "validate": "gst-validate-1.0 loads the plugin",
}
CASES_LEFT_OUT = {
    "Pipelines.LeaksTracer*": "gst-launch-1.0 loads the plugin",
    "Pipelines.LatencyAndStats*": "gst-launch-1.0 loads the plugin",
    "Pipelines.Inspect*": "gst-inspect-1.0 loads the plugin",
    "Pipelines.Registry*": "gst-inspect-1.0 loads the plugin",
    "RealEngine.*": "the tests wait a minute or two for pictures, which takes longer here; unit-api runs the same engine",
    "CudaEngine.*": "as RealEngine.*",
    "Memory.*": "limits the address space, of which sanitizers map terabytes",
}


@dataclass
class Sanitizer:
    """One of the set-ups: what is run where."""

    env: dict
    # How many times longer than without it a test may take.
    patience: int
    tests_left_out: dict = field(default_factory=dict)
    cases_left_out: dict = field(default_factory=dict)
    # Where few have a meaning: those, with the reason, instead of all.
    tests: dict = field(default_factory=dict)
    cases: dict = field(default_factory=dict)


def options(**values):
    return ":".join(f"{name}={value}" for name, value in values.items())


COMMON = {"GST_REGISTRY_FORK": "no"}

SANITIZERS = {
    # Leaks are valgrind's business (meson test -C build --setup valgrind): GLib keeps what it makes in constructors, and the
    # engine's library stays open by design.
    "asan": Sanitizer(
        env=COMMON | {
            "ASAN_OPTIONS": options(detect_leaks=0, detect_stack_use_after_return=1, check_initialization_order=1,
                                    strict_init_order=1),
            "UBSAN_OPTIONS": options(print_stacktrace=1, halt_on_error=1),
        },
        patience=10,
        tests_left_out=TESTS_OF_OTHER_PROGRAMS,
        cases_left_out=CASES_LEFT_OUT),
    # The same build; goes on after a finding, so that one run names every place.
    "ubsan": Sanitizer(
        env=COMMON | {
            "ASAN_OPTIONS": options(detect_leaks=0, detect_stack_use_after_return=0),
            "UBSAN_OPTIONS": options(print_stacktrace=0, halt_on_error=0),
        },
        patience=10,
        tests_left_out=TESTS_OF_OTHER_PROGRAMS,
        cases_left_out=CASES_LEFT_OUT),
    # GLib's locks are futexes of its own and OpenMP's barriers are libgomp's: neither is seen, so that all that GStreamer or
    # LibTorch hands from thread to thread looks like a race. What is run goes through locks of the C++ library alone.
    "tsan": Sanitizer(
        env=COMMON | {
            "TSAN_OPTIONS": options(second_deadlock_stack=1),
            # Other plugins' libraries have locks of their own.
            "GST_PLUGIN_SYSTEM_PATH_1_0": "",
        },
        patience=20,
        tests={"element": "the element on the fake engine, without LibTorch"},
        cases={
            "Worker.*": "the worker's thread against everybody who talks to it at once",
            "*Governor.*": "what the worker asks about its speed",
        }),
}


def suites(test):
    """The names of a test's suites, without the project's."""
    return {s.split(":")[-1] for s in test["suite"]}


def tests_of(kind, tests):
    """Those of a build's tests that the sanitizer runs."""
    sanitizer = SANITIZERS[kind]
    inside = [t for t in tests if suites(t).intersection(SUITES)]
    return [t for t in inside if t["name"] not in sanitizer.tests_left_out and t["name"] in (sanitizer.tests or [t["name"]])]


def gtest_filter(kind, pattern):
    """GTEST_FILTER for the cases of `pattern`, None for all, without those that are left out."""
    sanitizer = SANITIZERS[kind]
    return f"{pattern or ':'.join(sanitizer.cases) or '*'}-{':'.join(sanitizer.cases_left_out)}"


def remarks(kind):
    """What alone is run, and what is left out, with the reasons, a line each."""
    sanitizer = SANITIZERS[kind]
    return [*(f"only: {name}: {reason}" for name, reason in (sanitizer.tests | sanitizer.cases).items()),
            *(f"left out: {name}: {reason}" for name, reason in (sanitizer.tests_left_out | sanitizer.cases_left_out).items())]
