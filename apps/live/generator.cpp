// SPDX-License-Identifier: LGPL-2.1-or-later
#include "generator.h"

#include "encoders.h"
#include "frame_rate.h"

namespace flowcache::live {
namespace {

constexpr GstClockTime stats_interval = GST_SECOND / 2;
// How long a viewer who lost the picture may have to wait, and what RTMP servers cut their segments by.
constexpr unsigned keyframe_seconds = 2;
constexpr unsigned sound_kbit = 64;
// What all browsers decode.
constexpr const char* browser_profile = " ! video/x-h264,profile=constrained-baseline";
// The name of a message on the bus. Everything before it belongs to a run that is over.
constexpr const char* run_begins = "flowcache-live-run";

// The queue drops its oldest frames when the encoder is slow, so that neither the source nor the other
// encoder waits.
std::string branch(const std::string& encoder, const std::string& name) {
  return " split. ! queue max-size-buffers=4 max-size-bytes=0 max-size-time=0 leaky=downstream"
         " ! valve name=" +
         name + "-valve drop=true drop-mode=forward-sticky-events ! videoconvert ! " + encoder +
         " ! appsink name=" + name + " max-buffers=8 drop=true";
}

// Most RTMP servers want a sound track, so silence goes with the picture.
std::string sound_branch() {
  return " audiotestsrc is-live=true wave=silence samplesperbuffer=1024 ! valve name=sound-valve drop=true"
         " drop-mode=forward-sticky-events ! audio/x-raw,rate=48000,channels=2 ! audioconvert ! " +
         aac_encoder(sound_kbit) + " ! appsink name=sound max-buffers=64 drop=true";
}

std::string text_of(GstMessage* message, void (*parse)(GstMessage*, GError**, char**)) {
  GError* error = nullptr;
  parse(message, &error, nullptr);
  return take_message(error);
}

}  // namespace

Generator::~Generator() {
  if (!pipeline_) return;
  if (feeder_) feeder_->stop();
  const GstPtr<GstBus> bus(gst_element_get_bus(pipeline_.get()));
  gst_bus_remove_watch(bus.get());
  gst_element_set_state(pipeline_.get(), GST_STATE_NULL);
}

bool Generator::start(std::string* error) {
  const auto rate = frame_rate_of_model(options_.model, error);
  if (!rate) return false;
  const unsigned distance = rate->frames_in(keyframe_seconds);
  const GstPtr<GstClock> clock(gst_system_clock_obtain());
  base_time_ = gst_clock_get_time(clock.get());
  const bool with_sound = !options_.rtmp.empty() || !options_.srt.empty();
  pipeline_ = make_pipeline(beginning() + " ! tee name=split" +
                                branch(vp8_encoder(options_.bitrate, distance), "vp8") +
                                branch(h264_encoder(options_.bitrate, distance) + browser_profile, "h264") +
                                (with_sound ? sound_branch() : ""),
                            base_time_, error);
  if (!pipeline_) return false;
  source_ = child(pipeline_.get(), "source");
  policy_ = options_.cache;
  g_object_set(source_, "prompt", options_.prompt.c_str(), "seed", options_.seed, "stats-interval",
               stats_interval, "cache-threshold", options_.cache_threshold, nullptr);
  if (!options_.model.empty()) g_object_set(source_, "model", options_.model.c_str(), nullptr);
  if (!policy_.empty()) g_object_set(source_, "cache", policy_.c_str(), nullptr);
  if (!options_.devices.empty()) g_object_set(source_, "devices", options_.devices.c_str(), nullptr);
  if (!options_.workers_at.empty()) g_object_set(source_, "listen", options_.workers_at.c_str(), nullptr);
  if (!options_.on_lost_rank.empty())
    g_object_set(source_, "on-lost-rank", options_.on_lost_rank.c_str(), nullptr);
  vp8_ = std::make_unique<Tap>(child(pipeline_.get(), "vp8"), child(pipeline_.get(), "vp8-valve"));
  h264_ = std::make_unique<Tap>(child(pipeline_.get(), "h264"), child(pipeline_.get(), "h264-valve"));
  if (with_sound)
    sound_ = std::make_unique<Tap>(child(pipeline_.get(), "sound"), child(pipeline_.get(), "sound-valve"));
  const GstPtr<GstPad> pad(gst_element_get_static_pad(source_, "src"));
  gst_pad_add_probe(pad.get(), GST_PAD_PROBE_TYPE_BUFFER, on_buffer, this, nullptr);
  const GstPtr<GstBus> bus(gst_element_get_bus(pipeline_.get()));
  gst_bus_add_watch(bus.get(), on_bus, this);
  if (takes_strength() && !make_feeder(error)) return false;
  gst_element_set_state(pipeline_.get(), GST_STATE_PLAYING);  // a failure is told on the bus
  return true;
}

// The filter's frames come a chunk at a time; clocksync lets each go at its time.
std::string Generator::beginning() const {
  if (takes_strength())
    return "appsrc name=input is-live=true format=time max-bytes=0 max-buffers=4 leaky-type=downstream"
           " ! flowcachefilter name=source report-chunks=true strength=1 ! clocksync";
  const std::string size = options_.width == 0 ? ""
                                               : " ! video/x-raw,width=" + std::to_string(options_.width) +
                                                     ",height=" + std::to_string(options_.height);
  return "flowcachesrc name=source report-chunks=true" + size;
}

bool Generator::make_feeder(std::string* error) {
  const CapsPtr caps(picture_of_model(options_.model, options_.width, options_.height, error));
  if (!caps) return false;
  GstElement* input = child(pipeline_.get(), "input");
  g_object_set(input, "caps", caps.get(), nullptr);
  feeder_ = std::make_shared<FrameFeeder>(input, source_, caps.get(), base_time_);
  feeder_->set_strength(options_.strength);
  return true;
}

GstClockTime Generator::running_time() const {
  const GstPtr<GstClock> clock(gst_system_clock_obtain());
  return gst_clock_get_time(clock.get()) - base_time_;
}

bool Generator::flowing() const {
  return last_frame_ != 0 && g_get_monotonic_time() - last_frame_ < 5 * G_USEC_PER_SEC;
}

StructurePtr Generator::stats() const {
  GstStructure* stats = nullptr;
  g_object_get(source_, "stats", &stats, nullptr);
  return StructurePtr(stats);
}

bool Generator::prompt(const std::string& text, unsigned blend_chunks, GstClockTime at) {
  gboolean taken = FALSE;
  g_signal_emit_by_name(source_, "set-prompt", text.c_str(), blend_chunks, at, &taken);
  return taken;
}

void Generator::reset(uint64_t seed) {
  g_signal_emit_by_name(source_, "reset", seed);
}

void Generator::set_cache_threshold(double threshold) {
  g_object_set(source_, "cache-threshold", threshold, nullptr);
}

void Generator::set_guidance_scale(double scale) {
  g_object_set(source_, "guidance-scale", scale, nullptr);
}

void Generator::set_strength(double strength) {
  feeder_->set_strength(strength);
}

bool Generator::change_policy(const std::string& policy) {
  if (changing_) return false;
  changing_ = true;
  policy_before_ = policy_;
  policy_problem_.clear();
  restart_with(policy);
  return true;
}

void Generator::restart_with(const std::string& policy) {
  policy_ = policy;
  stopping_ = true;
  // The change to READY may wait until the engine has finished a step. The main loop must not wait, so this
  // runs on another thread.
  gst_element_call_async(
      pipeline_.get(),
      [](GstElement* pipeline, gpointer data) {
        const auto& wanted = *static_cast<std::string*>(data);
        gst_element_set_state(pipeline, GST_STATE_READY);
        GstElement* source = child(pipeline, "source");
        g_object_set(source, "cache", wanted.empty() ? nullptr : wanted.c_str(), nullptr);
        gst_element_post_message(
            pipeline, gst_message_new_application(GST_OBJECT(pipeline), gst_structure_new_empty(run_begins)));
        gst_element_set_state(pipeline, GST_STATE_PLAYING);
      },
      new std::string(policy), [](gpointer data) { delete static_cast<std::string*>(data); });
}

// The first chunk after a change has come.
void Generator::restarted() {
  changing_ = false;
  vp8_->request_keyframe();
  h264_->request_keyframe();
  listener_.on_policy(policy_, policy_problem_);
}

gboolean Generator::on_bus(GstBus*, GstMessage* message, gpointer self) {
  static_cast<Generator*>(self)->on_message(message);
  return G_SOURCE_CONTINUE;
}

GstPadProbeReturn Generator::on_buffer(GstPad*, GstPadProbeInfo* info, gpointer self) {
  auto* generator = static_cast<Generator*>(self);
  generator->last_frame_ = g_get_monotonic_time();
  GstCustomMeta* meta = gst_buffer_get_custom_meta(GST_PAD_PROBE_INFO_BUFFER(info), "FlowCacheMeta");
  guint frames = 0;
  if (meta != nullptr && gst_structure_get_uint(gst_custom_meta_get_structure(meta), "frames", &frames)) {
    if (generator->frames_per_chunk_.exchange(frames) != frames && generator->feeder_)
      generator->feeder_->set_chunk(frames);
  }
  return GST_PAD_PROBE_OK;
}

void Generator::on_message(GstMessage* message) {
  switch (GST_MESSAGE_TYPE(message)) {
    case GST_MESSAGE_APPLICATION:
      if (gst_message_has_name(message, run_begins)) stopping_ = false;
      break;
    case GST_MESSAGE_ELEMENT: {
      const GstStructure* report = gst_message_get_structure(message);
      if (report == nullptr || !g_str_has_prefix(gst_structure_get_name(report), "flowcache-")) break;
      if (changing_ && !stopping_ && gst_structure_has_name(report, "flowcache-chunk")) restarted();
      listener_.on_report(report);
      break;
    }
    case GST_MESSAGE_WARNING:
      listener_.on_warning(text_of(message, gst_message_parse_warning));
      break;
    case GST_MESSAGE_ERROR:
      if (!stopping_) on_error(text_of(message, gst_message_parse_error));
      break;
    case GST_MESSAGE_EOS:
      if (!stopping_) listener_.on_failure("the stream has ended");
      break;
    case GST_MESSAGE_LATENCY:
      gst_bin_recalculate_latency(GST_BIN(pipeline_.get()));
      break;
    default:
      break;
  }
}

void Generator::on_error(const std::string& text) {
  if (changing_ && policy_problem_.empty()) {  // the new policy caused it
    policy_problem_ = text;
    restart_with(policy_before_);
  } else {
    listener_.on_failure(text);
  }
}

}  // namespace flowcache::live
