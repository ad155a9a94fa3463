// The back end "ring": processes find each other through the environment and are joined by sockets.
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "mlx/distributed/ring.h"
#include "mlx/distributed/socket_links.h"
#include "mlx/io/json.h"

namespace mlx::core::distributed::detail {
namespace {

// [["10.0.0.1:5000"], ["10.0.0.2:5000"]]: for each rank where it listens. The first address of each is used.
std::vector<Address> read_hosts(const std::string& name) {
  std::ifstream file(name);
  if (!file)
    throw std::runtime_error("[distributed.init] MLX_HOSTFILE names the file '" + name +
                             "', which cannot be read");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  std::vector<Address> hosts;
  try {
    io::JsonReader reader(text);
    reader.array([&] {
      std::vector<std::string> addresses;
      reader.array([&] { addresses.push_back(reader.string()); });
      if (addresses.empty())
        throw std::invalid_argument("rank " + std::to_string(hosts.size()) + " has no address");
      hosts.push_back(parse_address(addresses[0]));
    });
    reader.end();
  } catch (const std::exception& error) {
    throw std::runtime_error("[distributed.init] the file '" + name + "' of MLX_HOSTFILE: " + error.what() +
                             "; expected a list of addresses for each rank, [[\"HOST:PORT\"], ...]");
  }
  return hosts;
}

int whole_number(const char* name, const char* text) {
  char* end = nullptr;
  const long n = std::strtol(text, &end, 10);
  if (*text == '\0' || *end != '\0' || n < 0 || n > 1'000'000)
    throw std::runtime_error(std::string("[distributed.init] got ") + name + "='" + text +
                             "', expected a number");
  return static_cast<int>(n);
}

}  // namespace

std::shared_ptr<GroupImpl> make_ring() {
  const char* rank_text = std::getenv("MLX_RANK");
  const char* file = std::getenv("MLX_HOSTFILE");
  if (!rank_text || !file) return nullptr;
  const int rank = whole_number("MLX_RANK", rank_text);
  const char* patience = std::getenv("MLX_RING_TIMEOUT");
  std::vector<Address> hosts = read_hosts(file);
  const int size = static_cast<int>(hosts.size());
  if (rank >= size)
    throw std::runtime_error("[distributed.init] got MLX_RANK=" + std::to_string(rank) + ", but the file '" +
                             file + "' has " + std::to_string(size) + " addresses");
  if (size == 1) return nullptr;
  try {
    const std::chrono::seconds limit(patience ? whole_number("MLX_RING_TIMEOUT", patience) : 60);
    return ring_over(std::make_unique<SocketLinks>(rank, std::move(hosts), limit));
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(std::string("[distributed.init] ") + error.what());
  }
}

}  // namespace mlx::core::distributed::detail
