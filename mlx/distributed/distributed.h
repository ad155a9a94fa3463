// Programs that run as several processes, on one machine or many: which processes there are, and how they are
// joined to a group. What they exchange is in mlx/distributed/ops.h.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace mlx::core::distributed {

namespace detail {
class GroupImpl;
}

// What every process gave, in the order of ranks, joined: `all_gather(mine, bytes)`.
using AllGatherFn = std::function<std::string(std::string_view, size_t)>;
// Makes that function for a rank and a number of processes.
using AllGatherFactory = std::function<AllGatherFn(int, int)>;

// Can processes be joined by any back end, or by the one of that name?
bool is_available();
bool is_available(const std::string& bk);

// Processes that work together. Each has a rank, from 0 to size() - 1.
class Group {
 public:
  explicit Group(std::shared_ptr<detail::GroupImpl> group) : group_(std::move(group)) {}

  int rank() const;
  int size() const;
  // Groups of those that give the same color, ranked by key, then by rank here (key -1: by rank). Every
  // process of this group calls it. std::runtime_error where the group has one member.
  Group split(int color, int key = -1) const;

  const std::shared_ptr<detail::GroupImpl>& raw_group() const { return group_; }

 private:
  std::shared_ptr<detail::GroupImpl> group_;
};

// The group of all processes, made at the first call. Back ends: "ring" (sockets; rank and addresses come
// from MLX_RANK and MLX_HOSTFILE); "any" takes the first that was told of other processes. Where none was,
// the group has one member, or, if `strict`, std::runtime_error. std::invalid_argument for a name that is no
// back end's.
Group init(bool strict = false, const std::string& bk = "any");
// For back ends that have to be told how to reach each other and cannot find out: none here needs `factory`.
Group init(bool strict, const std::string& bk, AllGatherFactory factory);

// Leaves all groups. Connections end when nobody holds one of their groups.
void clear_backends();

}  // namespace mlx::core::distributed
