// SPDX-License-Identifier: LGPL-2.1-or-later
// How the engine refuses an input: by flowcache::Error with a sentence, and by nothing else.
#pragma once

#include <string>

#include "base/error.h"
#include "fuzz.h"

namespace flowcache::fuzz {

// Whether `body` threw an Error.
template <typename Body>
bool refused(Body&& body) {
  try {
    body();
    return false;
  } catch (const Error& error) {
    FUZZ_REQUIRE(std::string_view(error.what()).size() > 0);
    FUZZ_REQUIRE_WITH(std::string_view(error.what()).size() < 1 << 20, "a message that nobody can read");
    FUZZ_REQUIRE_WITH(error.status() != FC_ERROR_INTERNAL, error.what());
    return true;
  } catch (const std::exception& error) {
    broken("only flowcache::Error is thrown", __FILE__, __LINE__,
           std::string(typeid(error).name()) + ": " + error.what());
  }
}

}  // namespace flowcache::fuzz
