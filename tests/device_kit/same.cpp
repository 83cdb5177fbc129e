// SPDX-License-Identifier: LGPL-2.1-or-later
// The device decides and draws what the CPU does.
#include <algorithm>
#include <thread>

#include "kit.h"

namespace device_kit {
namespace {

constexpr double least_psnr = 60;  // dB, beyond which nobody sees a difference

struct Seen {
  std::vector<uint8_t> decisions, pixels;  // of all chunks
};

Seen run(const Stream& stream, int chunks) {
  Seen seen;
  for (int i = 0; i < chunks; ++i) {
    const Chunk chunk = next(stream);
    const fc_chunk_info info = info_of(chunk);
    seen.decisions.insert(seen.decisions.end(), info.decisions,
                          info.decisions + info.steps_computed + info.steps_reused);
    for (uint32_t frame = 0; frame < info.frames; ++frame) {
      const std::vector<uint8_t> one = rgba_of(chunk, frame);
      seen.pixels.insert(seen.pixels.end(), one.begin(), one.end());
    }
  }
  return seen;
}

std::vector<Asked> all_policies(const Options& options) {
  std::vector<Asked> all;
  fc_policy_info info = fc_policy_info_init();
  const auto wanted = [&](const std::string& name) {
    return options.only.empty() ||
           std::find(options.only.begin(), options.only.end(), name) != options.only.end();
  };
  for (uint32_t i = 0; fc_policy_describe(i, &info) == FC_OK; ++i) {
    Asked asked;
    if (!wanted(info.name)) continue;
    if (info.kind == FC_POLICY_REUSE) {
      asked.cache = info.name;
      if (asked.cache == "auto") continue;  // decides by the clock
      if (asked.cache == "fastercache") asked.guidance = 3;
      all.push_back(asked);
    } else if (info.kind == FC_POLICY_KV) {
      asked.kv = info.name;
      all.push_back(asked);
    }
  }
  return all;
}

}  // namespace

// After a CPU engine has drawn, the device is used, by two engines, and its memory is given back.
json check_process(const Options& options) {
  json result = {{"ok", true}};
  {
    const Engine cpu = open_engine(options, "cpu");
    next(*open_stream(cpu, options, {}));
  }
  std::string device;
  const auto use = [&] {
    const Engine engine = open_engine(options, options.device);
    device = fc_engine_device(engine.get());
    next(*open_stream(engine, options, {}));
    return engine ? used_bytes(options) : 0;
  };
  use();  // what CUDA keeps for the life of the process
  const double before = used_bytes(options);
  double used = 0;
  {
    const Engine first = open_engine(options, options.device), second = open_engine(options, options.device);
    next(*open_stream(first, options, {}));
    next(*open_stream(second, options, {}));
    used = used_bytes(options);
  }
  const double after = used_bytes(options);
  result.update(
      {{"device", device}, {"used_mb", used / 1e6}, {"before_mb", before / 1e6}, {"after_mb", after / 1e6}});
  if (!device.starts_with(options.device)) {
    result["ok"] = false;
    result["why"] = "ended on " + device;
  } else if (options.device.starts_with("cuda") &&
             after > before + 64e6) {  // on the CPU malloc keeps what it likes
    result["ok"] = false;
    result["why"] = "memory is not given back after the last engine";
  }
  return result;
}

// Every policy: the same decisions, pictures that nobody can tell apart, and the same bytes when run again.
json check_policies(const Options& options) {
  json rows = json::array();
  std::string why;
  const Engine cpu = open_engine(options, "cpu"), device = open_engine(options, options.device);
  for (const Asked& asked : all_policies(options)) {
    const std::string name = asked.kv.empty() ? asked.cache : "kv=" + asked.kv;
    const auto here = open_stream(cpu, options, asked), there = open_stream(device, options, asked);
    if (!here || !there) {
      rows.push_back({{"policy", name}, {"skipped", fc_last_error()}});
      continue;
    }
    const Seen want = run(*here, options.chunks), got = run(*there, options.chunks);
    const Seen again = run(*open_stream(device, options, asked), options.chunks);
    const bool same = want.decisions == got.decisions, repeats = got.pixels == again.pixels;
    const double db = psnr(want.pixels, got.pixels);
    rows.push_back({{"policy", name},
                    {"db", db},
                    {"same_decisions", same},
                    {"repeats", repeats},
                    {"computed", std::count(got.decisions.begin(), got.decisions.end(), 1)},
                    {"steps", got.decisions.size()}});
    if (!same || !repeats || db < least_psnr)
      why += (why.empty() ? "" : "; ") + name + (same ? "" : ": other decisions than the CPU") +
             (repeats ? "" : ": does not repeat") +
             (db < least_psnr ? ": " + std::to_string(db) + " dB from the CPU" : "");
  }
  if (rows.empty()) why = "no policy of that name";
  return {{"ok", why.empty()}, {"why", why}, {"policies", rows}};
}

// Several devices draw what the first of them draws alone, and how long either takes.
json check_ranks(const Options& options) {
  const std::string first = options.devices.substr(0, options.devices.find(','));
  const auto measured = [&](const std::string& devices, double& seconds) {
    const Engine engine = open_engine(options, devices);
    const auto stream = open_stream(engine, options, {.cache = "none", .kv = "flowcache"});
    Seen seen = run(*stream, options.chunks);
    std::vector<double> later;
    for (int i = 0; i < options.chunks; ++i) later.push_back(info_of(next(*stream)).seconds);
    seconds = quantile(later, 0.5);
    return seen;
  };
  double alone_seconds = 0, together_seconds = 0;
  const Seen alone = measured(first, alone_seconds), together = measured(options.devices, together_seconds);
  const double db = psnr(alone.pixels, together.pixels);
  std::string why;
  if (db < least_psnr) why = std::to_string(db) + " dB from one device";
  if (alone.decisions != together.decisions) why = "other decisions than one device";
  return {{"ok", why.empty()},
          {"why", why},
          {"devices", options.devices},
          {"db", db},
          {"chunk_ms_alone", 1e3 * alone_seconds},
          {"chunk_ms_together", 1e3 * together_seconds}};
}

// Two streams at once on one engine draw what each draws alone.
json check_pair(const Options& options) {
  const Engine engine = open_engine(options, options.device);
  Seen alone[2], together[2];
  for (uint64_t i = 0; i < 2; ++i)
    alone[i] = run(*open_stream(engine, options, {.cache = "flowcache", .seed = i}), options.chunks);
  std::string problem[2];
  {
    std::vector<std::jthread> threads;
    for (uint64_t i = 0; i < 2; ++i)
      threads.emplace_back([&, i] {
        try {
          together[i] = run(*open_stream(engine, options, {.cache = "flowcache", .seed = i}), options.chunks);
        } catch (const std::exception& error) {
          problem[i] = error.what();
        }
      });
  }
  std::string why = problem[0] + problem[1];
  for (const int i : {0, 1})
    if (why.empty() && alone[i].pixels != together[i].pixels)
      why = "stream " + std::to_string(i) + " draws otherwise beside another";
  if (why.empty() && alone[0].pixels == alone[1].pixels) why = "two seeds draw the same";
  return {{"ok", why.empty()}, {"why", why}, {"bytes", alone[0].pixels.size()}};
}

}  // namespace device_kit
