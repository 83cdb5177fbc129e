// SPDX-License-Identifier: LGPL-2.1-or-later
// A connection between rank 0 and a worker, for orders and answers: JSON objects, as CBOR behind their length. Tensors go
// by the exchange, except for those of a prompt.
#pragma once

#include <ATen/ATen.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

namespace flowcache {

// Owns the socket. One thread at a time.
class Channel {
 public:
  Channel() = default;
  explicit Channel(int socket) : socket_(socket) {}
  ~Channel() { close(); }
  Channel(Channel&& other) noexcept : socket_(std::exchange(other.socket_, -1)) {}
  Channel& operator=(Channel&& other) noexcept;

  int socket() const { return socket_; }
  bool open() const { return socket_ >= 0; }
  // False if the other end has closed it.
  bool alive() const;
  void close();
  // False if the other end is gone, or has not read for `patience`.
  bool send(const nlohmann::json& message, std::chrono::milliseconds patience = std::chrono::seconds(30));
  // Nothing if the other end is gone, or nothing came for `patience`; negative waits for ever. Throws Error for what is
  // no message, and for one of more than `most` bytes.
  std::optional<nlohmann::json> receive(std::chrono::milliseconds patience = std::chrono::milliseconds(-1),
                                        uint32_t most = uint32_t{1} << 28);

 private:
  bool move(void* bytes, size_t count, bool out, std::chrono::milliseconds patience);
  int socket_ = -1;
};

// A tensor in a message.
nlohmann::json to_json(const at::Tensor& tensor);
at::Tensor tensor_of(const nlohmann::json& json);

}  // namespace flowcache
