// TCP sockets that never block: what waits, waits in poll(), a tenth of a second at a time, and answers
// interrupts between.
#pragma once

#include <poll.h>

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <utility>

namespace mlx::core::distributed::detail {

class Socket {
 public:
  Socket() = default;
  explicit Socket(int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Socket();

  int fd() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

  // How many bytes went at once; 0: none, wait. std::runtime_error("...") where the connection has ended.
  size_t write_some(const void* data, size_t bytes);
  size_t read_some(void* data, size_t bytes);

 private:
  int fd_ = -1;
};

// "127.0.0.1:5000", "node1:5000", "[::1]:5000".
struct Address {
  std::string host, port;
};
Address parse_address(const std::string& text);

using Deadline = std::chrono::steady_clock::time_point;

Socket listen_on(const Address& address);
// Tries again where nobody listens yet. Null after the deadline.
Socket connect_to(const Address& address, Deadline deadline);
// Null where nobody knocks.
Socket accept_from(const Socket& listener);

// Waits until one of the sockets is ready, at most a tenth of a second. Calls check_interrupt().
void wait_for(std::span<pollfd> sockets);

}  // namespace mlx::core::distributed::detail
