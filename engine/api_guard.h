// SPDX-License-Identifier: LGPL-2.1-or-later
// What api*.cpp share. No exception leaves these functions.
#pragma once

#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>

#include <cstring>
#include <new>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/headroom.h"
#include "base/log.h"
#include "base/process_end.h"

namespace flowcache {

// Stores or returns the calling thread's last error message.
fc_status remember(fc_status status, std::string_view message) noexcept;
const char* remembered() noexcept;

// True if this thread has called before, or if there is memory for what its first call needs.
bool may_enter() noexcept;

// Runs `body`. Turns whatever it throws into a status and a message.
template <class Body>
fc_status guarded(Body&& body) noexcept {
  const Stay stay;
  if (!stay) return remember(FC_ENDED, process_ends);
  if (!may_enter()) return remember(FC_ERROR_MEMORY, out_of_memory);
  try {
    // The tensors of models and streams are made in this mode and can be changed only in this mode.
    const c10::InferenceMode inference;
    body();
    return FC_OK;
  } catch (const Error& error) {
    return remember(error.status(), error.what());
  } catch (const c10::OutOfMemoryError& error) {
    return remember(FC_ERROR_MEMORY, error.what_without_backtrace());
  } catch (const c10::Error& error) {
    const std::string_view said = error.what_without_backtrace();
    if (said.find("can't allocate memory") == said.npos) return remember(FC_ERROR_INTERNAL, said);
    return remember(FC_ERROR_MEMORY, out_of_memory);  // the CPU's allocator throws no type of its own
  } catch (const std::bad_alloc&) {
    return remember(FC_ERROR_MEMORY, out_of_memory);
  } catch (const std::exception& error) {
    return remember(FC_ERROR_INTERNAL, error.what());
  } catch (...) {
    return remember(FC_ERROR_INTERNAL, "an unknown exception");
  }
}

// Copies a caller's struct, which has from->size bytes and may be older or newer than ours, into ours.
// Missing fields are zero.
template <class Struct>
Struct read_struct(const Struct* from, const char* what) {
  if (!from) throw Error(FC_ERROR_ARGUMENT, std::string(what) + " is NULL");
  if (from->size < sizeof(size_t))
    throw Error(FC_ERROR_ARGUMENT, std::string(what) + "->size is " + std::to_string(from->size) +
                                       ": set it to sizeof(*" + what + ")");
  Struct copy{};
  std::memcpy(&copy, from, std::min(from->size, sizeof(Struct)));
  return copy;
}

// Copies our struct into a caller's, as many bytes as theirs has.
template <class Struct>
void write_struct(Struct* to, Struct ours, const char* what) {
  if (!to) throw Error(FC_ERROR_ARGUMENT, std::string(what) + " is NULL");
  if (to->size < sizeof(size_t))
    throw Error(FC_ERROR_ARGUMENT, std::string(what) + "->size is " + std::to_string(to->size) +
                                       ": set it to sizeof(*" + what + ")");
  ours.size = std::min(to->size, sizeof(Struct));
  std::memcpy(to, &ours, ours.size);
}

inline std::string text(const char* value) {
  return value ? value : "";
}
inline void copy_text(char* to, size_t capacity, std::string_view from) {
  const size_t length = std::min(capacity - 1, from.size());
  std::memcpy(to, from.data(), length);
  to[length] = '\0';
}

}  // namespace flowcache
