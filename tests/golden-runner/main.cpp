// SPDX-License-Identifier: LGPL-2.1-or-later
// golden-runner DIR…: runs every golden case in these folders and below. Prints a line for each case, then
// the totals.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <optional>
#include <set>

#include "../fake_gpu/spare/spare_device.h"
#include "cache/options.h"
#include "case.h"
#include "stream/device.h"

namespace {

const char* const usage =
    "golden-runner [--precision bf16|fp8|int8 [--activations 8] --bounds FILE] [--device cpu|spare|cuda] "
    "DIR…\n"
    "Runs every folder with a case.json below DIR and compares this engine with the numbers it holds.\n"
    "With a precision the networks are built in it, and FILE, a JSON object, gives for each kind of case "
    "the\n"
    "distance |got - want| / |want| that a tensor may have; kinds that are not in it are left out.\n"
    "cuda: an NVIDIA GPU, products and convolutions in full fp32.\n"
    "activations 8: what is multiplied with matrices of fp8 or int8 is rounded to 8 bits, too, as on GPUs.\n"
    "spare: a GPU's stand-in (tests/fake_gpu/spare), on which tensors of the CPU are refused.\n"
    "Prints a line per case and `N passed, N failed, N unsupported`; exits with 1 if a case fails, 2 on bad "
    "use, 77 if there can be no such device.\n";

enum class Verdict { passed, failed, unsupported };

// bounds: by kind, for kinds that run in `precision`; empty: all run in fp32.
std::optional<Verdict> run(const std::filesystem::path& folder, const golden::Handlers& handlers,
                           flowcache::Precision precision, const std::map<std::string, double>& bounds,
                           at::Device device) {
  const c10::InferenceMode inference;  // as in the engine
  const std::string name = folder.filename().string();
  try {
    const std::string kind = golden::Case(folder).kind();
    if (!bounds.empty() && !bounds.contains(kind)) return std::nullopt;
    golden::Case one(folder, precision, bounds.empty() ? 0 : bounds.at(kind), device);
    const auto handler = handlers.find(one.kind());
    if (handler == handlers.end()) {
      std::printf("unsupported  %-40s kind %s\n", name.c_str(), one.kind().c_str());
      return Verdict::unsupported;
    }
    handler->second(one);
    std::printf("%s  %-40s largest error %.3g in %d comparisons%s%s\n",
                one.ok() ? "passed     " : "FAILED     ", name.c_str(), one.largest_error(),
                one.comparisons(), one.ok() ? "" : ": ", one.ok() ? "" : one.failures().c_str());
    return one.ok() ? Verdict::passed : Verdict::failed;
  } catch (const std::exception& error) {
    std::printf("FAILED       %-40s %s\n", name.c_str(), error.what());
    return Verdict::failed;
  }
}

// Returns an empty map if the file does not exist or is empty.
std::map<std::string, double> read_bounds(const std::string& file) {
  std::ifstream in(file);
  std::map<std::string, double> bounds;
  if (!in) return bounds;
  const nlohmann::json document = nlohmann::json::parse(in);
  for (const auto& [kind, bound] : document.items()) bounds[kind] = bound.get<double>();
  return bounds;
}

}  // namespace

int main(int argc, char** argv) {
  const flowcache::ParityOptions parity;  // the cases were made with published code, including its faults
  std::set<std::filesystem::path> folders;
  std::map<std::string, double> bounds;
  std::string precision = "fp32", device = "cpu";
  bool narrow_activations = false;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const std::string value = i + 1 < argc ? argv[i + 1] : "";
    if (argument == "--precision" || argument == "--bounds" || argument == "--device" ||
        argument == "--activations") {
      ++i;
      if (argument == "--bounds")
        bounds = read_bounds(value);
      else if (argument == "--device" && value != "cpu" && value != "spare" && value != "cuda")
        return std::fprintf(stderr, "golden-runner: device is cpu, spare or cuda\n%s", usage), 2;
      else if (argument == "--device")
        device = value;
      else if (argument == "--activations" && value != "8")
        return std::fprintf(stderr, "golden-runner: activations is 8\n%s", usage), 2;
      else if (argument == "--activations")
        narrow_activations = true;
      else if (value != "fp32" && value != "bf16" && value != "fp8" && value != "int8")
        return std::fprintf(stderr, "golden-runner: precision is fp32, bf16, fp8 or int8\n%s", usage), 2;
      else
        precision = value;
      continue;
    }
    if (argument == "--help" || argument == "-h") return std::fputs(usage, stdout), 0;
    if (!std::filesystem::is_directory(argument)) {
      std::fprintf(stderr, "golden-runner: %s is not a folder\n%s", argument.c_str(), usage);
      return 2;
    }
    if (std::filesystem::exists(std::filesystem::path(argument) / "case.json")) folders.insert(argument);
    for (const auto& entry : std::filesystem::recursive_directory_iterator(argument))
      if (entry.path().filename() == "case.json") folders.insert(entry.path().parent_path());
  }
  if (folders.empty()) return std::fprintf(stderr, "golden-runner: no case.json found\n%s", usage), 2;

  if ((precision == "fp32") != bounds.empty())
    return std::fprintf(stderr, "golden-runner: a precision below fp32 and --bounds go together\n%s", usage),
           2;
  flowcache::Precision chosen = flowcache::choose_precision(precision, at::kCPU);
  if (narrow_activations && chosen.weights == chosen.compute)
    return std::fprintf(stderr, "golden-runner: --activations 8 goes with precision fp8 or int8\n%s", usage),
           2;
  if (narrow_activations) chosen.activations = chosen.weights;
  if (device == "spare") {
    const std::string reason = spare::install();
    if (!reason.empty()) return std::printf("skipped: %s\n", reason.c_str()), 77;
    at::set_num_threads(1);                       // its operators are too small for more
    std::setvbuf(stdout, nullptr, _IOLBF, 1024);  // a host pointer into the device ends the process
  }
  golden::Handlers handlers;
  golden::register_schedule(handlers);
  golden::register_wan(handlers);
  golden::register_decoders(handlers);
  golden::register_cache(handlers);
  golden::register_feed(handlers);
  golden::register_pipelines(handlers);
  golden::register_text(handlers);
  golden::register_unipc(handlers);
  golden::register_vae(handlers);
  golden::register_magi(handlers);
  golden::register_magi_pipelines(handlers);
  golden::register_skyreels(handlers);

  at::Device where = device == "spare" ? spare::device : at::Device(at::kCPU);
  if (device == "cuda") {
    if (const std::string reason = flowcache::why_no_cuda(); !reason.empty())
      return std::printf("skipped: %s\n", reason.c_str()), 77;
    where = flowcache::choose_device(device);
    at::globalContext().setFloat32Precision(at::Float32Backend::CUDA, at::Float32Op::CONV,
                                            at::Float32Precision::IEEE);
  }
  std::map<Verdict, int> count;
  for (const auto& folder : folders)
    if (const auto verdict = run(folder, handlers, chosen, bounds, where)) ++count[*verdict];
  std::printf("%d passed, %d failed, %d unsupported\n", count[Verdict::passed], count[Verdict::failed],
              count[Verdict::unsupported]);
  return count[Verdict::failed] == 0 ? 0 : 1;
}
