// SPDX-License-Identifier: LGPL-2.1-or-later
#include "live_stubs.h"

#include <cmath>

#include "fuzz.h"
#include "sdp.h"

namespace flowcache::live {

// ---- in place of generator.cpp

Generator::~Generator() = default;

GstClockTime Generator::running_time() const {
  return 5 * GST_SECOND;
}

// Nothing begins a stream here, and nothing asks for its figures.
bool Generator::start(std::string*) {
  return {};
}

StructurePtr Generator::stats() const {
  return {};
}

bool Generator::flowing() const {
  return true;
}

bool Generator::prompt(const std::string& text, unsigned blend_chunks, GstClockTime at) {
  ++fuzz::reached().commands;
  FUZZ_REQUIRE(!text.empty() && text.size() <= Commands::most_prompt &&
               (blend_chunks <= 64 || blend_chunks == G_MAXUINT));
  FUZZ_REQUIRE(at == GST_CLOCK_TIME_NONE || at <= 2 * 86400 * GST_SECOND);
  return text.find("refused") == std::string::npos;
}

void Generator::reset(uint64_t seed) {
  ++fuzz::reached().commands;
  FUZZ_REQUIRE(seed <= G_MAXINT64);
}

void Generator::set_cache_threshold(double threshold) {
  ++fuzz::reached().commands;
  FUZZ_REQUIRE(threshold >= -1 && threshold <= 10);
}

void Generator::set_guidance_scale(double scale) {
  ++fuzz::reached().commands;
  FUZZ_REQUIRE(scale >= -1 && scale <= 50);
}

bool Generator::change_policy(const std::string& policy) {
  ++fuzz::reached().commands;
  FUZZ_REQUIRE(policy.size() <= Commands::most_policy);
  policy_ = policy;
  return true;
}

// ---- in place of peer.cpp: the same checks, without webrtcbin

std::shared_ptr<Peer> Peer::make(Tap& tap, const PeerConfig&, PeerEvents events, std::string*) {
  std::shared_ptr<Peer> peer(new Peer(tap, std::move(events)));
  peer->offered_ = true;
  peer->events_.offer("v=0");
  return peer;
}

Peer::~Peer() = default;

std::string Peer::local_sdp() const {
  return {};
}

std::string Peer::answer(const std::string& sdp) {
  if (answered_) return "the offer has been answered";
  if (std::string problem = problem_of_answer(sdp); !problem.empty()) return problem;
  answered_ = true;
  return "";
}

std::string Peer::add_candidate(unsigned mline, const std::string& candidate) {
  fuzz::reached().highest_line = std::max(fuzz::reached().highest_line, mline);
  if (!answered_) return "candidates come after the answer";
  if (mline != 0) return "there is one m= line only, number 0";
  return candidate.empty() || is_candidate(candidate) ? "" : "that is no candidate";
}

}  // namespace flowcache::live

namespace flowcache::fuzz {

Reached& reached() {
  static Reached all;
  return all;
}

Host::Host() : generator_(options_, *this), commands_(generator_, feed_) {}

std::shared_ptr<live::Peer> Host::make_viewer(live::Codec codec, bool, live::PeerEvents events,
                                              std::string* error) {
  alignas(Tap) static std::byte no_tap[sizeof(Tap)];  // viewers keep the reference and do not use it
  live::PeerConfig config;
  config.codec = codec;
  return live::Peer::make(reinterpret_cast<Tap&>(no_tap), config, std::move(events), error);
}

void Host::begin() {
  reached() = {};
  feed_ = {};
}

void run_main_loop(int most) {
  while (most-- > 0 && g_main_context_iteration(nullptr, FALSE)) {
  }
}

}  // namespace flowcache::fuzz
