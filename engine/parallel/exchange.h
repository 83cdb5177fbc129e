// SPDX-License-Identifier: LGPL-2.1-or-later
// The one collective that everything is made of: each rank gives each other one some numbers, and takes some. c10d does it, with
// NCCL where each rank has a card of its own, else with Gloo.
#pragma once

#include <ATen/ATen.h>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "parallel/plan.h"

namespace flowcache {

// Where the ranks of a group find each other.
struct Meeting {
  std::string folder;  // on one machine: an empty folder that only its user may enter; "": host and port
  std::string host;    // of the store at rank 0
  uint16_t port = 0;
  int listener = -1;    // rank 0: the socket that the store takes over
  std::string secret;   // before every key of the store
  std::string address;  // of the interface that this rank listens at for the others
  int rank = 0, ranks = 1;
  std::chrono::milliseconds timeout{30000};  // of each exchange
  bool nccl = false;                         // the same on all ranks
  at::Device device = at::kCPU;              // with NCCL: this rank's
};

// Another rank is gone, or has not come in time. The group is of no use then.
class LostRank : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// One thread at a time.
class Exchange {
 public:
  // Waits for all ranks, at most the timeout. Throws LostRank.
  explicit Exchange(const Meeting& meeting);
  ~Exchange();

  int rank() const;
  int ranks() const;
  // in: numbers for rank 0, those for rank 1, …, give[r] of them for rank r. Returns take[r] numbers from rank r in the
  // same order. All are 1-dimensional, of one type on all ranks. With Gloo those on a GPU go through the host's memory. Throws
  // LostRank after the timeout, or, with Gloo, as soon as another rank is gone.
  at::Tensor all_to_all(const at::Tensor& in, std::vector<int64_t> give, std::vector<int64_t> take);
  // Since the beginning: what went to other ranks and came from them.
  const Traffic& traffic() const { return traffic_; }

 private:
  struct Group;
  std::unique_ptr<Group> group_;
  Traffic traffic_;
};

}  // namespace flowcache
