// Messages between the processes of a program, whatever carries them. They say what they are part of; a
// receiver that expects something else throws.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

namespace mlx::core::distributed::detail {

enum class Kind : uint16_t { all_sum, all_max, all_min, all_gather, sum_scatter, send, split };

// Processes that do the same send and expect the same.
struct Header {
  uint32_t magic = 0x4d4c5852;
  Kind kind = Kind::send;
  uint16_t dtype = 0;  // Dtype::Val
  uint64_t group = 0;
  uint64_t count = 0;  // elements of the whole operation
  uint64_t bytes = 0;  // that follow
  bool operator==(const Header&) const = default;
};
// Throws std::runtime_error, as "is at all_max of 3 elements ...", where another one came.
void check_header(const Header& got, const Header& expected);

class Links {
 public:
  // Called with pieces of a message as they come, in order; each but the last has kPiece bytes.
  using Sink = std::function<void(const char* data, size_t bytes)>;
  static constexpr size_t kPiece = size_t{1} << 18;

  Links() = default;
  Links(const Links&) = delete;
  Links& operator=(const Links&) = delete;
  virtual ~Links() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

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
  // Sends, receives, or both at the same time (either may be null). Blocks, answers interrupts, throws
  // std::runtime_error; the links cannot be used any more then. While a message is on its way out, what comes
  // in is put aside, so processes that all send first do not wait for each other for ever.
  virtual void exchange(const Outgoing* out, const Incoming* in) = 0;

 protected:
  // Calls talk(), whose errors are those of the process with that rank.
  template <class F>
  static auto with(int rank, F&& talk);
};

template <class F>
auto Links::with(int rank, F&& talk) {
  try {
    return talk();
  } catch (const std::runtime_error& error) {
    throw std::runtime_error("the process with rank " + std::to_string(rank) + " " + error.what());
  }
}

}  // namespace mlx::core::distributed::detail
