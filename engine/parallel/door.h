// SPDX-License-Identifier: LGPL-2.1-or-later
// How a worker on another machine comes to rank 0: a TCP port at which only those get in that know the token. Neither side
// says it: each proves that it has it (HMAC-SHA256 over random numbers of both). What is said later is not encrypted.
#pragma once

#include <chrono>
#include <string>

#include "parallel/channel.h"

namespace flowcache {

struct Address {
  std::string host;
  uint16_t port = 0;
  // Reads "HOST:PORT" or "[HOST]:PORT". Throws FC_ERROR_ARGUMENT.
  static Address parse(const std::string& text);
};

// FLOWCACHE_TOKEN, or the first line of the file that FLOWCACHE_TOKEN_FILE names; "" if neither is set. Throws
// FC_ERROR_NOT_FOUND if the file cannot be read, FC_ERROR_ARGUMENT for a token of less than 16 characters.
std::string token_of_environment();

// 128 random bits.
std::string random_text();

// A listening socket at this address, of which port 0 means any. The caller closes it. Throws FC_ERROR_ARGUMENT.
int listen_at(const Address& address);
// The address of a socket's own end.
Address own_address(int socket);

class Door {
 public:
  Door(const Address& address, std::string token);
  ~Door();
  Door(const Door&) = delete;
  Door& operator=(const Door&) = delete;
  Address address() const { return own_address(socket_); }
  // The next worker that has the token; a closed channel if none came for `patience`. Strangers are turned away, with a
  // line in the log.
  Channel let_in(std::chrono::milliseconds patience);

 private:
  int socket_;
  std::string token_;
};

// Goes to a door. Throws FC_ERROR_DEVICE if there is none, or if either side does not know the other's token.
Channel knock_at(const Address& address, const std::string& token);

}  // namespace flowcache
