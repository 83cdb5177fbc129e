// SPDX-License-Identifier: LGPL-2.1-or-later
// Reads the fields of a JSON object from a file, with their types and ranges. Each failure is FC_ERROR_MODEL,
// with the file, the field's path, the value and what is wanted.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace flowcache {

// A view of a JSON object, which must outlive it. Any thread.
class Fields {
 public:
  using Names = std::vector<std::string>;
  // file: named in messages. path: where the object is in the document; "" for the root.
  Fields(const nlohmann::json& object, std::string file, std::string path);

  bool has(const char* name) const { return object_.contains(name); }
  const nlohmann::json& raw() const { return object_; }

  // The value, which must lie in least..most. If the field is absent: the fallback, or a failure without one.
  int64_t integer(const char* name, int64_t least, int64_t most, std::optional<int64_t> fallback = {}) const;
  double number(const char* name, double least, double most, std::optional<double> fallback = {}) const;
  bool boolean(const char* name, bool fallback) const;
  // longest: in bytes. Without a fallback the string must not be empty.
  std::string string(const char* name, size_t longest, std::optional<std::string> fallback = {}) const;
  std::vector<int64_t> integers(const char* name, int64_t least, int64_t most) const;
  // A nested object. If it is absent: an empty one with optional, else a failure.
  Fields object(const char* name, bool optional = false) const;

  // Fails for any field that is not among `known`, and names the known field that is most like it. Fields
  // whose names begin with "_" are notes and are allowed.
  void only(const Names& known) const;
  // For configs of others, which also have fields that are not read here. Fails only for a field that looks
  // like a misspelling of a known field, where the known field is absent.
  void none_like(const Names& known) const;

  [[noreturn]] void fail(const std::string& name, const std::string& wanted) const;

 private:
  [[noreturn]] void unknown(const std::string& name, const std::string& remedy) const;
  const nlohmann::json& object_;
  std::string file_, path_;
};

}  // namespace flowcache
