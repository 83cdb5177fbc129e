// SPDX-License-Identifier: LGPL-2.1-or-later
#include "caps_mismatch.h"

#include <vector>

#include "memory_kind.h"

namespace flowcache::gst {
namespace {

std::string in_words(const GValue* value) {
  if (GST_VALUE_HOLDS_INT_RANGE(value) && gst_value_get_int_range_step(value) > 1) {
    return std::to_string(gst_value_get_int_range_min(value)) + " to " +
           std::to_string(gst_value_get_int_range_max(value)) + " in steps of " +
           std::to_string(gst_value_get_int_range_step(value));
  }
  if (GST_VALUE_HOLDS_LIST(value) && gst_value_list_get_size(value) > 2) {  // of rates
    const guint last = gst_value_list_get_size(value) - 1;
    return in_words(gst_value_list_get_value(value, 0)) + " or a whole multiple, up to " +
           in_words(gst_value_list_get_value(value, last));
  }
  g_autofree char* text = gst_value_serialize(value);
  return text == nullptr ? "?" : text;
}

/// What of a range in steps comes nearest to a number outside of it; else nothing.
std::string nearest(const GValue* range, const GValue* number) {
  if (!GST_VALUE_HOLDS_INT_RANGE(range) || !G_VALUE_HOLDS_INT(number)) return "";
  const int least = gst_value_get_int_range_min(range), most = gst_value_get_int_range_max(range);
  const int step = gst_value_get_int_range_step(range);
  const int below = CLAMP(g_value_get_int(number) / step * step, least, most);
  const int above = MIN(below + step, most);
  const bool between = g_value_get_int(number) > below && above > below;
  return " (nearest: " + std::to_string(below) + (between ? " and " + std::to_string(above) : "") + ")";
}

/// The fields of `ours` that `theirs` has too and cannot agree on, as "width: the model gives 320, …".
std::vector<std::string> disagreements(const GstStructure* ours, const GstStructure* theirs) {
  std::vector<std::string> found;
  for (gint i = 0; i < gst_structure_n_fields(ours); ++i) {
    const char* field = gst_structure_nth_field_name(ours, i);
    const GValue* wanted = gst_structure_get_value(theirs, field);
    const GValue* given = gst_structure_get_value(ours, field);
    if (wanted == nullptr || gst_value_intersect(nullptr, given, wanted)) continue;
    found.push_back(std::string(field) + ": the model gives " + in_words(given) + ", downstream accepts " +
                    in_words(wanted) + nearest(given, wanted));
  }
  return found;
}

}  // namespace

std::string explain_mismatch(const GstCaps* ours, const GstCaps* theirs) {
  if (gst_caps_is_empty(theirs)) return "downstream accepts nothing at all";
  std::vector<std::string> best;
  std::string media;
  for (guint j = 0; j < gst_caps_get_size(theirs); ++j) {
    const GstStructure* wanted = gst_caps_get_structure(theirs, j);
    if (!gst_caps_features_is_equal(gst_caps_get_features(theirs, j),
                                    GST_CAPS_FEATURES_MEMORY_SYSTEM_MEMORY) ||
        !gst_structure_has_name(wanted, "video/x-raw")) {
      g_autofree char* features = gst_caps_features_to_string(gst_caps_get_features(theirs, j));
      media = std::string(gst_structure_get_name(wanted)) + "(" + features + ")";
      continue;
    }
    for (guint i = 0; i < gst_caps_get_size(ours); ++i) {
      auto fields = disagreements(gst_caps_get_structure(ours, i), wanted);
      if (!fields.empty() && (best.empty() || fields.size() < best.size())) best = std::move(fields);
    }
  }
  if (best.empty()) {
    return "media type: the model gives video/x-raw in system memory, downstream accepts " +
           (media.empty() ? "something else" : media);
  }
  std::string text;
  for (const std::string& field : best) text += (text.empty() ? "" : "; ") + field;
  return text;
}

}  // namespace flowcache::gst
