// SPDX-License-Identifier: LGPL-2.1-or-later
// The pipeline that generates: a source ! tee, and for each codec an encoder that ends in a tap. The source is
// flowcachesrc, or with --input flowcachefilter, which a feeder gives frames (frame_feeder.h). Viewers, outputs and
// inputs are pipelines of their own, so that their errors and their waiting do not disturb it.
//
// Main loop only, except where tap.h allows more.
#pragma once

#include "frame_feeder.h"
#include "options.h"
#include "push.h"

namespace flowcache::live {

// Seconds for JSON, to the millisecond.
inline double seconds(GstClockTime time) {
  return static_cast<double>(time / 1000000) / 1e3;
}

// Callbacks of the generator, called in the main loop.
class GeneratorListener {
 public:
  virtual ~GeneratorListener() = default;
  // An element message of the source: flowcache-chunk, -stats, -prompt or -strength.
  virtual void on_report(const GstStructure* report) = 0;
  virtual void on_warning(const std::string& text) = 0;
  // A change of policy has ended. `problem` is empty, or says why the old policy is still in use.
  virtual void on_policy(const std::string& policy, const std::string& problem) = 0;
  // The stream has ended; `text` says why.
  virtual void on_failure(const std::string& text) = 0;
};

class Generator {
 public:
  Generator(const Options& options, GeneratorListener& listener) : options_(options), listener_(listener) {}
  ~Generator();
  Generator(const Generator&) = delete;
  Generator& operator=(const Generator&) = delete;

  // Returns false and a sentence if an element or the model is missing. The model's weights are loaded
  // later; if that fails, on_failure() is called.
  bool start(std::string* error);

  Tap& vp8() { return *vp8_; }
  Tap& h264() { return *h264_; }
  // For RTMP and SRT: H.264 and silent AAC.
  Streams streams() { return {pipeline_.get(), h264_.get(), sound_.get()}; }
  GstClockTime base_time() const { return base_time_; }
  GstClockTime running_time() const;
  // How many frames a chunk has; 0 until the first frame has come.
  unsigned frames_per_chunk() const { return frames_per_chunk_; }
  // True if a frame has left the source within the last five seconds.
  bool flowing() const;
  StructurePtr stats() const;

  // Shows another prompt from the running time `at` on; GST_CLOCK_TIME_NONE means as soon as possible.
  // Returns false if the element refuses it; a warning says why.
  // blend_chunks: G_MAXUINT is a re-cache.
  bool prompt(const std::string& text, unsigned blend_chunks, GstClockTime at);
  void reset(uint64_t seed);
  void set_cache_threshold(double threshold);
  void set_guidance_scale(double scale);
  // What gives the filter its frames; null without --input.
  const std::shared_ptr<FrameFeeder>& feeder() const { return feeder_; }
  // How much of the input is painted over. Only with --input.
  bool takes_strength() const { return !options_.input.empty(); }
  void set_strength(double strength);
  // Changes the property `cache` of flowcachesrc. That is possible in READY only, so the source is stopped
  // on another thread and started again; on_policy() is called then. Viewers see the last picture meanwhile.
  // Returns false if another change has not ended.
  bool change_policy(const std::string& policy);
  bool changing_policy() const { return changing_; }
  const std::string& policy() const { return policy_; }

 private:
  static gboolean on_bus(GstBus* bus, GstMessage* message, gpointer self);
  static GstPadProbeReturn on_buffer(GstPad* pad, GstPadProbeInfo* info, gpointer self);
  // What the line of the pipeline begins with.
  std::string beginning() const;
  bool make_feeder(std::string* error);
  void on_message(GstMessage* message);
  void on_error(const std::string& text);
  // Stops the source, sets the policy and plays. Messages on the bus say how it went.
  void restart_with(const std::string& policy);
  void restarted();

  const Options options_;
  GeneratorListener& listener_;
  GstPtr<GstElement> pipeline_;
  GstElement* source_ = nullptr;  // owned by the pipeline
  std::unique_ptr<Tap> vp8_, h264_, sound_;
  std::shared_ptr<FrameFeeder> feeder_;
  GstClockTime base_time_ = 0;
  std::string policy_, policy_before_, policy_problem_;
  bool changing_ = false;
  // True from a restart until the bus says that the run before it is over. Errors and ends of stream of that
  // run are ignored.
  bool stopping_ = false;
  std::atomic<unsigned> frames_per_chunk_{0};
  std::atomic<gint64> last_frame_{0};
};

}  // namespace flowcache::live
