// SPDX-License-Identifier: LGPL-2.1-or-later
// The command line of flowcache-live.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gate.h"
#include "ice.h"

namespace flowcache::live {

struct Options {
  std::string prompt = "slow green aurora over mountains";
  std::string model, cache;
  std::string devices, workers_at, on_lost_rank;  // as `devices`, `listen` and `on-lost-rank` of flowcachesrc
  double cache_threshold = -1;                    // -1: the model's default
  unsigned width = 0, height = 0;                 // of the picture; 0: the model's
  uint64_t seed = 1;
  std::string input;       // camera, test or a URI; empty: nothing is repainted
  double strength = 0.87;  // how much of the input is painted over
  std::string bind = "127.0.0.1";
  std::string token;              // empty: no token is needed
  std::vector<IceServer> ice;     // STUN and TURN servers
  std::string turn_secret;        // for TURN servers in `ice` that have no user: passwords that expire
  std::string tls_cert, tls_key;  // PEM files; both empty: plain HTTP
  Site public_site;
  uint16_t port = 8080;
  unsigned seconds = 0;  // 0: until a signal comes
  unsigned max_viewers = 16, max_connections = 64;
  unsigned bitrate = 1500;  // kbit/s of each encoder
  std::string rtmp, srt, whip, whip_token;
};

// Returns none if the command line is wrong, with a sentence on stderr. *status is the exit status then.
// `--help` is printed to stdout and ends the program.
std::optional<Options> parse_options(int argc, char** argv, int* status);

// STUN and TURN servers for one connection. With a secret, TURN servers get passwords that are valid for a
// day.
std::vector<IceServer> ice_servers(const Options& options);

// True if only this machine can reach the address.
bool is_loopback(const std::string& address);

}  // namespace flowcache::live
