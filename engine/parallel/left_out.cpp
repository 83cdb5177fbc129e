// SPDX-License-Identifier: LGPL-2.1-or-later
// Instead of this room, in a build without Gloo's headers.
#include "base/error.h"
#include "parallel/parallel.h"

namespace flowcache {
namespace {

[[noreturn]] void refuse() {
  throw Error(
      FC_ERROR_NOT_FOUND,
      "this build runs on one device: Gloo's headers were missing or not wanted when it was configured; "
      "install them (Debian: libgloo-dev) and configure it anew, with -Dgloo=enabled");
}

}  // namespace

std::shared_ptr<const LoadedModel> load_on_ranks(const LoadOptions&, const RankOptions&, const Progress&) {
  refuse();
}

void run_worker(const WorkerOptions&) {
  refuse();
}

}  // namespace flowcache
