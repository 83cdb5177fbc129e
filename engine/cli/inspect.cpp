// SPDX-License-Identifier: LGPL-2.1-or-later
// flowcache inspect: describes a model, its missing files and the memory that it will take, without loading
// it.
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>

#include "api_report.h"
#include "cli/commands.h"
#include "cli/handles.h"

namespace flowcache::cli {

namespace {

using nlohmann::json;

struct InspectArguments {
  std::vector<std::string> models;
  std::string memory, device = "auto", precision = "auto", kv_precision = "auto";
  std::string attention;
  uint32_t devices = 0;
  bool load = false;
};

void print_video(const fc_model_info& info) {
  const double seconds = static_cast<double>(info.frames_per_chunk) * info.fps_d / info.fps_n;
  std::printf("%s (%s)\n", info.name, info.family);
  if (*info.description) std::printf("  %s\n", info.description);
  std::printf("  video             %u x %u at %u/%u frames a second\n", info.width, info.height, info.fps_n,
              info.fps_d);
  if (info.least.width != info.most.width || info.least.height != info.most.height) {
    std::printf("  other sizes       %u x %u to %u x %u in steps of %u x %u, good at", info.least.width,
                info.least.height, info.most.width, info.most.height, info.step.width, info.step.height);
    for (const fc_picture_size& one : info.good)
      if (one.width != 0) std::printf(" %ux%u", one.width, one.height);
    std::printf("\n");
  }
  std::printf("  chunk             %u frames (%.2f s) from %u latent frames\n", info.frames_per_chunk,
              seconds, info.latent_frames_per_chunk);
  std::printf("  sampling          %u steps, a chunk starts every %u steps, guidance %g\n", info.steps,
              info.lag, info.guidance_scale);
  std::printf("  caching           %s, threshold %g; KV: %s, %u chunks of history\n", info.cache,
              info.cache_threshold, info.kv_cache, info.history_chunks);
  const double kv = static_cast<double>(info.kv_bytes_per_chunk);
  std::printf("  KV of a chunk     %s in fp32, %s in bf16, a little over %s with --kv-precision int8\n",
              megabytes(kv).c_str(), megabytes(kv / 2).c_str(), megabytes(kv / 4).c_str());
}

void print_words(const json& words) {
  if (words.empty()) return;
  std::string line;
  std::printf("  words             %zu, and their synonyms:\n", words.size());
  for (const json& one : words) {
    const std::string word = one.get<std::string>();
    if (line.size() + word.size() > 90) {
      std::printf("    %s\n", line.c_str());
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
  }
  std::printf("    %s\n", line.c_str());
}

void print_memory(const json& needs, const std::string& where) {
  double device = 0, host = 0;
  for (const json& need : needs)
    (need.at("on_host").get<bool>() ? host : device) += need.at("bytes").get<double>();
  std::printf("  memory needed     %s on %s", megabytes(device).c_str(), where.c_str());
  if (host > 0) std::printf(" and %s on the CPU", megabytes(host).c_str());
  std::printf(", one stream included:\n");
  for (const json& need : needs)
    std::printf("    %-24s %12s%s\n", need.at("what").get<std::string>().c_str(),
                megabytes(need.at("bytes").get<double>()).c_str(),
                need.at("on_host").get<bool>() ? " on the CPU" : "");
}

double sum_of(const json& needs) {
  double bytes = 0;
  for (const json& need : needs) bytes += need.at("on_host").get<bool>() ? 0 : need.at("bytes").get<double>();
  return bytes;
}

// The needs of the device that has most of them.
double fullest_of(const json& report) {
  double most = 0;
  for (const json& one : report.at("ranks")) most = std::max(most, sum_of(one.at("memory")));
  return most;
}

// How several devices share a chunk, as a Markdown table.
void print_ranks(const json& report) {
  const json& ranks = report.at("ranks");
  const double passes = report.at("forward_passes").get<double>();
  std::printf("  on %zu devices      attention split by %s; %d tokens, %.0f forward passes a chunk\n",
              ranks.size(), report.at("attention").get<std::string>().c_str(), report.at("tokens").get<int>(),
              passes);
  if (report.at("last_decodes").get<bool>())
    std::printf("  on GPUs           the last one decodes; the others are as with --devices %zu\n",
                ranks.size() - 1);
  std::printf(
      "\n| rank | tokens | heads | memory | exchanges a pass | given | taken | given a chunk |\n"
      "| --- | --- | --- | --- | --- | --- | --- | --- |\n");
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    const json& one = ranks[rank];
    const double given = one.at("given").get<double>();
    std::printf("| %zu | %d | %d | %s | %d | %s | %s | %s |\n", rank, one.at("rows").get<int>(),
                one.at("heads").get<int>(), megabytes(sum_of(one.at("memory"))).c_str(),
                one.at("exchanges").get<int>(), megabytes(given).c_str(),
                megabytes(one.at("taken").get<double>()).c_str(), megabytes(given * passes).c_str());
  }
  if (!report.contains("chunks")) return;
  const json &tick = report.at("tick"), &whole = report.at("chunks");
  std::printf(
      "\n  %d chunks in flight  %d exchanges a tick, the busiest rank gives %s; with whole chunks for each "
      "rank "
      "%d and %s,\n                    but all keys and values everywhere, and ranks wait where a chunk is "
      "not "
      "computed: not built\n",
      report.at("chunks_in_flight").get<int>(), tick.at("exchanges").get<int>(),
      megabytes(tick.at("given").get<double>()).c_str(), whole.at("exchanges").get<int>(),
      megabytes(whole.at("given").get<double>()).c_str());
}

// Prints the files. Returns how many are missing.
size_t print_files(const json& files) {
  double bytes = 0;
  size_t missing = 0;
  for (const json& file : files) {
    bytes += file.at("bytes").get<double>();
    missing += !file.at("present").get<bool>();
  }
  std::printf("  files             %zu, %s on disk, %zu missing%s\n", files.size(), megabytes(bytes).c_str(),
              missing, missing ? ":" : "");
  for (const json& file : files) {
    if (file.at("present").get<bool>()) continue;
    const std::string source = file.at("source").get<std::string>();
    std::printf("    %s (%s)%s%s\n", file.at("name").get<std::string>().c_str(),
                file.at("section").get<std::string>().c_str(), source.empty() ? "" : ": from ",
                source.c_str());
  }
  return missing;
}

// Decimal gigabytes, as cards are sold. Throws std::runtime_error for anything else than 8, 8G or 8GB.
double gigabytes(const std::string& text) {
  double value = 0;
  char unit[3] = "", rest = 0;
  const int found = std::sscanf(text.c_str(), "%6lf%2[GB]%c", &value, unit, &rest);
  const std::string suffix = unit;
  if (found < 1 || found > 2 || !(value >= 1 && value <= 10000) || !(suffix.empty() || suffix[0] == 'G'))
    throw std::runtime_error("--memory \"" + text +
                             "\" is not the size of a GPU in gigabytes, from 1 to 10000, such as 8G,12G,24G");
  return value;
}

std::string in_gigabytes(double bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f GB", bytes / 1e9);
  return text;
}

// "fp8, history 3 of 6, 416x240: 7.0 GB"
std::string choice_of(const json& fit) {
  std::string text = fit.at("precision");
  if (fit.at("history_chunks") != fit.at("of"))
    text += ", history " + fit.at("history_chunks").dump() + " of " + fit.at("of").dump();
  if (fit.at("one_at_a_time").get<bool>()) text += ", lag 0";
  if (!fit.at("native").get<bool>()) text += ", " + fit.at("width").dump() + "x" + fit.at("height").dump();
  const std::string bytes = in_gigabytes(fit.at("device_bytes").get<double>());
  return fit.at("fits").get<bool>() ? text + ": " + bytes : "no: " + bytes + " at least";
}

// A Markdown table: a row for each model, a column for each size of a GPU.
int print_choices(const InspectArguments& a) {
  std::string head = "| model |", line = "| --- |";
  std::vector<double> sizes;
  std::istringstream listed(a.memory);
  for (std::string one; std::getline(listed, one, ',');) {
    sizes.push_back(gigabytes(one));
    head += " " + CLI::detail::to_string(sizes.back()) + " GB |";
    line += " --- |";
  }
  std::printf("%s RAM |\n%s --- |\n", head.c_str(), line.c_str());
  for (const std::string& model : a.models) {
    std::string row, host;
    for (const double size : sizes) {
      const char* text = nullptr;
      // Without weights: model.json is enough for what they take.
      const std::string shapes = model.starts_with("random:") ? model : "random:" + model;
      check(fc_model_fit(shapes.c_str(), static_cast<uint64_t>(size * 1e9), &text));
      const json fit = json::parse(text);
      row += " " + choice_of(fit) + " |";
      host = in_gigabytes(fit.at("host_bytes").get<double>());
      if (size == sizes.front()) std::printf("| `%s` |", fit.at("name").get<std::string>().c_str());
    }
    std::printf("%s %s |\n", row.c_str(), host.c_str());
  }
  return 0;
}

// Whether the model fits one device of this size, and how many have room for it.
void print_room(const InspectArguments& a, const std::string& model, double alone) {
  const double room = gigabytes(a.memory) * 1e9;
  const auto of = [&](uint32_t devices) {
    const char* text = nullptr;
    check(fc_ranks_report(model.c_str(), a.device.c_str(), a.precision.c_str(), a.kv_precision.c_str(),
                          devices, a.attention.c_str(), &text));
    return fullest_of(json::parse(text));
  };
  const auto verdict = [&](double bytes) {
    return in_gigabytes(bytes) + (bytes <= room ? ", fits" : ", does not fit");
  };
  std::printf("\n  devices of %s  one: %s; each of %u: %s\n", in_gigabytes(room).c_str(),
              verdict(alone).c_str(), a.devices, verdict(of(a.devices)).c_str());
  if (alone <= room || of(a.devices) <= room) return;
  uint32_t enough = a.devices + 1;
  while (enough <= 64 && of(enough) > room) ++enough;
  if (enough <= 64)
    std::printf("  the fewest that do  %u: %s each\n", enough, in_gigabytes(of(enough)).c_str());
  else
    std::printf(
        "  no number of them   only keys and values are shared: every device keeps all of the network's "
        "weights\n");
}

int run(InspectArguments a) {
  const char* shipped = fc_default_model();
  if (a.models.empty() && shipped) a.models = {shipped};
  if (!a.memory.empty() && a.devices == 0) return print_choices(a);
  if (a.models.size() > 1)
    throw std::runtime_error("inspect describes one model; several are for --memory, which compares them");
  const std::string model = a.models.empty() ? "" : a.models.front();
  const bool random = model.starts_with("random:");
  fc_model_info info{};
  info.size = sizeof info;
  // If files are still missing, model.json alone is enough for this description, as for random weights.
  check(fc_model_describe(random ? model.c_str() : ("random:" + model).c_str(), &info));
  const char* text = nullptr;
  check(fc_model_report(model.c_str(), a.device.c_str(), a.precision.c_str(), a.kv_precision.c_str(), &text));
  const json report = json::parse(text);
  print_video(info);
  std::printf("  folder            %s\n", report.at("folder").get<std::string>().c_str());
  if (const std::string license = report.at("license"); !license.empty())
    std::printf("  licence           %s\n", license.c_str());
  std::printf("  positions         %s\n", report.at("positions").get<std::string>().c_str());
  print_memory(report.at("memory"), a.device == "auto" ? "the device" : a.device);
  if (a.devices > 0) {
    check(fc_ranks_report(model.c_str(), a.device.c_str(), a.precision.c_str(), a.kv_precision.c_str(),
                          a.devices, a.attention.c_str(), &text));
    print_ranks(json::parse(text));
    if (!a.memory.empty()) print_room(a, model, sum_of(report.at("memory")));
    return 0;
  }
  print_words(report.at("words"));
  const size_t missing = random ? 0 : print_files(report.at("files"));
  if (missing > 0) return 1;
  if (!a.load) return 0;
  EngineChoice choice;
  choice.model = model;
  choice.device = a.device == "gpu" ? "auto" : a.device;
  choice.precision = a.precision;
  choice.kv_precision = a.kv_precision;
  const OwnedEngine engine = choice.open();
  std::printf("  loads             yes, on %s in %s\n", fc_engine_device(engine.get()),
              fc_engine_precision(engine.get()));
  return 0;
}

}  // namespace

Command add_inspect(CLI::App& app) {
  auto a = std::make_shared<InspectArguments>();
  auto* command =
      app.add_subcommand("inspect", "Describe a model, its missing files, and the memory that it will take");
  command->add_option("model", a->models,
                      "Folder with model.json, or several with --memory; default: the model that ships");
  command
      ->add_option(
          "--device", a->device,
          "Device to plan memory for: auto, cpu, cuda, or gpu for one that this machine does not have")
      ->capture_default_str();
  command->add_option("--precision", a->precision, "auto, fp32, bf16, fp8, int8")->capture_default_str();
  command->add_option("--kv-precision", a->kv_precision, "auto, full, int8")->capture_default_str();
  command->add_option("--memory", a->memory,
                      "Sizes of GPUs such as 8G,12G,24G: print what to choose for each, as a table; with "
                      "--devices one size: whether the model fits one, or so many");
  command->add_option("--devices", a->devices,
                      "Print how so many devices would share a chunk: memory, and bytes between them");
  command->add_option("--attention-split", a->attention,
                      "How they share self-attention: heads, rows; default: heads if they divide");
  command->add_flag("--load", a->load, "Also load the weights and check every key");
  return [a] { return run(*a); };
}

}  // namespace flowcache::cli
