// SPDX-License-Identifier: LGPL-2.1-or-later
// flowcache doctor: checks what works on this machine and says what to do about the rest.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/resources.h"
#include "cli/commands.h"

namespace flowcache::cli {

namespace {

bool report(bool good, const char* what, const std::string& finding, const std::string& remedy = "") {
  std::printf("%s %-12s %s\n", good ? "ok  " : "FAIL", what, finding.c_str());
  if (!good && !remedy.empty()) std::printf("     %-12s -> %s\n", "", remedy.c_str());
  return good;
}

void note(const char* what, const std::string& finding) {
  std::printf("--   %-12s %s\n", what, finding.c_str());
}

std::string folder_of(void* symbol) {
  Dl_info info{};
  std::error_code ignored;
  if (!dladdr(symbol, &info) || !info.dli_fname) return "?";
  return std::filesystem::canonical(info.dli_fname, ignored).string();
}

// The file of a loaded library, from /proc/self/maps; "" if it is not loaded.
std::string loaded_file(const std::string& name) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);)
    if (line.find("/" + name) != std::string::npos) return line.substr(line.find('/'));
  return "";
}

bool check_cpu() {
  const unsigned allowed = allowed_cpus(), online = std::thread::hardware_concurrency();
  std::string cores = std::to_string(allowed) + (allowed == 1 ? " core" : " cores");
  if (allowed < online) cores += " (of " + std::to_string(online) + ", by affinity and control group)";
  fc_cpu_info cpu{};
  cpu.size = sizeof cpu;
  if (fc_cpu_describe(&cpu) != FC_OK) return report(false, "CPU", cores + "; " + fc_last_error());
  note("CPU", cores + " with " + cpu.processor + "; " + instructions_of(cpu));
  note("bf16", *cpu.bf16_emulated
                   ? std::string("emulated on the CPU, so that precision=auto is fp32: ") + cpu.bf16_emulated
                   : "has instructions on the CPU");
  return true;
}

// What the NVIDIA kernel module says of itself: whether there is a driver at all, whatever LibTorch can use.
void note_driver() {
  std::ifstream module("/proc/driver/nvidia/version");
  std::string version;
  std::getline(module, version);
  note("driver", version.empty() ? "no NVIDIA kernel module is loaded" : version);
}

void note_gpu(fc_engine* cuda_engine, const std::string& why) {
  note("GPU", cuda_engine ? std::string("used: ") + fc_engine_device(cuda_engine) : "not used: " + why);
}

// A model on a GPU writes frames into CUDA memory by a module of kernels, which is built where nvcc is.
bool check_kernels(const std::string& library, bool gpu) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::path(library).parent_path(), name = "libflowcache-kernels-cuda.so";
  std::vector<fs::path> places = {folder / name, folder / "../kernels" / name};
  if (const char* chosen = std::getenv("FLOWCACHE_CUDA_KERNELS"); chosen && *chosen) places = {chosen};
  for (const fs::path& place : places) {
    std::error_code ignored;
    if (!fs::exists(place, ignored)) continue;
    note("CUDA kernels", fs::weakly_canonical(place, ignored).string());
    return true;
  }
  const std::string missing = places.front().string() + " was not built";
  if (gpu) return report(false, "CUDA kernels", missing, "install nvcc and configure the build anew");
  note("CUDA kernels", missing + ", which only frames in CUDA memory need");
  return true;
}

bool check_model(const char* folder) {
  if (!folder)
    return report(false, "model", "the model that ships was not found",
                  "set FLOWCACHE_MODEL to a folder with model.json, or install the project's data files");
  fc_engine_config config{};
  config.size = sizeof config;
  config.model = folder;
  config.device = "cpu";
  fc_engine* engine = nullptr;
  if (fc_engine_open(&config, nullptr, nullptr, &engine) != FC_OK)
    return report(false, "model", fc_last_error(), "flowcache inspect --load prints the same for any folder");
  report(true, "model", std::string(folder) + " loads on the CPU in " + fc_engine_precision(engine));
  fc_engine_unref(engine);
  return true;
}

bool check_plugin(const std::string& library) {
  namespace fs = std::filesystem;
  const fs::path engine = fs::path(library).parent_path();
  std::string looked;
  std::vector<fs::path> places = {engine / "../gst-plugin", engine / "gstreamer-1.0"};
  if (const char* path = std::getenv("GST_PLUGIN_PATH")) places.insert(places.begin(), path);
  for (const auto& place : places) {
    std::error_code ignored;
    const fs::path file = place / "libgstflowcache.so";
    if (fs::exists(file, ignored))
      return report(true, "plugin", fs::weakly_canonical(file, ignored).string());
    looked += (looked.empty() ? "" : ", ") + fs::weakly_canonical(place, ignored).string();
  }
  return report(
      false, "plugin", "libgstflowcache.so is not in " + looked,
      "build it (meson compile -C build) and run through `meson devenv -C build`, or set GST_PLUGIN_PATH");
}

int examine() {
  bool good = true;
  const std::string library = folder_of(reinterpret_cast<void*>(&fc_version));
  report(true, "engine", std::string(fc_version()) + " in " + library);
  const std::string torch = loaded_file("libtorch_cpu.so");
  good &= report(!torch.empty(), "LibTorch", torch.empty() ? "not loaded" : torch);
  good &= check_cpu();
  note("memory", std::to_string(free_host_memory() / 1000000) + " MB free for this process");

  fc_engine_config config{};
  config.size = sizeof config;
  config.device = "cuda";
  fc_engine* cuda_engine = nullptr;
  const fc_status status = fc_engine_open(&config, nullptr, nullptr, &cuda_engine);
  note_driver();
  note_gpu(cuda_engine, status == FC_OK ? "" : fc_last_error());
  good &= check_kernels(library, cuda_engine != nullptr);
  fc_engine_unref(cuda_engine);
  good &= check_model(fc_default_model());
  good &= check_plugin(library);
  std::printf("%s\n", good ? "everything that is needed works" : "some things do not work: see FAIL above");
  return good ? 0 : 1;
}

}  // namespace

Command add_doctor(CLI::App& app) {
  app.add_subcommand("doctor",
                     "Check driver, LibTorch, model and plugin: what works, and what to do about the rest");
  return examine;
}

}  // namespace flowcache::cli
