// SPDX-License-Identifier: LGPL-2.1-or-later
#include "live_stubs.h"

#include <cmath>

#include "fuzz.h"
#include "input.h"
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

void Generator::set_strength(double strength) {
  ++fuzz::reached().commands;
  FUZZ_REQUIRE(strength >= 0 && strength <= 1);
}

bool Generator::change_policy(const std::string& policy) {
  ++fuzz::reached().commands;
  FUZZ_REQUIRE(policy.size() <= Commands::most_policy);
  policy_ = policy;
  return true;
}

// ---- in place of input.cpp and what it needs: there is no input

Input::Input(std::string, std::shared_ptr<FrameFeeder>, Events) {}

Input::~Input() = default;
Reader::~Reader() = default;
Thumbnail::~Thumbnail() = default;
Intake::~Intake() = default;
FrameFeeder::~FrameFeeder() = default;

std::string Input::start() {
  return {};
}

Json Input::status(const Json&) const {
  return {};
}

std::string Thumbnail::jpeg() const {
  return {};
}

std::shared_ptr<Peer> Input::make_camera(const PeerConfig&, PeerEvents, std::string*) {
  return {};
}

// ---- in place of peer.cpp, sender.cpp and camera.cpp: the same checks, without webrtcbin

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

void Peer::begin() {
  offered_ = true;
  events_.offer("v=0");
}

std::shared_ptr<Sender> Sender::make(Tap& tap, Codec, const PeerConfig&, PeerEvents events, std::string*) {
  std::shared_ptr<Sender> sender(new Sender(tap, std::move(events)));
  sender->begin();
  return sender;
}

Sender::~Sender() = default;
void Sender::came_up() {}

}  // namespace flowcache::live

namespace flowcache::fuzz {

Reached& reached() {
  static Reached all;
  return all;
}

Host::Host() : generator_(options_, *this), commands_(generator_, feed_) {}

std::shared_ptr<live::Sender> Host::make_viewer(live::Codec codec, bool, live::PeerEvents events,
                                                std::string* error) {
  alignas(Tap) static std::byte no_tap[sizeof(Tap)];  // viewers keep the reference and do not use it
  return live::Sender::make(reinterpret_cast<Tap&>(no_tap), codec, {}, std::move(events), error);
}

std::shared_ptr<live::Peer> Host::make_camera(bool beyond, live::PeerEvents events, std::string* error) {
  return make_viewer(live::Codec::Vp8, beyond, std::move(events), error);
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
