// SPDX-License-Identifier: LGPL-2.1-or-later
#include "parallel/exchange.h"

#include <signal.h>
#include <time.h>

#include <numeric>
#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "parallel/cards.h"
#include "parallel/stay_awake.h"

namespace flowcache {

struct Exchange::Group {
  c10::intrusive_ptr<c10d::Backend> backend;
  bool on_gpu;
  int rank, ranks;
  std::chrono::milliseconds timeout;
  void wait_for(c10d::Work& work);
};

// So far only the GPU waits. The host does as well, or it would not hear of a rank that is lost before a chunk is made of what it has
// not sent. c10d's own wait for that sleeps for a millisecond and more, and there are some eighty exchanges in a pass.
void Exchange::Group::wait_for(c10d::Work& work) {
  if (!stay_awake_until([&] { return work.isCompleted(); }, timeout)) {
    backend->abort();
    throw LostRank("an exchange by NCCL took longer than " + std::to_string(timeout.count()) + " ms");
  }
  if (const std::exception_ptr failed = work.exception()) std::rethrow_exception(failed);
}

namespace {

// Gloo writes to sockets whose other end may be gone, and the signal for that would end the process of a caller who has not thought
// of it. It stays blocked in threads that are started meanwhile, which are Gloo's own.
class WithoutPipeSignal {
 public:
  WithoutPipeSignal() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~WithoutPipeSignal() {
    if (sigismember(&before_, SIGPIPE)) return;
    const timespec at_once{};
    while (sigtimedwait(&pipe_, nullptr, &at_once) == SIGPIPE) continue;
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  WithoutPipeSignal(const WithoutPipeSignal&) = delete;
  WithoutPipeSignal& operator=(const WithoutPipeSignal&) = delete;

 private:
  sigset_t pipe_, before_;
};

// Sentences of LibTorch without the places that it was at.
template <typename Work>
void lost_if_fails(const Work& work) {
  try {
    work();
  } catch (const c10::Error& error) {
    throw LostRank(error.what_without_backtrace());
  } catch (const LostRank&) {
    throw;
  } catch (const std::exception& error) {
    throw LostRank(error.what());
  }
}

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

c10::intrusive_ptr<c10d::Backend> nccl_group(const c10::intrusive_ptr<c10d::Store>& store,
                                             const Meeting& meeting) {
  std::string problem;
  const FcNcclFunctions* const functions = nccl_functions(&problem);
  if (!functions) throw LostRank("NCCL cannot be used: " + problem);
  char error[512] = "";
  c10d::Backend* const group = functions->group(store.get(), meeting.rank, meeting.ranks,
                                                meeting.timeout.count(), error, sizeof error);
  if (!group) throw LostRank(error);
  return c10::intrusive_ptr<c10d::Backend>::reclaim(group);
}

c10::intrusive_ptr<c10d::Backend> gloo_group(const c10::intrusive_ptr<c10d::Store>& store,
                                             const Meeting& meeting) {
  const auto options = c10d::ProcessGroupGloo::Options::create(meeting.timeout);
  options->devices = {c10d::ProcessGroupGloo::createDeviceForHostname(meeting.address)};
  options->threads = 1;
  return c10::make_intrusive<c10d::ProcessGroupGloo>(store, meeting.rank, meeting.ranks, options);
}

}  // namespace

Exchange::Exchange(const Meeting& meeting) {
  const WithoutPipeSignal quiet;
  lost_if_fails([&] {
    const auto store = c10::make_intrusive<c10d::PrefixStore>(meeting.secret, store_of(meeting));
    store->setTimeout(meeting.timeout);
    group_ =
        std::make_unique<Group>(Group{meeting.nccl ? nccl_group(store, meeting) : gloo_group(store, meeting),
                                      meeting.nccl, meeting.rank, meeting.ranks, meeting.timeout});
  });
  if (!meeting.nccl) return;
  // NCCL's ranks find each other when they exchange something, and later the store may be gone.
  const std::vector<int64_t> one(static_cast<size_t>(meeting.ranks), 1);
  all_to_all(at::zeros({meeting.ranks}, at::TensorOptions(meeting.device)), one, one);
  traffic_ = {};
}

Exchange::~Exchange() {
  const WithoutPipeSignal quiet;
  group_.reset();
}

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
  const bool stays = in.is_cpu() || group_->on_gpu;
  at::Tensor from = stays ? in.contiguous() : in.cpu().contiguous();
  at::Tensor to = at::empty({taken}, from.options());
  const WithoutPipeSignal quiet;
  lost_if_fails([&] {
    const auto work = group_->backend->alltoall_base(to, from, take, give);
    if (!group_->on_gpu) stay_awake_until([&] { return work->isCompleted(); });
    work->wait();
    if (group_->on_gpu) group_->wait_for(*work);
  });
  return stays ? to : to.to(in.device());
}

}  // namespace flowcache
