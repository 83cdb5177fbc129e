// SPDX-License-Identifier: LGPL-2.1-or-later
#include "lora_changer.h"

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <utility>

namespace flowcache::gst {
namespace {

constexpr std::chrono::milliseconds kCancelAgain{20};

// Linux has a priority for each thread, which the engine's arithmetic threads inherit from this one. The steps of the
// stream go first. Where that is refused, they share.
void give_way() {
  constexpr int lower = 10;
  static_cast<void>(setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), lower));
}

}  // namespace

LoraChanger::LoraChanger(const EngineLibrary& library, fc_stream* stream, Tell tell)
    : library_(library), stream_(stream), tell_(std::move(tell)), thread_([this] { run(); }) {}

void LoraChanger::stop() {
  {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    wake_.notify_all();
    // A call that the thread is about to make is not there yet to be cancelled.
    while (!ended_) {
      library_.stream_cancel(stream_);
      wake_.wait_for(lock, kCancelAgain, [&] { return ended_; });
    }
  }
  if (thread_.joinable()) thread_.join();
}

void LoraChanger::change(std::string list) {
  std::optional<std::string> overtaken;
  {
    std::lock_guard lock(mutex_);
    overtaken = std::exchange(wanted_, std::move(list));
  }
  wake_.notify_all();
  if (overtaken) tell_({.list = std::move(*overtaken)});
}

void LoraChanger::change_now(const std::string& list) {
  const auto begin = std::chrono::steady_clock::now();
  fc_lora_change change = fc_lora_change_init();
  change.loras = list.c_str();
  change.at_chunk = FC_NEXT_CHUNK;
  LoraReceipt receipt{.list = list};
  const fc_status status = library_.stream_lora(stream_, &change, &receipt.ticket);
  if (status == FC_CANCELLED || status == FC_ENDED) return;  // the stream stops
  if (status != FC_OK) receipt.refused = last_error_of(library_);
  receipt.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  tell_(receipt);
}

void LoraChanger::run() noexcept {
  pthread_setname_np(pthread_self(), "flowcache-lora");  // 15 characters at most
  give_way();
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [&] { return stopping_ || wanted_; });
    if (stopping_) break;
    std::string list = std::move(*std::exchange(wanted_, std::nullopt));
    lock.unlock();
    try {
      change_now(list);
    } catch (const std::exception& defect) {
      tell_({.list = std::move(list),
             .refused = std::string("the engine threw an exception: ") + defect.what()});
    }
    lock.lock();
  }
  ended_ = true;
  wake_.notify_all();
}

}  // namespace flowcache::gst
