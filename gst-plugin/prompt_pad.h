// SPDX-License-Identifier: LGPL-2.1-or-later
// Prompts as a stream: the request pad `prompt` takes text, each buffer a prompt from its own running time
// on.
#pragma once

#include <gst/gst.h>

namespace flowcache::gst {

/// Adds the template of the pad `prompt`: text/x-raw, plain or with Pango markup, which is left out.
/// A prompt of the stream holds until the next one, over gaps and over the stream's end, and does not change
/// the property `prompt`; an empty buffer brings that one back. A flush forgets prompts whose time has not
/// come. When many wait for their time the stream of text is held up.
void install_prompt_pad(GstElementClass* element_class);

/// Whoever waits to hand over a prompt goes home, until it may come again. Any thread.
void close_prompt_pad(GstElement* element);
void open_prompt_pad(GstElement* element);

}  // namespace flowcache::gst
