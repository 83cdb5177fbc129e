// SPDX-License-Identifier: LGPL-2.1-or-later
#include "parallel/channel.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "parallel/stay_awake.h"

namespace flowcache {

Channel& Channel::operator=(Channel&& other) noexcept {
  if (this != &other) {
    close();
    socket_ = std::exchange(other.socket_, -1);
  }
  return *this;
}

void Channel::close() {
  if (socket_ >= 0) ::close(socket_);
  socket_ = -1;
}

bool Channel::alive() const {
  char one = 0;
  const ssize_t found = open() ? ::recv(socket_, &one, 1, MSG_PEEK | MSG_DONTWAIT) : 0;
  return found > 0 || (found < 0 && (errno == EAGAIN || errno == EINTR));
}

bool Channel::move(void* bytes, size_t count, bool out, std::chrono::milliseconds patience) {
  auto* at = static_cast<char*>(bytes);
  while (count > 0) {
    pollfd ready{socket_, static_cast<short>(out ? POLLOUT : POLLIN), 0};
    stay_awake_until([&] { return poll(&ready, 1, 0) != 0; });
    const int found = poll(&ready, 1, static_cast<int>(patience.count()));
    if (found < 0 && errno == EINTR) continue;
    if (found <= 0) return false;
    const ssize_t moved = out ? ::send(socket_, at, count, MSG_NOSIGNAL | MSG_DONTWAIT)
                              : ::recv(socket_, at, count, MSG_DONTWAIT);
    if (moved < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (moved <= 0) return false;
    at += moved;
    count -= static_cast<size_t>(moved);
  }
  return true;
}

bool Channel::send(const nlohmann::json& message, std::chrono::milliseconds patience) {
  if (!open()) return false;
  std::vector<uint8_t> bytes = nlohmann::json::to_cbor(message);
  auto length = static_cast<uint32_t>(bytes.size());
  return move(&length, sizeof length, true, patience) && move(bytes.data(), bytes.size(), true, patience);
}

std::optional<nlohmann::json> Channel::receive(std::chrono::milliseconds patience, uint32_t most) {
  uint32_t length = 0;
  if (!open() || !move(&length, sizeof length, false, patience)) return {};
  if (length > most)
    throw Error(FC_ERROR_DEVICE, "a message of " + std::to_string(length) +
                                     " bytes came from another rank; at most " + std::to_string(most) +
                                     " are expected: are both of one version?");
  std::vector<uint8_t> bytes(length);
  if (!move(bytes.data(), length, false, std::chrono::seconds(30))) return {};
  nlohmann::json message = nlohmann::json::from_cbor(bytes, true, /*allow_exceptions=*/false);
  if (!message.is_object()) throw Error(FC_ERROR_DEVICE, "what came from another rank is no message");
  return message;
}

nlohmann::json to_json(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.to(at::kCPU).contiguous();
  const auto* first = static_cast<const uint8_t*>(flat.const_data_ptr());
  return {{"type", static_cast<int>(flat.scalar_type())},
          {"shape", flat.sizes().vec()},
          {"bytes", nlohmann::json::binary(std::vector<uint8_t>(first, first + flat.nbytes()))}};
}

at::Tensor tensor_of(const nlohmann::json& json) {
  at::Tensor tensor =
      at::empty(json.at("shape").get<std::vector<int64_t>>(),
                at::TensorOptions().dtype(static_cast<at::ScalarType>(json.at("type").get<int>())));
  const auto& bytes = json.at("bytes").get_binary();
  if (bytes.size() != tensor.nbytes())
    throw Error(FC_ERROR_DEVICE, "a tensor of " + std::to_string(tensor.nbytes()) + " bytes came with " +
                                     std::to_string(bytes.size()));
  std::memcpy(tensor.mutable_data_ptr(), bytes.data(), bytes.size());
  return tensor;
}

}  // namespace flowcache
