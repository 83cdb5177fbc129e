// SPDX-License-Identifier: LGPL-2.1-or-later
// The parts of the C API that belong to the process: errors, log, versions, the list of policies.
#include <pthread.h>

#include <memory>
#include <sstream>

#include "api_guard.h"
#include "cache/registry.h"
#include "stream/cpu_report.h"

namespace flowcache {

namespace {

// A key of the threads library instead of a thread_local. A thread_local needs memory when a thread fails for
// the first time, and the C library ends the process if there is none. It would also be gone when the
// program's exit handlers run.
pthread_key_t error_key() {
  static const pthread_key_t key = [] {
    pthread_key_t made{};
    pthread_key_create(&made, [](void* sentence) { delete static_cast<std::string*>(sentence); });
    return made;
  }();
  return key;
}

}  // namespace

bool may_enter() noexcept {
  thread_local bool entered = false;
  return entered = entered || has_headroom();
}

fc_status remember(fc_status status, std::string_view message) noexcept {
  auto* sentence = static_cast<std::string*>(pthread_getspecific(error_key()));
  try {
    if (!sentence) {
      auto made = std::make_unique<std::string>();
      if (pthread_setspecific(error_key(), made.get()) != 0) return status;
      sentence = made.release();
    }
    sentence->assign(message);
  } catch (...) {
    if (sentence) sentence->clear();
  }
  return status;
}

const char* remembered() noexcept {
  const auto* sentence = static_cast<const std::string*>(pthread_getspecific(error_key()));
  return sentence ? sentence->c_str() : "";
}

namespace {

std::string options_text(const std::vector<OptionSpec>& options) {
  std::ostringstream text;
  for (const auto& option : options) {
    if (!is_public(option)) continue;
    const std::vector<std::string> words = public_words(option);
    text << option.name << '=';
    if (words.empty()) {
      text << option.value << " (" << option.min << ".." << option.max << ')';
    } else {
      text << words.front() << " (";
      for (size_t i = 0; i < words.size(); ++i) text << (i ? "|" : "") << words[i];
      text << ')';
    }
    text << ": " << option.help << '\n';
  }
  return text.str();
}

// An entry of fc_policy_describe(). Its strings live as long as the process.
struct Description {
  fc_policy_kind kind;
  std::string name, summary, paper, options;
};

const std::vector<Description>& descriptions() {
  static const auto& all = *new const std::vector<Description>([] {
    std::vector<Description> list;
    for (const auto& p : reuse_policies())
      list.push_back({FC_POLICY_REUSE, p.name, p.summary, p.paper, options_text(p.options)});
    for (const auto& p : guidance_policies())
      list.push_back({FC_POLICY_GUIDANCE, p.name, p.summary, p.paper, options_text(p.options)});
    list.push_back({FC_POLICY_STORAGE, "offload",
                    "on a GPU, residuals wait in host memory; copies run beside the network",
                    "LightCache, arXiv 2510.05367", ""});
    for (const auto& p : kv_policies())
      list.push_back({FC_POLICY_KV, p.name, p.summary, p.paper, options_text(p.options)});
    for (const PolicyAlias& one : reuse_aliases())
      list.push_back({FC_POLICY_REUSE, one.name, std::string("another name of ") + one.spec, one.paper, ""});
    for (const PolicyAlias& one : kv_aliases())
      list.push_back({FC_POLICY_KV, one.name, std::string("another name of ") + one.spec, one.paper, ""});
    return list;
  }());
  return all;
}

}  // namespace

}  // namespace flowcache

extern "C" {

const char* fc_last_error(void) {
  return flowcache::remembered();
}
uint32_t fc_abi_version(void) {
  return FC_ABI_VERSION;
}
const char* fc_version(void) {
  return FLOWCACHE_VERSION;
}

const char* fc_status_name(fc_status status) {
  switch (status) {
    case FC_OK:
      return "ok";
    case FC_ERROR_ARGUMENT:
      return "argument";
    case FC_ERROR_NOT_FOUND:
      return "not-found";
    case FC_ERROR_MODEL:
      return "model";
    case FC_ERROR_MEMORY:
      return "memory";
    case FC_ERROR_DEVICE:
      return "device";
    case FC_CANCELLED:
      return "cancelled";
    case FC_ENDED:
      return "ended";
    case FC_ERROR_INTERNAL:
      return "internal";
  }
  return "unknown";
}

void fc_set_log_function(fc_log_function function, void* user) {
  flowcache::set_log_function(function, user);
}

fc_status fc_cpu_describe(fc_cpu_info* info) {
  return flowcache::guarded([&] {
    const flowcache::CpuReport& cpu = flowcache::cpu_report();
    flowcache::write_struct(info,
                            {sizeof(fc_cpu_info), cpu.processor.c_str(), cpu.kernels.c_str(),
                             cpu.libtorch.c_str(), cpu.onednn.c_str(), cpu.bf16_emulated.c_str()},
                            "info");
  });
}

fc_status fc_policy_describe(uint32_t index, fc_policy_info* info) {
  return flowcache::guarded([&] {
    const auto& all = flowcache::descriptions();
    if (index >= all.size())
      throw flowcache::Error(
          FC_ERROR_NOT_FOUND,
          "policy " + std::to_string(index) + " does not exist: there are " + std::to_string(all.size()));
    const auto& one = all[index];
    flowcache::write_struct(info,
                            {sizeof(fc_policy_info), one.kind, one.name.c_str(), one.summary.c_str(),
                             one.paper.c_str(), one.options.c_str()},
                            "info");
  });
}

}  // extern "C"
