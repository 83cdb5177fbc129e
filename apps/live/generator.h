// SPDX-License-Identifier: LGPL-2.1-or-later
// The generation: flowcachesrc ! tee, and an encoder for each codec that ends in a tap. Everything that
// watches or sends is a pipeline of its own behind a tap, so that its faults and its waiting stay there.
//
// Main loop only, but for what tap.h allows.
#pragma once

#include "options.h"
#include "push.h"

namespace flowcache::live {

/// As JSON has it: to the millisecond.
inline double seconds(GstClockTime time) {
  return static_cast<double>(time / 1000000) / 1e3;
}

/// What the generation tells; called in the main loop.
class GeneratorListener {
 public:
  virtual ~GeneratorListener() = default;
  /// An element message of flowcachesrc: flowcache-chunk, -stats or -prompt.
  virtual void on_report(const GstStructure* report) = 0;
  virtual void on_warning(const std::string& text) = 0;
  /// A change of policy is over; `problem` is empty, or says why the policy of before goes on.
  virtual void on_policy(const std::string& policy, const std::string& problem) = 0;
  /// The stream is over, for this reason.
  virtual void on_failure(const std::string& text) = 0;
};

class Generator {
 public:
  Generator(const Options& options, GeneratorListener& listener) : options_(options), listener_(listener) {}
  ~Generator();
  Generator(const Generator&) = delete;
  Generator& operator=(const Generator&) = delete;

  /// False and a sentence if an element or the model is missing. Returns before the model's weights are loaded; a failure then comes
  /// by on_failure().
  bool start(std::string* error);

  Tap& vp8() { return *vp8_; }
  Tap& h264() { return *h264_; }
  /// For RTMP and SRT: H.264 and silent AAC.
  Streams streams() { return {pipeline_.get(), h264_.get(), sound_.get()}; }
  GstClockTime base_time() const { return base_time_; }
  GstClockTime running_time() const;
  /// Frames of a chunk as seen at the pad; 0 before the first.
  unsigned frames_per_chunk() const { return frames_per_chunk_; }
  /// Frames have left the source within the last five seconds.
  bool flowing() const;
  StructurePtr stats() const;

  /// False if it is refused; a warning says why. `at` is a running time, GST_CLOCK_TIME_NONE: as soon as
  /// possible.
  bool prompt(const std::string& text, unsigned blend_chunks, GstClockTime at);
  void reset(uint64_t seed);
  void set_cache_threshold(double threshold);
  void set_guidance_scale(double scale);
  /// `cache` of flowcachesrc can change in READY only: stops the source on another thread, starts it again,
  /// and tells by on_policy(). Viewers keep the last picture meanwhile. False if a change is under way.
  bool change_policy(const std::string& policy);
  bool changing_policy() const { return changing_; }
  const std::string& policy() const { return policy_; }

 private:
  static gboolean on_bus(GstBus* bus, GstMessage* message, gpointer self);
  static GstPadProbeReturn on_buffer(GstPad* pad, GstPadProbeInfo* info, gpointer self);
  void on_message(GstMessage* message);
  void on_error(const std::string& text);
  /// Stops, sets the policy, plays. The rest of a change follows from messages.
  void restart_with(const std::string& policy);
  void restarted();

  const Options options_;
  GeneratorListener& listener_;
  GstPtr<GstElement> pipeline_;
  GstElement* source_ = nullptr;  // the pipeline's
  std::unique_ptr<Tap> vp8_, h264_, sound_;
  GstClockTime base_time_ = 0;
  std::string policy_, policy_before_, policy_problem_;
  bool changing_ = false;
  // Until the bus says that the run before a restart is over; what it still reports is of no interest. A
  // source that fails also ends its stream.
  bool stopping_ = false;
  std::atomic<unsigned> frames_per_chunk_{0};
  std::atomic<gint64> last_frame_{0};
};

}  // namespace flowcache::live
