#include "mlx/distributed/distributed.h"

#include <array>
#include <map>
#include <mutex>
#include <stdexcept>
#include <utility>

#include "mlx/distributed/group.h"

namespace mlx::core::distributed {
namespace {

// A process by itself. Operations do not come here: they know that there is nobody else.
class Alone final : public detail::GroupImpl {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  std::shared_ptr<GroupImpl> split(int, int) override { nobody(); }
  void all_reduce(detail::Reduction, Dtype, const void*, void*, size_t) override { nobody(); }
  void all_gather(Dtype, const void*, void*, size_t) override { nobody(); }
  void sum_scatter(Dtype, const void*, void*, size_t) override { nobody(); }
  void send(Dtype, const void*, size_t, int) override { nobody(); }
  void recv(Dtype, void*, size_t, int) override { nobody(); }

 private:
  [[noreturn]] static void nobody() {
    throw std::logic_error("[distributed] a group with one member exchanges nothing");
  }
};

struct Backend {
  const char* name;
  bool (*is_available)();
  std::shared_ptr<detail::GroupImpl> (*make)();
};
bool always() { return true; }
bool never() { return false; }
std::shared_ptr<detail::GroupImpl> none() { return nullptr; }
// In the order in which "any" asks them.
constexpr std::array kBackends{Backend{"ring", always, detail::make_ring},
                               Backend{"mpi", detail::has_mpi, detail::make_mpi},
                               Backend{"nccl", never, none}, Backend{"jaccl", never, none}};

const Backend& backend(const std::string& name, const char* function) {
  for (const Backend& b : kBackends)
    if (name == b.name) return b;
  throw std::invalid_argument(std::string("[") + function + "] got the back end '" + name +
                              "', expected 'any', 'ring', 'mpi', 'nccl' or 'jaccl'");
}

// The groups that init() made. One for each back end, and what "any" found.
struct Groups {
  std::mutex lock;
  std::map<std::string, std::shared_ptr<detail::GroupImpl>> made;
};
Groups& groups() {
  static Groups all;
  return all;
}

std::shared_ptr<detail::GroupImpl> found(const std::string& name) {
  auto& made = groups().made;
  if (const auto it = made.find(name); it != made.end()) return it->second;
  std::shared_ptr<detail::GroupImpl> group;
  for (const Backend& b : kBackends)
    if (!group && (name == "any" || name == b.name)) {
      const auto it = made.find(b.name);
      group = it != made.end() ? it->second : b.make();
      if (group) made[b.name] = group;
    }
  if (group) made["any"] = group;
  return group;
}

}  // namespace

int Group::rank() const { return group_->rank(); }
int Group::size() const { return group_->size(); }
Group Group::split(int color, int key) const {
  if (size() == 1) throw std::runtime_error("[Group.split] a group with one member cannot be split");
  return Group(group_->split(color, key < 0 ? rank() : key));
}

bool is_available() { return true; }
bool is_available(const std::string& bk) {
  for (const Backend& b : kBackends)
    if (bk == b.name) return b.is_available();
  return bk == "any";
}

Group init(bool strict, const std::string& bk) {
  if (bk != "any") backend(bk, "distributed.init");
  const std::lock_guard guard(groups().lock);
  if (auto group = found(bk)) return Group(std::move(group));
  static const auto alone = std::make_shared<Alone>();
  if (!strict) return Group(alone);
  if (bk != "any" && !is_available(bk))
    throw std::runtime_error("[distributed.init] the back end '" + bk + "' is not available here");
  throw std::runtime_error(
      "[distributed.init] nothing tells of other processes: the back end 'ring' expects this one's rank in "
      "MLX_RANK and the name of a file with all addresses in MLX_HOSTFILE, as mlx.launch sets them; 'mpi' "
      "expects mpirun of Open MPI");
}
Group init(bool strict, const std::string& bk, AllGatherFactory) { return init(strict, bk); }

void clear_backends() {
  const std::lock_guard guard(groups().lock);
  groups().made.clear();
}

}  // namespace mlx::core::distributed
