// SPDX-License-Identifier: LGPL-2.1-or-later
// Typed, bounded access to the fields of a JSON object from a file. Every failure is one FC_ERROR_MODEL that
// names the file, the field's path, the value and what is wanted.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace flowcache {

// A view of `object`, which must outlive it.
class Fields {
 public:
  using Names = std::vector<std::string>;
  // file: for messages. path: of the object inside the document, "" for the root.
  Fields(const nlohmann::json& object, std::string file, std::string path);

  bool has(const char* name) const { return object_.contains(name); }
  const nlohmann::json& raw() const { return object_; }

  // The value, which must be there and lie in [least, most]; with a fallback, the fallback where it is
  // absent.
  int64_t integer(const char* name, int64_t least, int64_t most, std::optional<int64_t> fallback = {}) const;
  double number(const char* name, double least, double most, std::optional<double> fallback = {}) const;
  bool boolean(const char* name, bool fallback) const;
  // longest: bytes. Without a fallback it must not be empty.
  std::string string(const char* name, size_t longest, std::optional<std::string> fallback = {}) const;
  std::vector<int64_t> integers(const char* name, int64_t least, int64_t most) const;
  // A nested object; with optional = true, an empty one where it is absent.
  Fields object(const char* name, bool optional = false) const;

  // A field that is none of these must not be passed over: FC_ERROR_MODEL names it and the known one that is
  // most like it. Names that begin with "_" are notes.
  void only(const Names& known) const;
  // For configs that others publish, which have fields that nobody here reads: only those are refused that
  // look like one of these, misspelt, and stand in its place.
  void none_like(const Names& known) const;

  [[noreturn]] void fail(const std::string& name, const std::string& wanted) const;

 private:
  [[noreturn]] void unknown(const std::string& name, const std::string& remedy) const;
  const nlohmann::json& object_;
  std::string file_, path_;
};

}  // namespace flowcache
