// SPDX-License-Identifier: LGPL-2.1-or-later
// NCCL: what is sent to other ranks is counted, and not sent. Types are written as in nccl.h of NCCL 2.
#include <cstring>

#include "gpu.h"

using namespace fake_gpu;

namespace {

constexpr int version = 22809;

struct Communicator {
  int rank, ranks;
};

long bytes_of(size_t count, int type) {
  constexpr int sizes[] = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2, 1, 1};  // ncclInt8 to ncclFloat8e5m2
  return static_cast<long>(count) * sizes[type];
}

int move(long FakeGpuCounts::*where, size_t count, int type, int peer, Communicator* own, void* stream) {
  if (peer < 0 || peer >= own->ranks) return 4;  // ncclInvalidArgument
  const std::lock_guard lock(gpu().mutex);
  gpu().work(stream);
  if (peer != own->rank) gpu().counts.*where += bytes_of(count, type);
  return 0;
}

}  // namespace

EXPORTED int ncclGetVersion(int* number) {
  *number = version;
  return 0;
}
EXPORTED int ncclGetUniqueId(char* id) {
  std::memset(id, 1, 128);
  return 0;
}
struct UniqueId {
  char text[128];
};
EXPORTED int ncclCommInitRankConfig(Communicator** made, int ranks, UniqueId, int rank, void*) {
  *made = new Communicator{rank, ranks};
  return 0;
}
EXPORTED const char* ncclGetErrorString(int) {
  return "an error of the stand-in for NCCL";
}
EXPORTED const char* ncclGetLastError(void*) {
  return "";
}
EXPORTED int ncclCommCount(const Communicator* own, int* ranks) {
  *ranks = own->ranks;
  return 0;
}
EXPORTED int ncclCommUserRank(const Communicator* own, int* rank) {
  *rank = own->rank;
  return 0;
}
EXPORTED int ncclCommGetAsyncError(Communicator*, int* error) {
  *error = 0;
  return 0;
}
EXPORTED int ncclCommDestroy(Communicator* own) {
  delete own;
  return 0;
}
EXPORTED int ncclCommAbort(Communicator* own) {
  delete own;
  return 0;
}
EXPORTED int ncclSend(const void*, size_t count, int type, int peer, Communicator* own, void* stream) {
  return move(&FakeGpuCounts::nccl_given, count, type, peer, own, stream);
}
EXPORTED int ncclRecv(void*, size_t count, int type, int peer, Communicator* own, void* stream) {
  return move(&FakeGpuCounts::nccl_taken, count, type, peer, own, stream);
}
