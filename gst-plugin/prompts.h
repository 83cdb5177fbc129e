// SPDX-License-Identifier: LGPL-2.1-or-later
// All ways to change what is shown while it plays: the property `prompt`, the action signals `set-prompt` and
// `reset`, the upstream event `flowcache/prompt`, keys, and the pad `prompt`.
#pragma once

#include <gst/gst.h>

#include "flowcachesrc.h"

namespace flowcache::gst {

// Sets a new prompt from the first chunk on that begins at or after `running_time` (NONE: as soon as
// possible), blended in over `blend_chunks` chunks (0: a cut). Before PAUSED it becomes the prompt that the
// stream begins with, or waits for its time. Returns false, and posts a WARNING, if the stream keeps its old
// prompt. Any thread.
bool change_prompt(GstElement* source, const std::string& text, guint blend_chunks,
                   GstClockTime running_time);

// frame_at(): the first frame that begins at or after this time of the video. chunk_from(): the first chunk
// that begins at or after this frame.
guint64 frame_at(const fc_model_info& model, GstClockTime time);
guint64 chunk_from(const fc_model_info& model, guint64 frame);

// Assigns the cues of a script to chunks: each holds from the first chunk on that begins at or after its
// start. Appends a remark for every cue that gets no chunk of its own.
std::vector<ScriptedPrompt> scripted_prompts(const std::vector<Cue>& script, const fc_model_info& model,
                                             std::vector<std::string>* remarks);

// Drops the chunks in the ring and starts again at chunk 0 with this seed; the time grid continues. Any
// thread.
void reset_stream(GstElement* source, guint64 seed);

// Handles a QOS event of the sink, which says how late frames are (< 0: early). With `qos=true` and a cache
// policy that has a deadline, the deadline follows. Any thread.
void handle_qos(GstElement* source, GstClockTimeDiff late);
// Switches this on or off. Off leaves the deadline to the engine again. Any thread.
void set_qos(GstElement* source, bool on);

// Sets the negative prompt from the next chunk on; before PAUSED, from the first. Any thread.
void change_negative_prompt(GstElement* source, const std::string& text);

// Handles `flowcache/prompt` (prompt: string, blend-chunks: uint, transition: blend or recache, at: uint64 running time) and
// `flowcache/reset` (seed: uint64). Returns false for any other event and for one without these fields.
bool handle_custom_event(GstElement* source, GstEvent* event);

// Shows the prompt that `key-prompts` has for a pressed key. Returns false if it has none. Any thread.
bool handle_navigation(GstElement* source, GstEvent* event);

void install_signals(GObjectClass* object_class);

// Adds the template of the request pad `prompt`, which takes prompts as a stream of text/x-raw, plain or
// with Pango markup (which is removed). Each buffer is a prompt that holds from the buffer's running time
// until the next one, also over gaps and after the end of the text. It does not change the property
// `prompt`; an empty buffer returns to that one. A flush drops prompts whose time has not come. While too
// many prompts wait for their time, the text's thread is blocked.
void install_prompt_pad(GstElementClass* element_class);

// close: threads that wait to hand over a prompt return, and further ones do not wait. open: they may wait
// again. Any thread.
void close_prompt_pad(GstElement* element);
void open_prompt_pad(GstElement* element);

}  // namespace flowcache::gst
