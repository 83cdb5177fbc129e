// SPDX-License-Identifier: LGPL-2.1-or-later
// What the generator has reported, as JSON: the last chunks, the prompts and their states, the newest
// statistics. Listeners get it as it comes, and later ones get what is kept, which is bounded. Main loop
// only.
#pragma once

#include <gst/gst.h>

#include <deque>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

namespace flowcache::live {

using Json = nlohmann::json;

// A prompt, from the request for it until it shows.
struct PromptRecord {
  std::string text, state;  // state: sent, received, applied, replaced, lost
  double asked = 0;         // running time in seconds
  double wanted = -1;       // running time at which it is to show; -1: as soon as possible
  unsigned blend_chunks = 0;
  bool recache = false;  // instead of a blend the history runs once more
  uint64_t ticket = 0, chunk = 0;
  double applied = -1;           // running time of its first frame
  unsigned recached_chunks = 0;  // once applied: how many chunks ran once more
  double recache_ms = 0;         // and how long that took
  std::string unknown_words;
};

class Feed {
 public:
  static constexpr size_t chunks_kept = 240, prompts_kept = 100, most_waiting = 64;
  using Listener = std::function<void(const std::string& message)>;

  // Returns what unsubscribe() takes.
  unsigned subscribe(Listener listener);
  void unsubscribe(unsigned number) { listeners_.erase(number); }
  void publish(const Json& message);

  // flowcache-chunk, -prompt or -strength. `now` is the running time in seconds. Published.
  void report(const GstStructure* report, double now);
  // Call this before the element gets the prompt, so that its receipt finds the record.
  void prompt_asked(PromptRecord record);
  void prompt_refused();
  // The source has restarted: prompts that waited are lost.
  void restarted();

  // Prompts that have not shown yet.
  size_t waiting() const;
  // The chunks and prompts that are kept, oldest first, each as in its message.
  Json chunks() const { return Json(chunks_); }
  Json prompts() const;
  // The last receipt for a strength: strength, chunk, and applied, the running time of its first frame; null if
  // none has come.
  const Json& strength() const { return strength_; }

 private:
  void chunk_reported(const GstStructure* report);
  void strength_reported(const GstStructure* report);
  void prompt_reported(const GstStructure* report, double now);
  void publish_prompt(const PromptRecord& record);

  std::map<unsigned, Listener> listeners_;
  unsigned next_listener_ = 0;
  std::deque<Json> chunks_;
  std::deque<PromptRecord> prompts_;
  Json strength_;
};

// All fields of a structure, with underscores instead of hyphens in their names.
Json json_of(const GstStructure* structure);
Json json_of(const PromptRecord& record);

}  // namespace flowcache::live
