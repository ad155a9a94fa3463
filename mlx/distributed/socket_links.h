// Connections between the processes of a program, one for each direction in which something was ever sent,
// made by the sender.
#pragma once

#include <string>
#include <vector>

#include "mlx/distributed/links.h"
#include "mlx/distributed/sockets.h"

namespace mlx::core::distributed::detail {

class SocketLinks final : public Links {
 public:
  // Listens at its own address and meets its neighbours, so that who is missing is known at once.
  SocketLinks(int rank, std::vector<Address> addresses, std::chrono::seconds patience);

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(addresses_.size()); }
  void exchange(const Outgoing* out, const Incoming* in) override;

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
