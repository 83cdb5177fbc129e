// SPDX-License-Identifier: LGPL-2.1-or-later
#include "spare_device.h"

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/DeviceType.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <sys/mman.h>
#include <torch/library.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

namespace spare {
namespace {

constexpr auto device_type = c10::DeviceType::PrivateUse1;
const c10::DispatchKeySet device_keys(c10::DispatchKey::PrivateUse1);
Counts counted;

// ---- memory

// Addresses are given out once, so that one that is out of date never names other memory.
class Addresses {
 public:
  bool reserve() {
    void* const range = mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range != MAP_FAILED) begin_ = static_cast<char*>(range);
    return range != MAP_FAILED;
  }
  bool contains(const void* address) const { return address >= begin_ && address < begin_ + size; }

  void* take(size_t bytes) {
    const std::lock_guard lock(mutex_);
    const size_t pages = bytes / page + 1;  // one at least lies between two tensors, or ends this one
    TORCH_CHECK(used_ + (pages + 1) * page <= size, "spare device: all addresses have been given out");
    char* const address = begin_ + used_;
    used_ += (pages + 1) * page;
    c10::DataPtr memory = c10::GetAllocator(c10::DeviceType::CPU)->allocate(bytes);
    if (bytes > 0) std::memset(memory.get(), 0xFF, bytes);
    memory_.emplace(address, std::move(memory));
    return address;
  }
  void give(const void* address) {
    const std::lock_guard lock(mutex_);
    memory_.erase(address);
  }
  // Where the bytes of an address that take() returned are.
  void* bytes(const void* address) {
    const std::lock_guard lock(mutex_);
    const auto found = memory_.find(address);
    TORCH_CHECK(found != memory_.end() || address == nullptr,
                "spare device: memory that was given back is used");
    return address == nullptr ? nullptr : found->second.get();
  }

 private:
  static constexpr size_t page = 4096, size = size_t{1} << 40;
  char* begin_ = nullptr;
  size_t used_ = 0;
  std::mutex mutex_;
  std::map<const void*, c10::DataPtr> memory_;
};

// Never destroyed: tensors in static objects outlive it.
Addresses& addresses() {
  static Addresses& one = *new Addresses;
  return one;
}

struct Allocator final : c10::Allocator {
  static void release(void* address) { addresses().give(address); }
  c10::DataPtr allocate(size_t bytes) override {
    void* const address = addresses().take(bytes);
    return {address, address, &release, device};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    std::memcpy(addresses().bytes(to), addresses().bytes(from), bytes);
  }
};
Allocator allocator;

void tell_of_touch(int signal, siginfo_t* info, void*) {
  if (addresses().contains(info->si_addr)) {
    static constexpr char message[] = "spare device: the host touched the device's memory\n";
    (void)!write(STDERR_FILENO, message, sizeof message - 1);
  }
  std::signal(signal, SIG_DFL);  // the access is tried again, and ends the process
}

// ---- what LibTorch asks of a device; everything is done when it is asked for

struct Guard final : c10::impl::DeviceGuardImplInterface {
  static c10::Stream stream(c10::StreamId id) { return c10::Stream(c10::Stream::UNSAFE, device, id); }
  c10::DeviceType type() const override { return device_type; }
  c10::Device exchangeDevice(c10::Device) const override { return device; }
  c10::Device getDevice() const override { return device; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  c10::Stream getStream(c10::Device) const override { return current_; }
  c10::Stream getDefaultStream(c10::Device) const override { return stream(0); }
  c10::Stream getStreamFromGlobalPool(c10::Device, bool) const override { return stream(1); }
  c10::Stream exchangeStream(c10::Stream next) const override { return std::exchange(current_, next); }
  void synchronizeStream(const c10::Stream&) const override { ++counted.waits; }
  void record(void**, const c10::Stream&, c10::DeviceIndex, c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, c10::DeviceIndex) const noexcept override {}

 private:
  static inline thread_local c10::Stream current_ = stream(0);
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard)

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  at::Allocator* getPinnedMemoryAllocator() const override { return c10::GetAllocator(c10::DeviceType::CPU); }
};

// ---- operators

bool ours(const at::Tensor& tensor) {
  return tensor.device().type() == device_type;
}

at::Tensor fresh(at::IntArrayRef sizes, at::IntArrayRef strides, at::ScalarType type) {
  return at::detail::empty_strided_generic(sizes, strides, &allocator, device_keys, type);
}

// The tensor as the CPU's operators see it: a view of its whole storage, so that what they make views of is
// found again.
at::Tensor on_cpu(const at::Tensor& tensor) {
  const at::Storage& storage = tensor.storage();
  const auto count = static_cast<int64_t>(storage.nbytes() / tensor.element_size());
  return at::from_blob(addresses().bytes(storage.data()), {count}, tensor.options().device(at::kCPU))
      .as_strided(tensor.sizes(), tensor.strides(), tensor.storage_offset());
}

at::Tensor on_device(const at::Tensor& result) {
  const at::Tensor copy = fresh(result.sizes(), result.strides(), result.scalar_type());
  if (result.numel() > 0) on_cpu(copy).copy_(result);
  return copy;
}

// One call of an operator on the CPU, in place of the device's.
class Call {
 public:
  explicit Call(const c10::FunctionSchema& schema) : schema_(schema) {}

  // written: the operator may give it another size.
  at::Tensor argument(const at::Tensor& tensor, bool written) {
    if (!tensor.defined()) return tensor;
    if (!ours(tensor)) {
      // As on CUDA: one number may come from the host.
      TORCH_CHECK(tensor.dim() == 0, "spare device: ", schema_.operator_name(), " got tensors on ", device,
                  " and one of ", tensor.sizes(), " on ", tensor.device());
      return tensor;
    }
    const at::Tensor seen =
        written && tensor.numel() == 0 ? at::empty({0}, tensor.options().device(at::kCPU)) : on_cpu(tensor);
    arguments_.push_back({tensor, seen});
    return seen;
  }

  at::Tensor result(const at::Tensor& result) const {
    if (!result.defined()) return result;
    for (const auto& [own, seen] : arguments_) {
      if (result.is_same(seen)) {
        if (own.numel() == 0 && result.numel() > 0) on_cpu(own.resize_(result.sizes())).copy_(result);
        return own;
      }
      if (result.numel() > 0 && result.scalar_type() == own.scalar_type() &&
          result.storage().data() == seen.storage().data())
        return own.as_strided(result.sizes(), result.strides(), result.storage_offset());
    }
    return on_device(result);
  }

 private:
  struct Argument {
    at::Tensor own, seen;
  };
  const c10::FunctionSchema& schema_;
  std::vector<Argument> arguments_;
};

void run_on_cpu(const c10::OperatorHandle& op, c10::DispatchKeySet, torch::jit::Stack* stack) {
  ++counted.calls;
  const auto& schema = op.schema();
  Call call(schema);
  const size_t count = schema.arguments().size(), base = stack->size() - count;
  for (size_t i = 0; i < count; ++i) {
    c10::IValue& value = (*stack)[base + i];
    const auto* const alias = schema.arguments()[i].alias_info();
    const bool written = alias && alias->isWrite();
    if (value.isTensor()) {
      value = call.argument(value.toTensor(), written);
    } else if (value.isTensorList()) {
      std::vector<at::Tensor> all = value.toTensorVector();
      for (at::Tensor& one : all) one = call.argument(one, written);
      value = std::move(all);
    } else if (value.isOptionalTensorList()) {
      c10::impl::GenericList all = value.toList().copy();
      for (size_t j = 0; j < all.size(); ++j)
        if (const c10::IValue one = all.get(j); one.isTensor())
          all.set(j, call.argument(one.toTensor(), written));
      value = std::move(all);
    } else if (value.isDevice()) {
      value = at::Device(at::kCPU);
    }
  }
  op.callBoxed(stack);
  for (size_t i = stack->size() - schema.returns().size(); i < stack->size(); ++i) {
    c10::IValue& value = (*stack)[i];
    if (value.isTensor()) {
      value = call.result(value.toTensor());
    } else if (value.isTensorList()) {
      std::vector<at::Tensor> all = value.toTensorVector();
      for (at::Tensor& one : all) one = call.result(one);
      value = std::move(all);
    }
  }
}

at::Tensor empty(c10::SymIntArrayRef sizes, std::optional<at::ScalarType> type, std::optional<at::Layout>,
                 std::optional<at::Device>, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(C10_AS_INTARRAYREF_SLOW(sizes), &allocator, device_keys,
                                   type.value_or(at::kFloat), format);
}

at::Tensor empty_strided(c10::SymIntArrayRef sizes, c10::SymIntArrayRef strides,
                         std::optional<at::ScalarType> type, std::optional<at::Layout>,
                         std::optional<at::Device>, std::optional<bool>) {
  return fresh(C10_AS_INTARRAYREF_SLOW(sizes), C10_AS_INTARRAYREF_SLOW(strides), type.value_or(at::kFloat));
}

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool) {
  ++(!ours(from) ? counted.to_device : !ours(to) ? counted.to_host : counted.calls);
  (ours(to) ? on_cpu(to) : to).copy_(ours(from) ? on_cpu(from) : from);
  return to;
}

at::Tensor copy_from_and_resize(const at::Tensor& from, const at::Tensor& to) {
  to.resize_(from.sizes());
  return copy_from(from, to, false);
}

at::Scalar item(const at::Tensor& tensor) {
  ++counted.items;
  return on_cpu(tensor).item();
}

const at::Tensor& resize(const at::Tensor& tensor, c10::SymIntArrayRef sizes,
                         std::optional<at::MemoryFormat>) {
  tensor.unsafeGetTensorImpl()->set_sizes_contiguous(C10_AS_INTARRAYREF_SLOW(sizes));
  const size_t bytes = static_cast<size_t>(tensor.numel() + tensor.storage_offset()) * tensor.element_size();
  const at::Storage& storage = tensor.storage();
  if (bytes > storage.nbytes()) {
    at::DataPtr more = allocator.allocate(bytes);
    allocator.copy_data(more.get(), storage.data(), storage.nbytes());
    storage.set_data_ptr_noswap(std::move(more));
    storage.set_nbytes(bytes);
  }
  return tensor;
}

at::Tensor convolution(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                       c10::SymIntArrayRef stride, c10::SymIntArrayRef padding, c10::SymIntArrayRef dilation,
                       bool transposed, c10::SymIntArrayRef output_padding, c10::SymInt groups) {
  const bool biased = bias && bias->defined();
  TORCH_CHECK(ours(x) && ours(weight) && (!biased || ours(*bias)),
              "spare device: convolution on two devices");
  ++counted.calls;
  return on_device(at::convolution_symint(on_cpu(x), on_cpu(weight),
                                          biased ? std::optional(on_cpu(*bias)) : std::nullopt, stride,
                                          padding, dilation, transposed, output_padding, groups));
}

// Plain products and a softmax.
int64_t choose_attention(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                         const std::optional<at::Tensor>&, double, bool, std::optional<double>, bool) {
  return 0;
}

void record_stream(at::Tensor&, c10::Stream) {}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&run_on_cpu>());
}
TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", &empty);
  m.impl("empty_strided", &empty_strided);
  m.impl("as_strided", TORCH_FN(at::native::as_strided_tensorimpl));
  m.impl("view", TORCH_FN(at::native::view));
  m.impl("_reshape_alias", TORCH_FN(at::native::_reshape_alias));
  m.impl("_copy_from", &copy_from);
  m.impl("_copy_from_and_resize", &copy_from_and_resize);
  m.impl("_local_scalar_dense", &item);
  m.impl("resize_", &resize);
  m.impl("convolution_overrideable", &convolution);
  m.impl("_fused_sdp_choice", &choose_attention);
  m.impl("record_stream", &record_stream);
}

}  // namespace

Counts counts() {
  return counted;
}

Counts operator-(const Counts& after, const Counts& before) {
  return {after.calls - before.calls, after.to_device - before.to_device, after.to_host - before.to_host,
          after.items - before.items, after.waits - before.waits};
}

std::string install() {
  if (!addresses().reserve())
    return "the spare device needs a terabyte of addresses (not of memory), which the system refuses: raise "
           "ulimit -v";
  c10::register_privateuse1_backend("spare");
  c10::SetAllocator(device_type, &allocator, 1);
  at::RegisterPrivateUse1HooksInterface(new Hooks);  // for the whole process
  struct sigaction action = {};
  action.sa_sigaction = tell_of_touch;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, nullptr);
  return "";
}

}  // namespace spare
