// SPDX-License-Identifier: LGPL-2.1-or-later
// The other processes that a stream's network runs in, as the stream sees them. engine/parallel/ implements it.
#pragma once

#include <exception>
#include <memory>
#include <string>

#include "cache/kv/kv_store.h"
#include "networks/transformer.h"

namespace flowcache {

// Some of the other processes are lost, and the network now runs in those that are left. Keys and values that were made
// before are of no use: the stream makes them anew (Stream::write_keys_anew()).
class RanksChanged : public std::exception {
 public:
  const char* what() const noexcept override { return "the network's ranks have changed"; }
};

// Thread-safe.
class Ranks {
 public:
  virtual ~Ranks() = default;
  virtual int count() const = 0;
  // False: when one of them is lost, its streams end. True: they go on, and calls of the network throw RanksChanged once.
  virtual bool goes_on() const = 0;
  // Another number whenever the ranks have changed.
  virtual uint64_t generation() const = 0;
  // The network that runs in all processes and looks like one. Called once, by LoadedModel::load(). Throws
  // FC_ERROR_ARGUMENT if it has too few heads for so many.
  virtual std::unique_ptr<Transformer> split(std::unique_ptr<Transformer> whole) = 0;
  // The part of a guidance branch's keys and values that this process keeps, of a stream with so many branches; a branch
  // that runs elsewhere still has one head here, by which its tokens are counted.
  virtual KvGeometry share(const KvGeometry& whole, int branch, int branches) const = 0;
  // How many branches' keys and values a process keeps.
  virtual int branches_kept(int branches) const = 0;
  // Makes the other processes keep theirs as long as what is returned lives, or until the ranks change. policy: as in
  // choose_kv(). generation: of which `share` is. Throws RanksChanged if that is over.
  virtual std::unique_ptr<KvFollower> follow(uint64_t generation, const KvGeometry& share,
                                             int64_t budget_tokens, const std::string& policy, int branch,
                                             int branches) = 0;
};

}  // namespace flowcache
