// mx.distributed: what programs see that run as one process. The group has one member, itself.
#include "python/src/args.h"

namespace mlx::python {
namespace {

struct Group {
  nb::object split(int, int) const {
    throw std::invalid_argument("[distributed] a group with one member cannot be split");
  }
};

// Every collective operation over one member gives back its argument.
void collective(Module& m, const char* name, const char* signature, const char* doc) {
  m.def(
      name,
      [name](nb::handle x, const Group*, StreamOrDevice) {
        return wrap(array(to_array(x, {name, "x", 1}).get()));
      },
      "x"_a, nb::kw_only(), "group"_a.none() = nb::none(), "stream"_a.none() = nb::none(), nb::sig(signature),
      doc);
}

[[noreturn]] void no_peer(const char* function, int peer) {
  throw std::invalid_argument(std::string("[") + function + "] there is no process with rank " +
                              std::to_string(peer) + " to exchange arrays with: the group has one member");
}

}  // namespace

void init_distributed(Module& parent) {
  Module m =
      parent.def_submodule("distributed", "Exchange between processes. This build runs as a single process.");
  nb::class_<Group>(m, "Group", "The processes that work together; here it is this process alone.")
      .def(
          "rank", [](const Group&) { return 0; }, nb::sig("def rank(self) -> int"), "This process's number.")
      .def(
          "size", [](const Group&) { return 1; }, nb::sig("def size(self) -> int"),
          "The number of processes.")
      .def("split", &Group::split, "color"_a, "key"_a = -1,
           nb::sig("def split(self, color: int, key: int = -1) -> Group"),
           "Smaller groups by color. Raises ValueError, as a group with one member cannot be split.");
  m.def(
      "is_available", [](const std::string&) { return false; }, "backend"_a = "any",
      nb::sig("def is_available(backend: str = 'any') -> bool"),
      "Whether processes can exchange arrays by a back end: False, as this build has none.");
  m.def(
      "init",
      [](bool strict, const std::string& backend, nb::handle) {
        if (strict)
          throw std::runtime_error("[distributed.init] no back end for '" + backend + "' is available");
        return Group{};
      },
      "strict"_a = false, "backend"_a = "any", nb::kw_only(), "all_gather_factory"_a.none() = nb::none(),
      nb::sig(
          "def init(strict: bool = False, backend: str = 'any', *, all_gather_factory: Callable[[int, int], "
          "Callable[[bytes, int], bytes]] | None = None) -> Group"),
      R"(The group of all processes; it has one member.

Args:
  strict: raise RuntimeError rather than return a group with one member.
  backend: the name of a back end, or "any".)");
  collective(m, "all_sum",
             "def all_sum(x: array, *, group: Group | None = None, stream: StreamOrDevice = None) -> array",
             "The sum over the group's processes of their arrays: ``x`` where there is one.");
  collective(m, "all_max",
             "def all_max(x: array, *, group: Group | None = None, stream: StreamOrDevice = None) -> array",
             "The maximum over the group's processes of their arrays: ``x`` where there is one.");
  collective(m, "all_min",
             "def all_min(x: array, *, group: Group | None = None, stream: StreamOrDevice = None) -> array",
             "The minimum over the group's processes of their arrays: ``x`` where there is one.");
  collective(
      m, "all_gather",
      "def all_gather(x: array, *, group: Group | None = None, stream: StreamOrDevice = None) -> array",
      "The processes' arrays joined along the first axis: ``x`` where there is one.");
  collective(
      m, "sum_scatter",
      "def sum_scatter(x: array, *, group: Group | None = None, stream: StreamOrDevice = None) -> array",
      "This process's share, along the first axis, of the sum over the group: ``x`` where there is one.");
  m.def(
      "send",
      [](nb::handle, int dst, const Group*, StreamOrDevice) -> array { no_peer("distributed.send", dst); },
      "x"_a, "dst"_a, nb::kw_only(), "group"_a.none() = nb::none(), "stream"_a.none() = nb::none(),
      nb::sig("def send(x: array, dst: int, *, group: Group | None = None, stream: StreamOrDevice = None) -> "
              "array"),
      "Sends an array to a process. Raises ValueError, as there is no other.");
  m.def(
      "recv",
      [](nb::handle, nb::handle, int src, const Group*, StreamOrDevice) -> array {
        no_peer("distributed.recv", src);
      },
      "shape"_a, "dtype"_a, "src"_a, nb::kw_only(), "group"_a.none() = nb::none(),
      "stream"_a.none() = nb::none(),
      nb::sig("def recv(shape: Sequence[int], dtype: Dtype, src: int, *, group: Group | None = None, stream: "
              "StreamOrDevice = None) -> array"),
      "Receives an array from a process. Raises ValueError, as there is no other.");
  m.def(
      "recv_like",
      [](nb::handle, int src, const Group*, StreamOrDevice) -> array {
        no_peer("distributed.recv_like", src);
      },
      "x"_a, "src"_a, nb::kw_only(), "group"_a.none() = nb::none(), "stream"_a.none() = nb::none(),
      nb::sig("def recv_like(x: array, src: int, *, group: Group | None = None, stream: StreamOrDevice = "
              "None) -> "
              "array"),
      "Receives an array shaped like ``x`` from a process. Raises ValueError, as there is no other.");
}

}  // namespace mlx::python
