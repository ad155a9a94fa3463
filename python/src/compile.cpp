// compile: a Python function's trace is keyed by its arguments' structure and constants, and by the state it
// uses.
#include "mlx/compile.h"

#include "python/src/args.h"
#include "python/src/callable.h"
#include "python/src/random_state.h"
#include "python/src/trees.h"

namespace mlx::python {
namespace {

// What a trace returned, and how it left its state, with markers for the arrays.
struct Structures {
  nb::object result, outputs;
  size_t result_arrays = 0;
};

// The call that is being traced on this thread; a traced function may call other compiled functions.
struct Call {
  Transformed* self;
  nb::handle args, kwargs;
  Call* outer;
};
thread_local Call* current_call = nullptr;

struct CallScope {
  explicit CallScope(Call& call) { current_call = &call; }
  ~CallScope() { current_call = current_call->outer; }
  CallScope(const CallScope&) = delete;
  CallScope& operator=(const CallScope&) = delete;
};

// Puts a state's lists and dicts back as they were, also where the traced function throws.
class StateScope {
 public:
  StateScope(nb::handle inputs, nb::handle outputs) {
    flatten_arrays(inputs, arrays_, true);
    random_ = random_state_key();
    take_snapshot(inputs, snapshots_);
    take_snapshot(outputs, snapshots_);
  }
  ~StateScope() {
    try {
      restore(snapshots_);
      set_random_state_key(*random_);
    } catch (...) {
      set_python_error();
      PyErr_WriteUnraisable(nullptr);
    }
  }
  StateScope(const StateScope&) = delete;
  StateScope& operator=(const StateScope&) = delete;

 private:
  Arrays arrays_;
  std::optional<array> random_;
  std::vector<Snapshot> snapshots_;
};

std::pair<Arrays, std::shared_ptr<void>> traced(const Arrays& tracers) {
  const Call& call = *current_call;
  nb::object fun = call.self->fun;
  nb::object inputs = call.self->held[0];
  nb::object outputs = call.self->held[1];
  std::shared_ptr<Structures> structures(new Structures, [](Structures* s) {
    if (!Py_IsInitialized()) return;
    nb::gil_scoped_acquire gil;
    delete s;
  });
  size_t next = 0;
  nb::object positional = replace_arrays(call.args, tracers, next);
  nb::object named = call.kwargs.ptr() ? replace_arrays(call.kwargs, tracers, next) : nb::object();
  StateScope scope(inputs, outputs);
  assign_arrays(inputs, tracers, next);
  nb::object result = call_python(fun, positional, named);
  Arrays out;
  flatten_arrays(result, out);
  structures->result_arrays = out.size();
  structures->result = structure_of(result);
  flatten_arrays(outputs, out, true);
  structures->outputs = structure_of(outputs);
  return {std::move(out), std::move(structures)};
}

nb::object compile(nb::object fun, nb::object inputs, nb::object outputs, bool shapeless) {
  check_callable(fun, "compile");
  Transformed t;
  t.fun = std::move(fun);
  t.held[0] = std::move(inputs);
  t.held[1] = std::move(outputs);
  t.call = [replay = core::detail::compile_keyed(traced, shapeless)](Transformed& self, nb::handle args,
                                                                     nb::handle kwargs) {
    if (!core::detail::compile_enabled()) return call_python(self.fun, args, kwargs);
    Arrays arrays;
    std::vector<uint64_t> key;
    append_key(args, key, "compile", false);
    flatten_arrays(args, arrays);
    if (kwargs.ptr()) {
      append_key(kwargs, key, "compile", false);
      flatten_arrays(kwargs, arrays);
    }
    append_key(self.held[0], key, "compile", true);
    flatten_arrays(self.held[0], arrays, true);
    Call call{&self, args, kwargs, current_call};
    CallScope scope(call);
    auto [values, extra] = replay(arrays, key);
    const auto& structures = *static_cast<const Structures*>(extra.get());
    size_t next = 0;
    nb::object result = from_structure(structures.result, values, next);
    assign_structure(self.held[1], structures.outputs, values, next);
    return result;
  };
  return make_transformed(std::move(t));
}

}  // namespace

void init_compile(Module& m) {
  m.def(
      "compile", compile, "fun"_a, "inputs"_a.none() = nb::none(), "outputs"_a.none() = nb::none(),
      "shapeless"_a = false,
      nb::sig("def compile(fun: Callable[P, R], inputs: object | None = None, outputs: object | None = None, "
              "shapeless: bool = False) -> Callable[P, R]"),
      R"(A function that runs ``fun`` once for each kind of arguments and replays its simplified graph afterwards.

A new trace is made for new shapes, dtypes, structures, or values of arguments that are no arrays. Arrays that ``fun``
uses besides its arguments are constants of the trace, unless they are declared.

Args:
  fun: takes and returns trees of arrays, numbers, text and ``None``; it must have no effects but those on ``outputs``.
  inputs: a list or dict (or a tree of them) that ``fun`` reads, such as a model's state or ``mx.random.state``.
  outputs: the same for what ``fun`` writes.
  shapeless: one trace serves all shapes. Every operation's output shape must then follow from its inputs' shapes.
Raises:
  ValueError: an argument is of a type that cannot be part of a trace's key, or an array is evaluated while tracing.)");
  m.def("disable_compile", &core::disable_compile,
        "Makes compiled functions run as they are written, as the environment variable MLX_DISABLE_COMPILE "
        "does.");
  m.def("enable_compile", &core::enable_compile,
        "Undoes :func:`disable_compile`, and the environment variable MLX_DISABLE_COMPILE.");
}

}  // namespace mlx::python
