// SPDX-License-Identifier: LGPL-2.1-or-later
#include "output.h"

#include <algorithm>
#include <utility>

#include "address.h"

namespace flowcache {
namespace {

constexpr guint tick_ms = 250;
constexpr gint64 finish_within = 5 * G_USEC_PER_SEC;

void remove(guint& source) {
  if (source != 0) g_source_remove(std::exchange(source, 0));
}

}  // namespace

Output::Output(Config config, Events events)
    : config_(std::move(config)), shown_(without_secrets(config_.address)), events_(std::move(events)) {}

Output::~Output() {
  remove(retry_);
  remove(tick_);
}

const char* Output::state_name() const {
  static const char* names[] = {"connecting", "sending", "waiting", "ended"};
  return names[static_cast<int>(state_)];
}

std::string Output::title() const {
  return config_.name.empty() ? shown_ : config_.name + ": " + shown_;
}

void Output::start() {
  if (attempts_ == 0 && state_ != State::Ended) attempt();
}

void Output::attempt() {
  ++attempts_;
  state_ = State::Connecting;
  tick_ = g_timeout_add(
      tick_ms, [](gpointer self) -> gboolean { return static_cast<Output*>(self)->tick(); }, this);
  if (const std::string problem = open(); !problem.empty()) broken(problem);
}

gboolean Output::tick() {
  const gint64 now = g_get_monotonic_time();
  if (finishing_since_ != 0 && now - finishing_since_ > finish_within) {
    tick_ = 0;
    end(title() + ": the other side did not take the end of the stream within 5 s");
    return G_SOURCE_REMOVE;
  }
  if (frames().stalled > patience) {
    tick_ = 0;
    broken("the other side has taken nothing for 10 s");
    return G_SOURCE_REMOVE;
  }
  if (state_ == State::Sending && now - sending_since_ > steady_after) failures_ = 0;
  look();
  return G_SOURCE_CONTINUE;
}

void Output::started() {
  if (state_ != State::Connecting) return;
  state_ = State::Sending;
  sending_since_ = g_get_monotonic_time();
  ++connections_;
  reason_.clear();
  events_.tell("info", title() + ": on air");
}

void Output::broken(const std::string& reason, unsigned at_least) {
  if (state_ == State::Waiting || state_ == State::Ended) return;
  state_ = State::Waiting;
  reason_ = without_key(reason, config_.address);
  remove(tick_);
  close();
  const std::string text = title() + ": " + reason_;
  if (finishing_since_ != 0 || (config_.retries && failures_ >= *config_.retries)) {
    end(text);
    return;
  }
  const unsigned delay =
      std::max(std::min(longest_delay, 1U << std::min(failures_, 4U)), std::min(longest_wish, at_least));
  ++failures_;
  const std::string count = std::to_string(failures_) +
                            (config_.retries ? " of " + std::to_string(*config_.retries) : std::string());
  events_.tell("warning", text + "; trying again in " + std::to_string(delay) + " s (" + count +
                              "), the generation goes on");
  retry_ = after(delay * 1000, [this] {
    retry_ = 0;
    attempt();
  });
}

void Output::finish() {
  finishing_since_ = g_get_monotonic_time();
  if (state_ == State::Connecting || state_ == State::Sending) {
    drain();
  } else {
    end(title() + ": the stream ended while the other side was away");
  }
}

void Output::end(const std::string& why) {
  if (state_ == State::Ended) return;
  state_ = State::Ended;
  remove(retry_);
  remove(tick_);
  close();
  if (const auto ended = std::exchange(events_.ended, nullptr)) ended(why);
}

}  // namespace flowcache
