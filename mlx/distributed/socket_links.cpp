#include "mlx/distributed/socket_links.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <stdexcept>

namespace mlx::core::distributed::detail {
namespace {

using Clock = std::chrono::steady_clock;

// What a process says when it connects.
struct Hello {
  uint32_t magic = 0x4d4c5848;
  int32_t rank = 0, size = 0;
};

}  // namespace

// What is left of a header and the bytes behind it.
class SocketLinks::Writing {
 public:
  explicit Writing(const Outgoing& out) : out_(out) {}
  int to() const { return out_.to; }
  bool done() const { return sent_ == sizeof(Header) + out_.header.bytes; }
  bool advance(Socket& s) {
    size_t n = 0;
    if (sent_ < sizeof(Header)) {
      n = s.write_some(reinterpret_cast<const char*>(&out_.header) + sent_, sizeof(Header) - sent_);
    } else {
      const size_t at = sent_ - sizeof(Header);
      n = s.write_some(static_cast<const char*>(out_.data) + at, out_.header.bytes - at);
    }
    sent_ += n;
    return n > 0;
  }

 private:
  const Outgoing& out_;
  size_t sent_ = 0;
};

class SocketLinks::Reading {
 public:
  Reading(const Incoming& in, std::vector<char>& piece) : in_(in), piece_(piece) {
    if (!in_.into) piece_.resize(kPiece);
  }
  int from() const { return in_.from; }
  bool done() const { return got_ == sizeof(Header) + in_.header.bytes; }
  bool advance(Inbound& s) {
    size_t n = 0;
    if (got_ < sizeof(Header)) {
      n = s.read_some(reinterpret_cast<char*>(&header_) + got_, sizeof(Header) - got_);
      if (got_ + n == sizeof(Header)) check_header(header_, in_.header);
    } else if (in_.into) {
      const size_t at = got_ - sizeof(Header);
      n = s.read_some(static_cast<char*>(in_.into) + at, in_.header.bytes - at);
    } else {
      const size_t at = got_ - sizeof(Header), in_piece = at % kPiece;
      n = s.read_some(piece_.data() + in_piece, std::min<size_t>(kPiece - in_piece, in_.header.bytes - at));
      const size_t filled = in_piece + n;
      if (n > 0 && (filled == kPiece || at + n == in_.header.bytes)) in_.sink(piece_.data(), filled);
    }
    got_ += n;
    return n > 0;
  }

 private:
  const Incoming& in_;
  std::vector<char>& piece_;
  Header header_;
  size_t got_ = 0;
};

size_t SocketLinks::Inbound::read_some(void* data, size_t bytes) {
  if (taken < aside.size()) {
    const size_t n = std::min(bytes, aside.size() - taken);
    std::memcpy(data, aside.data() + taken, n);
    taken += n;
    if (taken == aside.size()) {
      aside.clear();
      taken = 0;
    }
    return n;
  }
  if (ended) throw std::runtime_error("has closed its connection");
  return socket ? socket.read_some(data, bytes) : 0;
}

// A connection that ends here may have brought all that was to come.
void SocketLinks::Inbound::put_aside() {
  constexpr size_t kAtOnce = size_t{1} << 20;
  const size_t had = aside.size();
  aside.resize(had + kAtOnce);
  size_t n = 0;
  try {
    n = socket.read_some(aside.data() + had, kAtOnce);
  } catch (const std::runtime_error&) {
    ended = true;
  }
  aside.resize(had + n);
}

SocketLinks::SocketLinks(int rank, std::vector<Address> addresses, std::chrono::seconds patience)
    : rank_(rank),
      addresses_(std::move(addresses)),
      patience_(patience),
      process_(getpid()),
      listener_(listen_on(addresses_[static_cast<size_t>(rank)])),
      out_(addresses_.size()),
      in_(addresses_.size()) {
  outbound((rank_ + 1) % size());
  meet((rank_ + size() - 1) % size());
}

Socket& SocketLinks::outbound(int to) {
  Socket& s = out_[static_cast<size_t>(to)];
  if (s) return s;
  const Address& address = addresses_[static_cast<size_t>(to)];
  const Hello hello{.rank = rank_, .size = size()};
  s = connect_to(address, Clock::now() + patience_);
  if (!s)
    throw std::runtime_error("the process with rank " + std::to_string(to) + " does not answer at " +
                             address.host + ":" + address.port + " for " + std::to_string(patience_.count()) +
                             " s");
  // The first bytes of a connection always fit.
  with(to, [&] {
    if (s.write_some(&hello, sizeof(hello)) != sizeof(hello)) throw std::runtime_error("does not listen");
  });
  return s;
}

// Lets in who knocks and says its rank. True where somebody came in.
bool SocketLinks::welcome() {
  while (Socket s = accept_from(listener_)) strangers_.push_back({std::move(s), {}});
  bool any = false;
  std::erase_if(strangers_, [&](Stranger& s) {
    char bytes[sizeof(Hello)];
    try {
      const size_t n = s.socket.read_some(bytes, sizeof(Hello) - s.said.size());
      s.said.insert(s.said.end(), bytes, bytes + n);
    } catch (const std::runtime_error&) {
      return true;
    }
    if (s.said.size() < sizeof(Hello)) return false;
    Hello hello;
    std::memcpy(&hello, s.said.data(), sizeof(hello));
    if (hello.magic != Hello{}.magic || hello.rank < 0 || hello.rank >= size()) return true;
    if (hello.size != size())
      throw std::runtime_error("the process with rank " + std::to_string(hello.rank) + " knows " +
                               std::to_string(hello.size) + " processes, this one " + std::to_string(size()));
    Inbound& in = in_[static_cast<size_t>(hello.rank)];
    if (in.socket)
      throw std::runtime_error("two processes say that their rank is " + std::to_string(hello.rank));
    in.socket = std::move(s.socket);
    return any = true;
  });
  return any;
}

void SocketLinks::meet(int from) {
  const auto deadline = Clock::now() + patience_;
  while (!in_[static_cast<size_t>(from)].socket) {
    if (welcome()) continue;
    if (Clock::now() > deadline)
      throw std::runtime_error("the process with rank " + std::to_string(from) + " has not come for " +
                               std::to_string(patience_.count()) + " s");
    wait(kNobody, from);
  }
}

// For room to write or for something to read.
void SocketLinks::wait(int writing, int reading) {
  std::vector<pollfd> sockets;
  std::vector<Inbound*> others;
  if (writing != kNobody) {
    for (int i = 0; i < size(); ++i) {
      Inbound& in = in_[static_cast<size_t>(i)];
      if (i == reading || !in.socket || in.ended) continue;
      sockets.push_back({in.socket.fd(), POLLIN, 0});
      others.push_back(&in);
    }
    sockets.push_back({out_[static_cast<size_t>(writing)].fd(), POLLOUT, 0});
  }
  if (reading != kNobody && in_[static_cast<size_t>(reading)].socket)
    sockets.push_back({in_[static_cast<size_t>(reading)].socket.fd(), POLLIN, 0});
  const size_t listener = sockets.size();
  sockets.push_back({listener_.fd(), POLLIN, 0});
  for (const Stranger& s : strangers_) sockets.push_back({s.socket.fd(), POLLIN, 0});
  wait_for(sockets);
  for (size_t i = 0; i < others.size(); ++i)
    if (sockets[i].revents != 0) others[i]->put_aside();
  if (sockets[listener].revents != 0 || !strangers_.empty()) welcome();
}

void SocketLinks::run(Writing* out, Reading* in) {
  Socket* to = out ? &outbound(out->to()) : nullptr;
  while ((out && !out->done()) || (in && !in->done())) {
    bool moved = false;
    const bool writes = out && !out->done(), reads = in && !in->done();
    if (writes) moved |= with(out->to(), [&] { return out->advance(*to); });
    if (reads) moved |= with(in->from(), [&] { return in->advance(in_[static_cast<size_t>(in->from())]); });
    if (!moved) wait(writes ? out->to() : kNobody, reads ? in->from() : kNobody);
  }
}

void SocketLinks::exchange(const Outgoing* out, const Incoming* in) {
  if (getpid() != process_)
    throw std::runtime_error("this process was forked from one of the group and is no member");
  if (!broken_.empty()) throw std::runtime_error("the group cannot be used any more: " + broken_);
  try {
    std::optional<Writing> writing;
    std::optional<Reading> reading;
    if (out) writing.emplace(*out);
    if (in) reading.emplace(*in, piece_);
    run(writing ? &*writing : nullptr, reading ? &*reading : nullptr);
  } catch (...) {
    // A message may have been cut. The others learn it from the end of their connections.
    try {
      throw;
    } catch (const std::exception& error) {
      broken_ = error.what();
    } catch (...) {
      broken_ = "it was interrupted";
    }
    out_.clear();
    in_.clear();
    strangers_.clear();
    listener_ = {};
    throw;
  }
}

}  // namespace mlx::core::distributed::detail
