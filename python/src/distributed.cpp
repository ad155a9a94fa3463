// mx.distributed: programs that run as several processes.
#include "mlx/distributed/distributed.h"

#include "mlx/distributed/ops.h"
#include "python/src/args.h"

namespace mlx::python {
namespace {

namespace dist = core::distributed;
using dist::Group;

std::optional<Group> optional_group(const Group* group) {
  return group ? std::optional<Group>(*group) : std::nullopt;
}

using Collective = array (*)(const array&, std::optional<Group>, StreamOrDevice);
struct CollectiveRow {
  const char* name;
  Collective function;
  const char* doc;
};
const CollectiveRow kCollectives[] = {
    {"all_sum", dist::all_sum, R"(The sum over the group's processes of their arrays.

Every process gives an array of the same shape and dtype and gets the same result, to the last bit. 16-bit
floats are added in float32 and rounded once; the sum of booleans is true where one of them is.

Args:
  x: this process's array; in a group of one it is the result.
  group: the processes; ``None``: all, as :func:`init` finds them.

The derivative is that of programs in which every process has the same loss: the cotangent passes through.)"},
    {"all_max", dist::all_max, R"(The maximum over the group's processes of their arrays, element by element.

Args:
  x: this process's array; in a group of one it is the result.
  group: the processes; ``None``: all.

The gradient goes to the processes that have the maximum.)"},
    {"all_min", dist::all_min, R"(The minimum over the group's processes of their arrays, element by element.

Args:
  x: this process's array; in a group of one it is the result.
  group: the processes; ``None``: all.

The gradient goes to the processes that have the minimum.)"},
    {"all_gather", dist::all_gather,
     R"(The processes' arrays joined along the first axis, in the order of ranks.

Args:
  x: this process's array of shape ``(n, ...)``, the same on all, or a single number.
  group: the processes; ``None``: all.

Returns:
  ``(size * n, ...)``, or ``(size,)`` of numbers; ``x`` in a group of one.)"},
    {"sum_scatter", dist::sum_scatter,
     R"(This process's part, along the first axis, of the sum over the group.

Args:
  x: this process's array of shape ``(size * n, ...)``.
  group: the processes; ``None``: all.

Returns:
  ``(n, ...)``: the elements ``rank * n`` to ``(rank + 1) * n`` of what :func:`all_sum` gives.
Raises:
  ValueError: the first axis cannot be divided among the processes.)"},
};

}  // namespace

void init_distributed(Module& parent) {
  Module m = parent.def_submodule("distributed", R"(Programs that run as several processes.

``mlx.launch -n 4 program.py`` starts a program four times on this machine, or on those of ``--hosts``. Each
process has a rank, and they exchange arrays by calling the same functions in the same order. What does not
fit together (another shape, another function) is an error on whoever finds it, and the end of the group.)");
  nb::class_<Group>(m, "Group", "Processes that work together.")
      .def("rank", &Group::rank, nb::sig("def rank(self) -> int"),
           "This process's number, from 0 to ``size() - 1``.")
      .def("size", &Group::size, nb::sig("def size(self) -> int"), "The number of processes.")
      .def(
          "split",
          [](const Group& group, int color, int key) {
            nb::gil_scoped_release released;
            return group.split(color, key);
          },
          "color"_a, "key"_a = -1, nb::sig("def split(self, color: int, key: int = -1) -> Group"),
          R"(The group of those that give the same color; every process of this group calls it.

Args:
  color: any number.
  key: ranks in the new group follow it; equal ones, and -1, follow the ranks here.
Raises:
  RuntimeError: this group has one member, or a process is gone.)");
  m.def(
      "is_available",
      [](const std::string& backend) {
        return backend == "any" ? dist::is_available() : dist::is_available(backend);
      },
      "backend"_a = "any", nb::sig("def is_available(backend: str = 'any') -> bool"),
      R"(Whether processes can be joined by a back end.

``'ring'``, and so ``'any'``, always; ``'mpi'`` where the library of Open MPI is found; ``'nccl'`` and
``'jaccl'`` never.)");
  m.def(
      "init",
      [](bool strict, const std::string& backend, nb::handle) {
        nb::gil_scoped_release released;
        return dist::init(strict, backend);
      },
      "strict"_a = false, "backend"_a = "any", nb::kw_only(), "all_gather_factory"_a.none() = nb::none(),
      nb::sig(
          "def init(strict: bool = False, backend: str = 'any', *, all_gather_factory: Callable[[int, int], "
          "Callable[[bytes, int], bytes]] | None = None) -> Group"),
      R"(The group of all processes, joined at the first call.

The back end ``'ring'`` finds them through the environment, which ``mlx.launch`` sets: ``MLX_RANK`` is this
process's number, ``MLX_HOSTFILE`` a JSON file with an address for each, ``[["10.0.0.1:5000"], ["10.0.0.2:5000"]]``.
Every process connects to the next one; others when something is sent to them. Who does not come within
``MLX_RING_TIMEOUT`` seconds (60) is an error.

The back end ``'mpi'`` is for processes that ``mpirun`` of Open MPI started, whose library it loads
(``MLX_MPI_LIBNAME`` names another one). ``'any'`` is ``'ring'`` where the environment tells of one, else ``'mpi'``.

Args:
  strict: raise RuntimeError rather than return a group of one where nothing tells of other processes.
  backend: ``'any'``, ``'ring'`` or ``'mpi'``; ``'nccl'`` and ``'jaccl'`` are known, but not in this build.
  all_gather_factory: for back ends that cannot find out addresses by themselves; not needed here.
Raises:
  ValueError: ``backend`` is none of these.
  RuntimeError: a process cannot be reached, the file or the rank is wrong.)");
  for (const CollectiveRow& row : kCollectives) {
    const std::string signature =
        std::string("def ") + row.name +
        "(x: array, *, group: Group | None = None, stream: StreamOrDevice = None) -> array";
    m.def(
        row.name,
        [&row](nb::handle x, const Group* group, StreamOrDevice s) {
          return wrap(row.function(to_array(x, {row.name, "x", 1}).get(), optional_group(group), s));
        },
        "x"_a, nb::kw_only(), "group"_a.none() = nb::none(), "stream"_a.none() = nb::none(),
        nb::sig(signature.c_str()), row.doc);
  }
  m.def(
      "send",
      [](nb::handle x, int dst, const Group* group, StreamOrDevice s) {
        return wrap(dist::send(to_array(x, {"send", "x", 1}).get(), dst, optional_group(group), s));
      },
      "x"_a, "dst"_a, nb::kw_only(), "group"_a.none() = nb::none(), "stream"_a.none() = nb::none(),
      nb::sig("def send(x: array, dst: int, *, group: Group | None = None, stream: StreamOrDevice = None) -> "
              "array"),
      R"(Sends an array to the process with rank ``dst``, which calls :func:`recv`.

Nothing is sent before the result, which is ``x``, is evaluated.

Args:
  x: the array.
  dst: a rank, not this process's.
  group: the processes; ``None``: all.
Raises:
  ValueError: ``dst`` is no other process's rank; always in a group of one.)");
  m.def(
      "recv",
      [](nb::handle shape, Dtype dtype, int src, const Group* group, StreamOrDevice s) {
        return wrap(dist::recv(to_shape(shape, {"recv", "shape", 1}), dtype, src, optional_group(group), s));
      },
      "shape"_a, "dtype"_a, "src"_a, nb::kw_only(), "group"_a.none() = nb::none(),
      "stream"_a.none() = nb::none(),
      nb::sig("def recv(shape: Sequence[int], dtype: Dtype, src: int, *, group: Group | None = None, stream: "
              "StreamOrDevice = None) -> array"),
      R"(The array that the process with rank ``src`` sends to this one by :func:`send`.

Args:
  shape: of the array that is sent; another one is an error when this is evaluated.
  dtype: likewise.
  src: a rank, not this process's.
  group: the processes; ``None``: all.
Raises:
  ValueError: ``src`` is no other process's rank; always in a group of one.)");
  m.def(
      "recv_like",
      [](nb::handle x, int src, const Group* group, StreamOrDevice s) {
        return wrap(dist::recv_like(to_array(x, {"recv_like", "x", 1}).get(), src, optional_group(group), s));
      },
      "x"_a, "src"_a, nb::kw_only(), "group"_a.none() = nb::none(), "stream"_a.none() = nb::none(),
      nb::sig("def recv_like(x: array, src: int, *, group: Group | None = None, stream: StreamOrDevice = "
              "None) -> "
              "array"),
      R"(The array that the process with rank ``src`` sends to this one, shaped like ``x`` and of its dtype.

Args:
  x: says the shape and the dtype; its values are not used.
  src: a rank, not this process's.
  group: the processes; ``None``: all.
Raises:
  ValueError: ``src`` is no other process's rank; always in a group of one.)");
}

}  // namespace mlx::python
