// SPDX-License-Identifier: LGPL-2.1-or-later
#include "intake.h"

#include <gst/app/app.h>
#include <gst/video/video.h>

#include <utility>

namespace flowcache::live {

// The queue drops a camera's frames when fitting them takes too long; a file waits for the clock. The rate is the
// feeder's matter.
std::string Intake::line(const GstCaps* caps, bool clock) {
  const CapsPtr fitted(gst_caps_copy(caps));
  GstStructure* structure = gst_caps_get_structure(fitted.get(), 0);
  gst_structure_remove_field(structure, "framerate");
  int width = 1, height = 1;
  gst_structure_get_int(structure, "width", &width);
  gst_structure_get_int(structure, "height", &height);
  const TextPtr text(gst_caps_to_string(fitted.get()));
  return std::string("queue max-size-buffers=3 max-size-bytes=0 max-size-time=0 leaky=") +
         (clock ? "no" : "downstream") + " ! aspectratiocrop name=fit aspect-ratio=" + std::to_string(width) +
         "/" + std::to_string(height) + " ! videoconvertscale ! " + text.get() +
         " ! appsink name=frames max-buffers=2 drop=true async=false enable-last-sample=false sync=" +
         (clock ? "true" : "false");
}

Intake::Intake(GstElement* pipeline, std::shared_ptr<FrameFeeder> feeder)
    : shared_(std::make_shared<Shared>()) {
  shared_->feeder = std::move(feeder);
  const auto release = [](gpointer held) { delete static_cast<std::shared_ptr<Shared>*>(held); };
  GstAppSinkCallbacks callbacks{};
  callbacks.new_sample = [](GstAppSink* sink, gpointer held) {
    const SamplePtr sample(gst_app_sink_pull_sample(sink));
    if (!sample) return GST_FLOW_EOS;
    Shared& shared = **static_cast<std::shared_ptr<Shared>*>(held);
    if (!shared.open) return GST_FLOW_OK;
    ++shared.frames;
    shared.feeder->offer(gst_sample_get_buffer(sample.get()));
    return GST_FLOW_OK;
  };
  gst_app_sink_set_callbacks(GST_APP_SINK(child(pipeline, "frames")), &callbacks,
                             new std::shared_ptr<Shared>(shared_), release);
  const GstPtr<GstPad> pad(gst_element_get_static_pad(child(pipeline, "fit"), "sink"));
  gst_pad_add_probe(
      pad.get(), GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM,
      [](GstPad*, GstPadProbeInfo* info, gpointer held) {
        GstEvent* event = GST_PAD_PROBE_INFO_EVENT(info);
        if (GST_EVENT_TYPE(event) != GST_EVENT_CAPS) return GST_PAD_PROBE_OK;
        GstCaps* caps = nullptr;
        gst_event_parse_caps(event, &caps);
        int width = 0, height = 0;
        const GstStructure* structure = gst_caps_get_structure(caps, 0);
        if (gst_structure_get_int(structure, "width", &width) &&
            gst_structure_get_int(structure, "height", &height))
          (*static_cast<std::shared_ptr<Shared>*>(held))->size =
              static_cast<guint64>(width) << 32 | static_cast<guint64>(height);
        return GST_PAD_PROBE_OK;
      },
      new std::shared_ptr<Shared>(shared_), release);
}

Intake::~Intake() {
  shared_->open = false;
}

Intake::Size Intake::size() const {
  const guint64 size = shared_->size;
  return {static_cast<unsigned>(size >> 32), static_cast<unsigned>(size)};
}

}  // namespace flowcache::live
