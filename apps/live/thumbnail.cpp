// SPDX-License-Identifier: LGPL-2.1-or-later
#include "thumbnail.h"

#include <gst/app/app.h>

#include <algorithm>
#include <utility>

namespace flowcache::live {

std::unique_ptr<Thumbnail> Thumbnail::make(const GstCaps* caps, std::string* error) {
  int wide = 1, high = 1;
  gst_structure_get_int(gst_caps_get_structure(caps, 0), "width", &wide);
  gst_structure_get_int(gst_caps_get_structure(caps, 0), "height", &high);
  const auto height = std::max<guint64>(2, gst_util_uint64_scale_int_round(width, high, wide) / 2 * 2);
  const TextPtr text(gst_caps_to_string(caps));
  std::unique_ptr<Thumbnail> thumbnail(new Thumbnail);
  thumbnail->pipeline_ = make_pipeline(
      "appsrc name=in is-live=true format=time do-timestamp=true max-buffers=1 leaky-type=downstream ! "
      "videoconvertscale ! video/x-raw,width=" +
          std::to_string(width) + ",height=" + std::to_string(height) +
          " ! jpegenc ! appsink name=out sync=false async=false max-buffers=1 drop=true",
      0, error);
  if (!thumbnail->pipeline_) return nullptr;
  g_object_set(child(thumbnail->pipeline_.get(), "in"), "caps", caps, nullptr);
  GstAppSinkCallbacks callbacks{};
  callbacks.new_sample = [](GstAppSink* sink, gpointer held) {
    const SamplePtr sample(gst_app_sink_pull_sample(sink));
    GstMapInfo map;
    if (!sample || !gst_buffer_map(gst_sample_get_buffer(sample.get()), &map, GST_MAP_READ))
      return GST_FLOW_EOS;
    Shared& shared = **static_cast<std::shared_ptr<Shared>*>(held);
    {
      std::lock_guard lock(shared.mutex);
      if (shared.wanted) shared.jpeg.assign(reinterpret_cast<const char*>(map.data), map.size);
    }
    gst_buffer_unmap(gst_sample_get_buffer(sample.get()), &map);
    return GST_FLOW_OK;
  };
  gst_app_sink_set_callbacks(GST_APP_SINK(child(thumbnail->pipeline_.get(), "out")), &callbacks,
                             new std::shared_ptr<Shared>(thumbnail->shared_),
                             [](gpointer held) { delete static_cast<std::shared_ptr<Shared>*>(held); });
  gst_element_set_state(thumbnail->pipeline_.get(), GST_STATE_PLAYING);
  return thumbnail;
}

Thumbnail::~Thumbnail() {
  if (pipeline_) gst_element_set_state(pipeline_.get(), GST_STATE_NULL);
}

void Thumbnail::show(GstBuffer* picture) {
  {
    std::lock_guard lock(shared_->mutex);
    shared_->wanted = picture != nullptr;
    if (picture == nullptr) shared_->jpeg.clear();
  }
  if (picture == nullptr) return;
  GstBuffer* copy = gst_buffer_copy(picture);
  gst_buffer_unref(picture);
  GST_BUFFER_PTS(copy) = GST_BUFFER_DTS(copy) = GST_CLOCK_TIME_NONE;
  gst_app_src_push_buffer(GST_APP_SRC(child(pipeline_.get(), "in")), copy);
}

std::string Thumbnail::jpeg() const {
  std::lock_guard lock(shared_->mutex);
  return shared_->jpeg;
}

}  // namespace flowcache::live
