#include "mlx/distributed/links.h"

#include <iterator>
#include <sstream>

#include "mlx/utils.h"

namespace mlx::core::distributed::detail {
namespace {

// In the order of Kind.
constexpr const char* kKinds[] = {"all_sum",     "all_max", "all_min", "all_gather",
                                  "sum_scatter", "send",    "split"};

std::string describe(const Header& h) {
  std::ostringstream os;
  const auto kind = static_cast<size_t>(h.kind);
  os << (kind < std::size(kKinds) ? kKinds[kind] : "something unknown") << " of " << h.count << " elements";
  if (h.dtype < kDtypes) os << " of " << Dtype(static_cast<Dtype::Val>(h.dtype), 0);
  return os.str();
}

}  // namespace

void check_header(const Header& got, const Header& expected) {
  if (got == expected) return;
  if (got.magic != expected.magic) throw std::runtime_error("sends what no process of MLX sends");
  throw std::runtime_error(
      "is at " + describe(got) + (got.group == expected.group ? "" : " of another group") + ", this one at " +
      describe(expected) + "; all processes of a group must do the same in the same order");
}

}  // namespace mlx::core::distributed::detail
