// SPDX-License-Identifier: LGPL-2.1-or-later
#include "package/fields.h"

#include <algorithm>
#include <sstream>

#include "base/error.h"
#include "package/strict_json.h"

namespace flowcache {

using nlohmann::json;

namespace {

// How many letters must be inserted, deleted, replaced or exchanged with a neighbour to make one
// word of the other.
size_t edits(const std::string& a, const std::string& b) {
  std::vector<std::vector<size_t>> table(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i)
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        table[i][j] = i + j;
        continue;
      }
      table[i][j] =
          std::min({table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        table[i][j] = std::min(table[i][j], table[i - 2][j - 2] + 1);
    }
  return table.back().back();
}

// The known name that is most like `name`; "" if none is like it.
std::string nearest(const std::string& name, const Fields::Names& known) {
  std::string best;
  size_t fewest = std::max<size_t>(1, name.size() / 3) + 1;
  for (const std::string& one : known)
    if (const size_t count = edits(name, one); count < fewest) {
      fewest = count;
      best = one;
    }
  return best;
}

bool is_note(const std::string& name) {
  return name.starts_with("_");
}

}  // namespace

Fields::Fields(const json& object, std::string file, std::string path)
    : object_(object), file_(std::move(file)), path_(std::move(path)) {
  if (!object_.is_object())
    throw Error(FC_ERROR_MODEL, file_ + ": " + (path_.empty() ? "the document" : path_) + " is " +
                                    shorten(object_) + "; wanted an object");
}

void Fields::fail(const std::string& name, const std::string& wanted) const {
  const std::string full = path_.empty() ? name : path_ + "." + name;
  const std::string is = object_.contains(name) ? "is " + shorten(object_[name]) : "is missing";
  throw Error(FC_ERROR_MODEL, file_ + ": " + full + " " + is + "; wanted " + wanted);
}

void Fields::unknown(const std::string& name, const std::string& remedy) const {
  throw Error(FC_ERROR_MODEL, file_ + ": " + (path_.empty() ? name : path_ + "." + name) +
                                  " is no field that is known; " + remedy);
}

void Fields::only(const Names& known) const {
  for (const auto& [name, value] : object_.items()) {
    if (is_note(name) || std::find(known.begin(), known.end(), name) != known.end()) continue;
    const std::string near = nearest(name, known);
    if (!near.empty()) unknown(name, "is it \"" + near + "\"?");
    std::string all;
    for (const std::string& one : known) all += (all.empty() ? "" : ", ") + one;
    unknown(name, "there are " + all + "; a note begins with \"_\"");
  }
}

void Fields::none_like(const Names& known) const {
  for (const auto& [name, value] : object_.items()) {
    if (is_note(name) || std::find(known.begin(), known.end(), name) != known.end()) continue;
    const std::string near = nearest(name, known);
    if (!near.empty() && !object_.contains(near))
      unknown(name, "is it \"" + near + "\"? A note begins with \"_\"");
  }
}

int64_t Fields::integer(const char* name, int64_t least, int64_t most,
                        std::optional<int64_t> fallback) const {
  if (!has(name) && fallback) return *fallback;
  const json value = has(name) ? object_[name] : json();
  const bool fits = value.is_number_integer() && (!value.is_number_unsigned() ||
                                                  value.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX));
  if (!fits || value.get<int64_t>() < least || value.get<int64_t>() > most)
    fail(name, "a whole number from " + std::to_string(least) + " to " + std::to_string(most));
  return value.get<int64_t>();
}

double Fields::number(const char* name, double least, double most, std::optional<double> fallback) const {
  if (!has(name) && fallback) return *fallback;
  const json value = has(name) ? object_[name] : json();
  if (!value.is_number() || !(value.get<double>() >= least) || !(value.get<double>() <= most)) {
    std::ostringstream wanted;
    wanted << "a number from " << least << " to " << most;
    fail(name, wanted.str());
  }
  return value.get<double>();
}

bool Fields::boolean(const char* name, bool fallback) const {
  if (!has(name)) return fallback;
  if (!object_[name].is_boolean()) fail(name, "true or false");
  return object_[name].get<bool>();
}

std::string Fields::string(const char* name, size_t longest, std::optional<std::string> fallback) const {
  if (!has(name) && fallback) return *fallback;
  const json value = has(name) ? object_[name] : json();
  const bool fits = value.is_string() && value.get_ref<const std::string&>().size() <= longest &&
                    value.get_ref<const std::string&>().find('\0') == std::string::npos;
  if (!fits || (!fallback && value.get_ref<const std::string&>().empty()))
    fail(name,
         std::string(fallback ? "text" : "a text") + " of at most " + std::to_string(longest) + " bytes");
  return value.get<std::string>();
}

std::vector<int64_t> Fields::integers(const char* name, int64_t least, int64_t most) const {
  const std::string wanted =
      "a list of whole numbers from " + std::to_string(least) + " to " + std::to_string(most);
  if (!has(name) || !object_[name].is_array()) fail(name, wanted);
  std::vector<int64_t> out;
  for (const json& one : object_[name]) {
    if (!one.is_number_integer() || one.get<int64_t>() < least || one.get<int64_t>() > most)
      fail(name, wanted);
    out.push_back(one.get<int64_t>());
  }
  return out;
}

Fields Fields::object(const char* name, bool optional) const {
  static const json empty = json::object();
  if (!has(name)) {
    if (!optional) fail(name, "an object");
    return {empty, file_, path_.empty() ? name : path_ + "." + name};
  }
  return {object_[name], file_, path_.empty() ? name : path_ + "." + name};
}

}  // namespace flowcache
