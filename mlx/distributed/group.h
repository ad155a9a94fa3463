// What a back end of mx.distributed provides: exchange of bytes between processes that call the same
// functions in the same order. Calls block, answer interrupts, and throw std::runtime_error where a process
// is gone or does something else; the group is unusable then, and says so.
#pragma once

#include <cstddef>
#include <memory>

#include "mlx/dtype.h"

namespace mlx::core::distributed::detail {

enum class Reduction { sum, max, min };

class GroupImpl {
 public:
  GroupImpl() = default;
  GroupImpl(const GroupImpl&) = delete;
  GroupImpl& operator=(const GroupImpl&) = delete;
  virtual ~GroupImpl() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual std::shared_ptr<GroupImpl> split(int color, int key) = 0;

  // `out` may be `in`.
  virtual void all_reduce(Reduction op, Dtype dtype, const void* in, void* out, size_t count) = 0;
  // `out` has size() times `count` elements.
  virtual void all_gather(Dtype dtype, const void* in, void* out, size_t count) = 0;
  // `in` has size() times `count` elements.
  virtual void sum_scatter(Dtype dtype, const void* in, void* out, size_t count) = 0;
  virtual void send(Dtype dtype, const void* in, size_t count, int dst) = 0;
  virtual void recv(Dtype dtype, void* out, size_t count, int src) = 0;
};

// Null where the environment tells of no group; throws where what it tells is wrong or no process answers.
std::shared_ptr<GroupImpl> make_ring();
std::shared_ptr<GroupImpl> make_mpi();
// Can the library of MPI be loaded?
bool has_mpi();

}  // namespace mlx::core::distributed::detail
