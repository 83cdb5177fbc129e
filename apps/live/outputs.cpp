// SPDX-License-Identifier: LGPL-2.1-or-later
#include "outputs.h"

namespace flowcache::live {
namespace {

// A value in quotes, as gst-launch-1.0 reads it.
std::string quoted(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

// latency: the muxer waits this much longer for a late track than the track's own latency, in ns.
std::string rtmp_line(const std::string& url) {
  return "appsrc name=video ! h264parse ! flvmux name=mux streamable=true latency=200000000 ! rtmp2sink "
         "name=sink sync=false "
         "location=" +
         quoted(url) + " appsrc name=audio ! aacparse ! mux.";
}

std::string srt_line(const std::string& url) {
  // auto-reconnect=false: a lost receiver is an error. The output is then made anew and begins with a key
  // frame.
  return "appsrc name=video ! h264parse config-interval=-1 ! mpegtsmux name=mux alignment=7 "
         "latency=200000000 ! srtsink "
         "name=sink"
         " sync=false wait-for-connection=false auto-reconnect=false uri=" +
         quoted(url) + " appsrc name=audio ! aacparse ! mux.";
}

}  // namespace

void Outputs::make(const Options& options, Generator& generator, const Output::Events& events) {
  const auto push = [&](const char* name, const std::string& url, const std::string& line) {
    all_.push_back(std::make_unique<Push>(Output::Config{name, url}, events, line, generator.streams()));
  };
  if (!options.rtmp.empty()) push("rtmp", options.rtmp, rtmp_line(options.rtmp));
  if (!options.srt.empty()) push("srt", options.srt, srt_line(options.srt));
  if (!options.whip.empty()) all_.push_back(make_whip(options, generator, events));
}

void Outputs::start() {
  for (const auto& output : all_) output->start();
}

Json Outputs::status() const {
  Json status = Json::array();
  for (const auto& output : all_) {
    const OutputFrames frames = output->frames();
    status.push_back({{"name", output->name()},
                      {"to", output->shown_address()},
                      {"state", output->state_name()},
                      {"frames", frames.sent},
                      {"lost", frames.dropped},
                      {"waiting_ms", frames.waiting / GST_MSECOND},
                      {"attempts", output->attempts()}});
    if (!output->reason().empty()) status.back()["reason"] = output->reason();
  }
  return status;
}

}  // namespace flowcache::live
