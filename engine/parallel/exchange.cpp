// SPDX-License-Identifier: LGPL-2.1-or-later
#include "parallel/exchange.h"

#include <numeric>
#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "parallel/stay_awake.h"

namespace flowcache {

struct Exchange::Group {
  c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo;
  int rank, ranks;
};

namespace {

c10::intrusive_ptr<c10d::Store> store_of(const Meeting& meeting) {
  if (!meeting.folder.empty())
    return c10::make_intrusive<c10d::FileStore>(meeting.folder + "/ranks", meeting.ranks);
  c10d::TCPStoreOptions options;
  options.port = meeting.port;
  options.isServer = meeting.rank == 0;
  options.waitWorkers = false;
  options.timeout = meeting.timeout;
  if (options.isServer) options.masterListenFd = meeting.listener;
  return c10::make_intrusive<c10d::TCPStore>(meeting.host, options);
}

}  // namespace

Exchange::Exchange(const Meeting& meeting) try {
  const auto options = c10d::ProcessGroupGloo::Options::create(meeting.timeout);
  options->devices = {c10d::ProcessGroupGloo::createDeviceForHostname(meeting.address)};
  options->threads = 1;
  const auto store = c10::make_intrusive<c10d::PrefixStore>(meeting.secret, store_of(meeting));
  store->setTimeout(meeting.timeout);
  group_ = std::make_unique<Group>(
      Group{c10::make_intrusive<c10d::ProcessGroupGloo>(store, meeting.rank, meeting.ranks, options),
            meeting.rank, meeting.ranks});
} catch (const std::exception& error) {
  throw LostRank(error.what());
}

Exchange::~Exchange() = default;

int Exchange::rank() const {
  return group_->rank;
}

int Exchange::ranks() const {
  return group_->ranks;
}

at::Tensor Exchange::all_to_all(const at::Tensor& in, std::vector<int64_t> give, std::vector<int64_t> take) {
  const auto number = static_cast<uint64_t>(in.element_size());
  const auto own = static_cast<size_t>(group_->rank);
  const int64_t taken = std::accumulate(take.begin(), take.end(), int64_t{0});
  ++traffic_.exchanges;
  traffic_.given += (in.numel() - give[own]) * number;
  traffic_.taken += (taken - take[own]) * number;
  at::Tensor from = in.is_cpu() ? in.contiguous() : in.cpu().contiguous();
  at::Tensor to = at::empty({taken}, from.options());
  try {
    const auto work = group_->gloo->alltoall_base(to, from, take, give);
    stay_awake_until([&] { return work->isCompleted(); });
    work->wait();
  } catch (const std::exception& error) {
    throw LostRank(error.what());
  }
  return in.is_cpu() ? to : to.to(in.device());
}

}  // namespace flowcache
