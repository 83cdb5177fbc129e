// SPDX-License-Identifier: LGPL-2.1-or-later
// The other ways out of the running stream: RTMP, SRT and WHIP, each from a tap, each on its own. When the
// other side goes away or takes no data, the output is torn down and tried again after 1, 2, 4 … 15 seconds.
// Main loop only.
#pragma once

#include "feed.h"
#include "generator.h"

namespace flowcache::live {

/// What they have in common: trying again, and saying how it goes.
class Output {
 public:
  using Tell = std::function<void(const std::string& level, const std::string& text)>;

  /// `address` is where to; its host is shown to people, the rest may hold a key and is not.
  Output(std::string name, const std::string& address, Tell tell);
  virtual ~Output();
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  void start() { attempt(); }
  Json status() const;
  const std::string& name() const { return name_; }
  bool sending() const { return state_ == "sending"; }
  unsigned attempts() const { return attempts_; }

 protected:
  /// Empty, or why it could not begin. Success is told by started(), the end by broken().
  virtual std::string open() = 0;
  /// Releases what open() made; nothing may wait.
  virtual void close() = 0;
  /// Frames taken and lost so far by the present attempt.
  virtual std::pair<guint64, guint64> frames() const = 0;
  void started();
  void broken(const std::string& reason);

 private:
  void attempt();
  void look();

  const std::string name_, shown_;
  const Tell tell_;
  std::string state_ = "connecting", reason_;
  unsigned attempts_ = 0, delay_ = 1;
  guint timer_ = 0, watch_ = 0;
  guint64 last_frames_ = 0;
  gint64 last_progress_ = 0;
};

/// All of them, as the options ask.
class Outputs {
 public:
  void open(const Options& options, Generator& generator, const Output::Tell& tell);
  void close() { all_.clear(); }
  Json status() const;
  const std::vector<std::unique_ptr<Output>>& all() const { return all_; }

 private:
  std::vector<std::unique_ptr<Output>> all_;
};

std::unique_ptr<Output> make_rtmp(const std::string& url, Generator& generator, const Output::Tell& tell);
std::unique_ptr<Output> make_srt(const std::string& url, Generator& generator, const Output::Tell& tell);
std::unique_ptr<Output> make_whip(const Options& options, Generator& generator, const Output::Tell& tell);

}  // namespace flowcache::live
