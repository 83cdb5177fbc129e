#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Generated video in a Python program, through GObject introspection (Debian: python3-gi, gir1.2-gstreamer-1.0).

    ./play.py [--sink ELEMENT] PROMPT…

Shows each prompt for four seconds, one blended into the next, and prints what the element says: when a prompt was taken
up and when it shows, what a chunk cost, and the figures at the end.
"""
import argparse
import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GLib, Gst  # noqa: E402

SECONDS_EACH = 4
arguments = argparse.ArgumentParser()
arguments.add_argument("prompts", nargs="+", metavar="PROMPT")
arguments.add_argument("--sink", default="autovideosink", help="for example fakesink (default: autovideosink)")
options = arguments.parse_args()

Gst.init(None)
pipeline = Gst.parse_launch(f"flowcachesrc name=source report-chunks=true ! queue ! videoconvert ! {options.sink}")
source = pipeline.get_by_name("source")
source.set_property("prompt", options.prompts[0])
# From READY on the element's caps have the model's frame rate, and then its multiples.
pipeline.set_state(Gst.State.READY)
caps = source.get_static_pad("src").query_caps(None).fixate()
_known, rate, per = caps.get_structure(0).get_fraction("framerate")
source.set_property("num-buffers", round(rate / per * SECONDS_EACH * len(options.prompts)))
# The others are queued by running time: the element turns to them by itself.
for number, prompt in enumerate(options.prompts[1:], start=1):
    source.emit("set-prompt", prompt, 1, number * SECONDS_EACH * Gst.SECOND)

loop = GLib.MainLoop()
failure = []


def on_message(_bus, message):
    if message.type == Gst.MessageType.ERROR:
        failure.append(message.parse_error().gerror.message)
        loop.quit()
    elif message.type == Gst.MessageType.EOS:
        loop.quit()
    elif message.type == Gst.MessageType.ELEMENT and message.src == source:
        report = message.get_structure()
        if report.get_name() == "flowcache-prompt":
            print(f"{report.get_value('state')}: {report.get_value('prompt')}", flush=True)
        elif report.get_name() == "flowcache-chunk":
            print(f"chunk {report.get_value('chunk')}: {report.get_value('milliseconds'):.0f} ms, steps "
                  f"{report.get_value('decisions')}", flush=True)


bus = pipeline.get_bus()
bus.add_signal_watch()
bus.connect("message", on_message)
pipeline.set_state(Gst.State.PLAYING)
try:
    loop.run()
except KeyboardInterrupt:
    pass
if not failure:
    print(source.get_property("stats").to_string())
pipeline.set_state(Gst.State.NULL)
if failure:
    sys.exit(f"play.py: {failure[0]}")
