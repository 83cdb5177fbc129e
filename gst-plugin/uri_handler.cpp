// SPDX-License-Identifier: LGPL-2.1-or-later
#include "uri_handler.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "flowcachesrc.h"

namespace flowcache::gst {
namespace {

constexpr const char* kProtocol = "flowcache";

/// A property's value for as long as this lives.
class Value {
 public:
  explicit Value(const GParamSpec* spec) { g_value_init(&value_, spec->value_type); }
  ~Value() { g_value_unset(&value_); }
  Value(const Value&) = delete;
  Value& operator=(const Value&) = delete;
  GValue* get() { return &value_; }

 private:
  GValue value_ = G_VALUE_INIT;
};

struct Assignment {
  GParamSpec* spec;
  std::unique_ptr<Value> value;
};

bool is_parameter(const GParamSpec* spec) {
  if ((spec->flags & G_PARAM_WRITABLE) == 0 || g_str_equal(spec->name, "do-timestamp")) return false;
  return spec->owner_type == FLOWCACHE_TYPE_SRC || g_str_equal(spec->name, "num-buffers");
}

std::vector<GParamSpec*> parameters(GObject* object) {
  guint count = 0;
  g_autofree GParamSpec** specs = g_object_class_list_properties(G_OBJECT_GET_CLASS(object), &count);
  std::vector<GParamSpec*> found(specs, specs + count);
  std::erase_if(found, [](const GParamSpec* spec) { return !is_parameter(spec); });
  return found;
}

/// False if the text is no value of this property, or one outside its range.
bool parse(const char* text, GParamSpec* spec, GValue* value) {
  if (G_IS_PARAM_SPEC_STRING(spec)) {
    g_value_set_string(value, text);
    return true;
  }
  return gst_value_deserialize(value, text) && !g_param_value_validate(spec, value);
}

/// One parameter of a URI; nothing, with an error, if the element has none of that name and value.
std::unique_ptr<Value> value_for(GParamSpec* spec, const char* name, const char* text, GError** error) {
  if (spec == nullptr || !is_parameter(spec)) {
    g_set_error(error, GST_URI_ERROR, GST_URI_ERROR_BAD_REFERENCE,
                "flowcache: URIs have no parameter \"%s\": parameters are properties of flowcachesrc, and "
                "num-buffers",
                name);
    return nullptr;
  }
  auto value = std::make_unique<Value>(spec);
  if (text != nullptr && parse(text, spec, value->get())) return value;
  g_set_error(error, GST_URI_ERROR, GST_URI_ERROR_BAD_REFERENCE,
              "\"%s\" is no %s: see gst-inspect-1.0 flowcachesrc", text == nullptr ? "" : text, name);
  return nullptr;
}

bool read_parameters(GObject* object, const GstUri* uri, std::vector<Assignment>* assignments,
                     GError** error) {
  GList* names = gst_uri_get_query_keys(uri);
  bool good = true;
  for (GList* one = names; one != nullptr && good; one = one->next) {
    const auto* name = static_cast<const char*>(one->data);
    GParamSpec* spec = g_object_class_find_property(G_OBJECT_GET_CLASS(object), name);
    auto value = value_for(spec, name, gst_uri_get_query_value(uri, name), error);
    good = value != nullptr;
    if (good) assignments->push_back({spec, std::move(value)});
  }
  g_list_free(names);
  return good;
}

gboolean set_uri(GstURIHandler* handler, const char* text, GError** error) {
  GObject* object = G_OBJECT(handler);
  if (GST_STATE(handler) > GST_STATE_READY) {
    g_set_error(error, GST_URI_ERROR, GST_URI_ERROR_BAD_STATE, "a URI can be set in NULL and READY only");
    return FALSE;
  }
  GstUri* uri = gst_uri_from_string(text);
  if (uri == nullptr || g_strcmp0(gst_uri_get_scheme(uri), kProtocol) != 0 ||
      gst_uri_get_host(uri) != nullptr || gst_uri_get_path_segments(uri) != nullptr) {
    g_set_error(error, GST_URI_ERROR, GST_URI_ERROR_BAD_URI,
                "\"%s\" is not flowcache:?prompt=TEXT&seed=NUMBER…", text);
    if (uri != nullptr) gst_uri_unref(uri);
    return FALSE;
  }
  std::vector<Assignment> assignments;
  const bool good = read_parameters(object, uri, &assignments, error);
  gst_uri_unref(uri);
  if (!good) return FALSE;
  for (const Assignment& one : assignments) g_object_set_property(object, one.spec->name, one.value->get());
  return TRUE;
}

std::string serialized(GValue* value) {
  if (G_VALUE_HOLDS_STRING(value))
    return g_value_get_string(value) == nullptr ? "" : g_value_get_string(value);
  g_autofree char* text = gst_value_serialize(value);
  return text == nullptr ? "" : text;
}

char* get_uri(GstURIHandler* handler) {
  std::string uri = std::string(kProtocol) + ":";
  char separator = '?';
  for (GParamSpec* spec : parameters(G_OBJECT(handler))) {
    Value value(spec);
    g_object_get_property(G_OBJECT(handler), spec->name, value.get());
    if (g_param_value_defaults(spec, value.get())) continue;
    g_autofree char* escaped = g_uri_escape_string(serialized(value.get()).c_str(), nullptr, FALSE);
    uri += std::exchange(separator, '&') + std::string(spec->name) + "=" + escaped;
  }
  return g_strdup(uri.c_str());
}

GstURIType get_type(GType) {
  return GST_URI_SRC;
}

const char* const* get_protocols(GType) {
  static const char* const protocols[] = {kProtocol, nullptr};
  return protocols;
}

}  // namespace

void install_uri_handler(gpointer interface, gpointer) {
  auto* handler = static_cast<GstURIHandlerInterface*>(interface);
  handler->get_type = get_type;
  handler->get_protocols = get_protocols;
  handler->get_uri = get_uri;
  handler->set_uri = set_uri;
}

}  // namespace flowcache::gst
