// Connections between the processes of a program, one for each direction in which something was ever sent,
// made by the sender. Messages say what they are; a receiver that expects something else throws.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "mlx/distributed/sockets.h"

namespace mlx::core::distributed::detail {

// What a message is part of. Processes that do the same send and expect the same.
struct Header {
  uint32_t magic = 0x4d4c5852;
  uint16_t kind = 0;   // of operation
  uint16_t dtype = 0;  // Dtype::Val
  uint64_t group = 0;
  uint64_t count = 0;  // elements of the whole operation
  uint64_t bytes = 0;  // that follow
  bool operator==(const Header&) const = default;
};
std::string describe(const Header& header);

class Links {
 public:
  // Called with pieces of a message as they come, in order; each but the last is a multiple of kPiece bytes.
  using Sink = std::function<void(const char* data, size_t bytes)>;
  static constexpr size_t kPiece = size_t{1} << 18;

  // Listens at its own address and meets its neighbours, so that who is missing is known at once.
  Links(int rank, std::vector<Address> addresses, std::chrono::seconds patience);

  int rank() const { return rank_; }
  int size() const { return static_cast<int>(addresses_.size()); }

  struct Outgoing {
    int to;
    Header header;
    const void* data;
  };
  struct Incoming {
    int from;
    Header header;  // expected
    void* into;     // null: the sink takes it
    Sink sink;
  };
  // Sends, receives, or both at the same time (either may be null). While a message is on its way out, what
  // comes in from others is put aside, so processes that all send first do not wait for each other for ever.
  void exchange(const Outgoing* out, const Incoming* in);

 private:
  // Bytes that came in while something else was waited for come first.
  struct Inbound {
    Socket socket;
    std::vector<char> aside;
    size_t taken = 0;
    bool ended = false;
    size_t read_some(void* data, size_t bytes);
    void put_aside();
  };
  // One that has not said who it is.
  struct Stranger {
    Socket socket;
    std::vector<char> said;
  };
  class Writing;
  class Reading;

  Socket& outbound(int to);
  void meet(int from);
  bool welcome();
  void run(Writing* out, Reading* in);
  void wait(int writing, int reading);
  template <class F>
  auto with(int rank, F&& talk);

  static constexpr int kNobody = -1;

  int rank_;
  std::vector<Address> addresses_;
  std::chrono::seconds patience_;
  int process_;         // that made this: a forked child shares the sockets and must not use them
  std::string broken_;  // why it is of no use any more
  Socket listener_;
  std::vector<Socket> out_;
  std::vector<Inbound> in_;
  std::vector<Stranger> strangers_;
  std::vector<char> piece_;
};

}  // namespace mlx::core::distributed::detail
