// SPDX-License-Identifier: LGPL-2.1-or-later
// Addresses of streams as they may be shown: they can hold keys and passwords. Pure functions.
#pragma once

#include <string>

namespace flowcache {

// scheme://host:port of an address. A file's is shown whole.
std::string without_secrets(const std::string& address);

// A message without the stream's key, since some elements print it: what follows the last slash of the address,
// or its query. Also without the user and the password in the address.
std::string without_key(std::string text, const std::string& address);

}  // namespace flowcache
