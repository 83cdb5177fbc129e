// SPDX-License-Identifier: LGPL-2.1-or-later
// Ways to change what is shown while it plays: the property `prompt`, the action signals `set-prompt` and
// `reset`, the upstream event `flowcache/prompt`, keys, and the pad `prompt`. All end here.
#pragma once

#include <gst/gst.h>

#include "flowcachesrc.h"

namespace flowcache::gst {

/// A new prompt from the first chunk on that begins at or after `running_time` (NONE: as soon as possible),
/// blended in over `blend_chunks` (0: a cut). Before PAUSED it is the prompt that the stream begins with, or
/// waits for its time.
/// False, with a WARNING, if the stream keeps its old prompt. Any thread.
bool change_prompt(GstFlowCacheSrc* source, const std::string& text, guint blend_chunks,
                   GstClockTime running_time);

/// The first frame that begins at or after this time in the video, and the first chunk that begins at or
/// after a frame.
guint64 frame_at(const fc_model_info& model, GstClockTime time);
guint64 chunk_from(const fc_model_info& model, guint64 frame);

/// A script's cues by chunk: each holds from the first chunk on that begins at or after its start. Appends a
/// remark for every one that gets no chunk of its own.
std::vector<ScriptedPrompt> scripted_prompts(const std::vector<Cue>& script, const fc_model_info& model,
                                             std::vector<std::string>* remarks);

/// Drops what waits in the ring and starts over at chunk 0 with this seed; the time grid goes on. Any thread.
void reset_stream(GstFlowCacheSrc* source, guint64 seed);

/// A QOS event of the sink, this much late (< 0: early): with `qos=true` and a cache policy that has a
/// deadline the deadline follows. Any thread.
void handle_qos(GstFlowCacheSrc* source, GstClockTimeDiff late);
/// Switches that on or off; off gives the deadline back to the engine. Any thread.
void set_qos(GstFlowCacheSrc* source, bool on);

/// What to steer away from, from the next chunk on; before PAUSED, from the first. Any thread.
void change_negative_prompt(GstFlowCacheSrc* source, const std::string& text);

/// Handles `flowcache/prompt` (prompt: string, blend-chunks: uint, at: uint64 running time) and
/// `flowcache/reset` (seed: uint64). False if the event is another one, or says nothing.
bool handle_custom_event(GstFlowCacheSrc* source, GstEvent* event);

/// A key that is pressed and has a prompt in `key-prompts` shows it. False if there is none for it. Any
/// thread.
bool handle_navigation(GstFlowCacheSrc* source, GstEvent* event);

void install_signals(GObjectClass* object_class);

/// Adds the template of the request pad `prompt`, which takes prompts as a stream: text/x-raw, plain or with
/// Pango markup, which is left out. Each buffer is a prompt from its own running time on. A prompt of the
/// stream holds until the next one, over gaps and over the stream's end, and does not change the property
/// `prompt`; an empty buffer brings that one back. A flush forgets prompts whose time has not come. When many
/// wait for their time the stream of text is held up.
void install_prompt_pad(GstElementClass* element_class);

/// Threads that wait to hand over a prompt return, and new ones do not wait; until the pad is open again. Any
/// thread.
void close_prompt_pad(GstElement* element);
void open_prompt_pad(GstElement* element);

}  // namespace flowcache::gst
