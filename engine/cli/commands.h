// SPDX-License-Identifier: LGPL-2.1-or-later
// The subcommands of the flowcache tool. Each one adds itself to the parser and returns the function that
// runs if it is chosen. They use the engine only through flowcache.h.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <stdexcept>
#include <string>

#include "base/output_place.h"
#include "base/words.h"
#include "flowcache.h"

namespace flowcache::cli {

// Returns the exit status of the process.
using Command = std::function<int()>;

Command add_inspect(CLI::App& app);
Command add_adopt(CLI::App& app);
Command add_generate(CLI::App& app);
Command add_measure(CLI::App& app);
Command add_bench(CLI::App& app);
Command add_calibrate(CLI::App& app);
Command add_doctor(CLI::App& app);
Command add_worker(CLI::App& app);

// Writes the model.json of a folder that was downloaded and has none, and says on stderr what it was taken for. Throws
// std::runtime_error if that would be a guess, or if parts are missing. as: the template's name, or "".
void adopt_download(const std::string& model, const std::string& as);

// Throws std::runtime_error with fc_last_error() unless status is FC_OK.
inline void check(fc_status status) {
  if (status != FC_OK) throw std::runtime_error(fc_last_error());
}

// For example "kernels avx2, LibTorch AVX2, oneDNN all": the instructions that are used on the CPU.
inline std::string instructions_of(const fc_cpu_info& cpu) {
  return std::string("kernels ") + cpu.kernels + ", LibTorch " + cpu.libtorch + ", oneDNN " + cpu.onednn;
}

// Throws unless `file` can be written. Call it before long work. `remedy` is the end of the message.
inline void check_output(const std::string& file, const std::string& remedy) {
  if (const std::string problem = output_problem(file); !problem.empty())
    throw std::runtime_error("cannot write " + file + ": " + problem + remedy);
}

}  // namespace flowcache::cli
