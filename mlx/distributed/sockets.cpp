#include "mlx/distributed/sockets.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <system_error>

#include "mlx/graph/interrupt.h"
#include "mlx/graph/worker.h"

namespace mlx::core::distributed::detail {
namespace {

std::string reason(int error) { return std::generic_category().message(error); }

#ifdef MSG_NOSIGNAL
constexpr int kSendFlags = MSG_NOSIGNAL;  // a lost connection is an error of this call, not a signal
#else
constexpr int kSendFlags = 0;
#endif

void set_option(int fd, int level, int name) {
  const int on = 1;
  setsockopt(fd, level, name, &on, sizeof(on));
}
void prepare(int fd) {
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
#ifdef SO_NOSIGPIPE
  set_option(fd, SOL_SOCKET, SO_NOSIGPIPE);
#endif
}
void prepare_connection(int fd) {
  prepare(fd);
  set_option(fd, IPPROTO_TCP, TCP_NODELAY);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE);
}

using Resolved = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;
Resolved resolve(const Address& address, bool passive) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = passive ? AI_PASSIVE : 0;
  addrinfo* list = nullptr;
  if (const int rc = getaddrinfo(address.host.c_str(), address.port.c_str(), &hints, &list))
    throw std::runtime_error("[distributed] the address " + address.host + ":" + address.port +
                             " has no meaning here: " + gai_strerror(rc));
  return {list, &freeaddrinfo};
}

size_t moved(ssize_t bytes) {
  if (bytes > 0) return static_cast<size_t>(bytes);
  if (bytes == 0) throw std::runtime_error("has closed its connection");
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return 0;
  throw std::runtime_error("cannot be reached any more: " + reason(errno));
}

}  // namespace

Socket::~Socket() {
  if (fd_ >= 0) close(fd_);
}
size_t Socket::write_some(const void* data, size_t bytes) {
  return moved(::send(fd_, data, bytes, kSendFlags));
}
size_t Socket::read_some(void* data, size_t bytes) { return moved(::recv(fd_, data, bytes, 0)); }

Address parse_address(const std::string& text) {
  const size_t colon = text.rfind(':');
  const bool bracket =
      text.starts_with('[') && colon != std::string::npos && colon > 1 && text[colon - 1] == ']';
  const std::string host = bracket ? text.substr(1, colon - 2) : text.substr(0, colon);
  if (colon == std::string::npos || host.empty() || colon + 1 == text.size() ||
      text.find_first_not_of("0123456789", colon + 1) != std::string::npos)
    throw std::invalid_argument("[distributed] got the address '" + text + "', expected HOST:PORT");
  return {host, text.substr(colon + 1)};
}

Socket listen_on(const Address& address) {
  const Resolved list = resolve(address, true);
  int error = 0;
  for (const addrinfo* a = list.get(); a; a = a->ai_next) {
    Socket s(socket(a->ai_family, a->ai_socktype, a->ai_protocol));
    if (s) {
      prepare(s.fd());
      set_option(s.fd(), SOL_SOCKET, SO_REUSEADDR);
      if (bind(s.fd(), a->ai_addr, a->ai_addrlen) == 0 && listen(s.fd(), 128) == 0) return s;
    }
    error = errno;
  }
  throw std::runtime_error("[distributed] this process cannot listen on " + address.host + ":" +
                           address.port + ": " + reason(error));
}

Socket connect_to(const Address& address, Deadline deadline) {
  for (;;) {
    const Resolved list = resolve(address, false);
    for (const addrinfo* a = list.get(); a; a = a->ai_next) {
      Socket s(socket(a->ai_family, a->ai_socktype, a->ai_protocol));
      if (!s) continue;
      prepare_connection(s.fd());
      if (connect(s.fd(), a->ai_addr, a->ai_addrlen) == 0) return s;
      if (errno != EINPROGRESS) continue;
      pollfd ready{s.fd(), POLLOUT, 0};
      while (ready.revents == 0 && std::chrono::steady_clock::now() < deadline) wait_for({&ready, 1});
      int error = 0;
      socklen_t size = sizeof(error);
      if (ready.revents != 0 && getsockopt(s.fd(), SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0)
        return s;
    }
    if (std::chrono::steady_clock::now() >= deadline) return {};
    wait_for({});
  }
}

Socket accept_from(const Socket& listener) {
  Socket s(accept(listener.fd(), nullptr, nullptr));
  if (s) prepare_connection(s.fd());
  return s;
}

void wait_for(std::span<pollfd> sockets) {
  check_interrupt();
  if (core::detail::is_stopping()) throw std::runtime_error("this process ends");
  poll(sockets.data(), static_cast<nfds_t>(sockets.size()), 100);
}

}  // namespace mlx::core::distributed::detail
