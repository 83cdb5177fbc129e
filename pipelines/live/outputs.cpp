// SPDX-License-Identifier: LGPL-2.1-or-later
#include "outputs.h"

#include <algorithm>

namespace flowcache::live {
namespace {

constexpr unsigned longest_delay = 15;             // seconds
constexpr gint64 patience = 10 * G_USEC_PER_SEC;   // with a side that takes nothing
constexpr gint64 good_after = 5 * G_USEC_PER_SEC;  // then the next failure begins with a short delay

/// scheme://host:port of an address.
std::string without_secrets(const std::string& address) {
  GUri* uri = g_uri_parse(address.c_str(), G_URI_FLAGS_NONE, nullptr);
  if (uri == nullptr) return "";
  const char* host = g_uri_get_host(uri);
  std::string shown = std::string(g_uri_get_scheme(uri)) + "://" + (host == nullptr ? "" : host);
  if (g_uri_get_port(uri) > 0) shown.append(":").append(std::to_string(g_uri_get_port(uri)));
  g_uri_unref(uri);
  return shown;
}

}  // namespace

Output::Output(std::string name, const std::string& address, Tell tell)
    : name_(std::move(name)), shown_(without_secrets(address)), tell_(std::move(tell)) {}

Output::~Output() {
  for (const guint source : {timer_, watch_}) {
    if (source != 0) g_source_remove(source);
  }
}

Json Output::status() const {
  const auto [taken, lost] = frames();
  Json status = {{"name", name_},   {"to", shown_}, {"state", state_},
                 {"frames", taken}, {"lost", lost}, {"attempts", attempts_}};
  if (!reason_.empty()) status["reason"] = reason_;
  return status;
}

void Output::attempt() {
  timer_ = 0;
  ++attempts_;
  state_ = "connecting";
  last_frames_ = 0;
  last_progress_ = g_get_monotonic_time();
  if (const std::string problem = open(); !problem.empty()) {
    broken(problem);
    return;
  }
  if (watch_ == 0) {
    watch_ = g_timeout_add(
        1000,
        [](gpointer self) -> gboolean {
          static_cast<Output*>(self)->look();
          return G_SOURCE_CONTINUE;
        },
        this);
  }
}

void Output::started() {
  if (state_ == "sending") return;
  state_ = "sending";
  reason_.clear();
  tell_("info", name_ + ": sending to " + shown_);
  if (last_frames_ == 0) last_progress_ = g_get_monotonic_time();
}

void Output::look() {
  if (state_ == "waiting") return;
  const guint64 now_frames = frames().first;
  const gint64 now = g_get_monotonic_time();
  if (now_frames > last_frames_) {
    last_frames_ = now_frames;
    last_progress_ = now;
    if (state_ == "sending") delay_ = 1;
  } else if (now - last_progress_ > patience) {
    broken("the other side has taken nothing for ten seconds");
  }
}

void Output::broken(const std::string& reason) {
  if (state_ == "waiting") return;
  state_ = "waiting";
  reason_ = reason;
  close();
  tell_("warning", name_ + ": " + shown_ + ": " + reason + "; next try in " + std::to_string(delay_) + " s");
  timer_ = after(delay_ * 1000, [this] { attempt(); });
  delay_ = std::min(longest_delay, delay_ * 2);
}

void Outputs::open(const Options& options, Generator& generator, const Output::Tell& tell) {
  if (!options.rtmp.empty()) all_.push_back(make_rtmp(options.rtmp, generator, tell));
  if (!options.srt.empty()) all_.push_back(make_srt(options.srt, generator, tell));
  if (!options.whip.empty()) all_.push_back(make_whip(options, generator, tell));
  for (const auto& output : all_) output->start();
}

Json Outputs::status() const {
  Json status = Json::array();
  for (const auto& output : all_) status.push_back(output->status());
  return status;
}

}  // namespace flowcache::live
