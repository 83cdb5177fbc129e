// SPDX-License-Identifier: LGPL-2.1-or-later
// Gives the engine lists of LoRAs on a thread of its own. Reading and merging them takes seconds, in which the worker goes
// on making chunks. It calls no function of GStreamer.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "engine.h"

namespace flowcache::gst {

struct LoraReceipt {
  uint64_t ticket = 0;  // 0: the engine did not get the list
  std::string list;
  double seconds = 0;   // that reading and merging took
  std::string refused;  // why the engine did not take it; "": it did
};

class LoraChanger {
 public:
  // Called with every list that was given: on this object's thread, without a lock, but for those of change_now(). Must not
  // destroy this object.
  using Tell = std::function<void(const LoraReceipt&)>;

  // library, stream: outlive this object.
  LoraChanger(const EngineLibrary& library, fc_stream* stream, Tell tell);
  ~LoraChanger() { stop(); }
  LoraChanger(const LoraChanger&) = delete;
  LoraChanger& operator=(const LoraChanger&) = delete;

  // Cancels what is under way and uses the stream no more; lists that are given later are not taken. Twice is fine.
  void stop();
  // The list holds from the next chunk on, once it is read. Of several that wait, the last one does. Any thread.
  void change(std::string list);
  // The same on the calling thread, which waits for it.
  void change_now(const std::string& list);

 private:
  void run() noexcept;

  const EngineLibrary& library_;
  fc_stream* const stream_;
  const Tell tell_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  std::optional<std::string> wanted_;
  bool stopping_ = false, ended_ = false;
  std::thread thread_;
};

}  // namespace flowcache::gst
