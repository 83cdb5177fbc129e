// SPDX-License-Identifier: LGPL-2.1-or-later
// golden-runner DIR…: runs every golden case below the folders; a line per case, then the totals.
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdio>
#include <set>

#include "case.h"

namespace {

const char* const usage =
    "golden-runner DIR…\n"
    "Runs every folder with a case.json below DIR and compares this engine with the numbers it holds.\n"
    "Prints a line per case and `N passed, N failed, N unsupported`; exits with 1 if a case fails, 2 on bad "
    "use.\n";

enum class Verdict { passed, failed, unsupported };

Verdict run(const std::filesystem::path& folder, const golden::Handlers& handlers) {
  const std::string name = folder.filename().string();
  try {
    golden::Case one(folder);
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

}  // namespace

int main(int argc, char** argv) {
  std::set<std::filesystem::path> folders;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
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

  golden::Handlers handlers;
  golden::register_schedule(handlers);
  golden::register_wan(handlers);
  golden::register_decoders(handlers);
  golden::register_cache(handlers);
  golden::register_pipelines(handlers);
  golden::register_text(handlers);
  golden::register_unipc(handlers);
  golden::register_vae(handlers);
  golden::register_magi(handlers);
  golden::register_magi_pipelines(handlers);
  golden::register_skyreels(handlers);

  std::map<Verdict, int> count;
  for (const auto& folder : folders) ++count[run(folder, handlers)];
  std::printf("%d passed, %d failed, %d unsupported\n", count[Verdict::passed], count[Verdict::failed],
              count[Verdict::unsupported]);
  return count[Verdict::failed] == 0 ? 0 : 1;
}
