// What mlx.debug (Python) is made of. Not public.
#include "mlx/debug.h"

#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/vector.h>

#include "python/src/args.h"
#include "python/src/sites.h"
#include "python/src/trees.h"

namespace mlx::python {
namespace {

namespace debug = core::debug;

// Numbers for the paths of modules.
class Paths {
 public:
  static Paths& all() {
    static Paths* paths = std::make_unique<Paths>().release();
    return *paths;
  }
  uint32_t id_of(const std::string& path) {
    if (path.empty()) return 0;
    const auto [at, is_new] = ids_.try_emplace(path, static_cast<uint32_t>(names_.size()) + 1);
    if (is_new) names_.push_back(path);
    return at->second;
  }
  const std::string& name(uint32_t id) const {
    static const std::string none;
    return id == 0 || id > names_.size() ? none : names_[id - 1];
  }

 private:
  std::unordered_map<std::string, uint32_t> ids_;
  std::vector<std::string> names_;
};

nb::tuple origin(uint32_t id) {
  static constexpr const char* relations[] = {"", "backward", "tangent"};
  const debug::Origin o = debug::origin(id);
  return nb::make_tuple(site_frames(o.site), Paths::all().name(o.module),
                        relations[static_cast<size_t>(o.relation)], o.of);
}

nb::tuple shape_tuple(const Shape& shape) {
  nb::list out;
  for (const ShapeElem n : shape) out.append(n);
  return nb::tuple(out);
}

using Described = std::vector<std::pair<Shape, Dtype>>;
nb::tuple described(const Described& arrays) {
  nb::list out;
  for (const auto& [shape, dtype] : arrays) out.append(nb::make_tuple(shape_tuple(shape), wrap(dtype)));
  return nb::tuple(out);
}
template <class T>
nb::tuple tuple_of(const std::vector<T>& values) {
  nb::list out;
  for (const T& value : values) out.append(nb::cast(value));
  return nb::tuple(out);
}
nb::list spans(const std::vector<debug::ProfileSpan>& from) {
  nb::list out;
  for (const auto& s : from) out.append(nb::make_tuple(s.thread, s.begin, s.end));
  return out;
}

nb::dict profile_data(const debug::Profiler& profiler) {
  const debug::ProfileData data = profiler.data();
  nb::list kinds, events, built;
  for (const auto& k : data.kinds)
    kinds.append(nb::make_tuple(tuple_of(k.names), tuple_of(k.origins),
                                k.elementwise ? nb::object(shape_tuple(k.shape)) : nb::none(),
                                described(k.inputs), described(k.outputs)));
  for (const auto& e : data.events)
    events.append(nb::make_tuple(e.kind, e.thread, e.begin, e.end, e.read, e.written, e.shares_memory));
  for (const auto& b : data.built)
    built.append(nb::make_tuple(b.operation, b.origin, b.thread, b.begin, b.end, b.alone));
  nb::dict out;
  out["kinds"] = kinds;
  out["events"] = events;
  out["built"] = built;
  out["planning"] = spans(data.planning);
  out["evaluations"] = spans(data.evaluations);
  out["overhead"] = data.overhead;
  out["recording"] = data.recording;
  out["wall"] = data.wall;
  return out;
}

nb::dict memory_data(const debug::MemoryWatch& watch) {
  const debug::MemoryData data = watch.data();
  nb::list shares, gone;
  for (const auto& s : data.shares) shares.append(nb::make_tuple(s.origin, s.operation, s.bytes));
  for (const auto& [buffer, bytes] : data.gone) gone.append(nb::make_tuple(buffer, bytes));
  nb::dict out;
  out["peak"] = data.peak;
  out["before"] = data.before;
  out["cached"] = data.cached;
  out["shares"] = shares;
  out["gone"] = gone;
  return out;
}

nb::list graph(nb::args trees) {
  Arrays outputs;
  flatten_arrays(trees, outputs, true);
  nb::list out;
  for (const debug::GraphNode& node : debug::graph(outputs)) {
    nb::list in, made;
    for (const array& a : node.inputs) in.append(a.id());
    for (const array& a : node.outputs)
      made.append(nb::make_tuple(a.id(), shape_tuple(a.shape()), wrap(a.dtype()), a.desc()->origin));
    out.append(nb::make_tuple(node.operation, in, made, node.group));
  }
  return out;
}

// Objects of these are used as `with` blocks by mlx.debug, so that they end when they are told to.
template <class T>
struct Switch {
  std::unique_ptr<T> on = std::make_unique<T>();
  void stop() { on.reset(); }
};
using Recording = Switch<debug::RecordOrigins>;

struct Checking {
  std::unique_ptr<debug::CheckFinite> on;
};

}  // namespace

void set_not_finite_error(const debug::NotFiniteError& error) noexcept {
  nb::gil_scoped_acquire gil;
  try {
    error.found()->told = true;
    nb::object made =
        nb::module_::import_("mlx.debug._nan_check").attr("make_error")(nb::cast(error.found()));
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(made.ptr())), made.ptr());
  } catch (nb::python_error& e) {
    e.restore();
  } catch (const std::exception&) {
    PyErr_SetString(PyExc_FloatingPointError, error.what());
  }
}

void init_debug(Module& m) {
  core::debug::set_site_hook(&site_here);
  nb::register_exception_translator([](const std::exception_ptr& p, void*) {
    try {
      std::rethrow_exception(p);
    } catch (const debug::NotFiniteError& e) {
      set_not_finite_error(e);
    }
  });

  nb::class_<debug::NotFinite>(m, "_NotFinite", "What mx.debug.nan_check found.")
      .def_ro("operation", &debug::NotFinite::operation)
      .def_ro("group", &debug::NotFinite::group)
      .def_ro("origin", &debug::NotFinite::origin)
      .def_ro("nan", &debug::NotFinite::nan)
      .def_ro("inf", &debug::NotFinite::inf)
      .def_ro("bad_input", &debug::NotFinite::bad_input)
      .def_ro("told", &debug::NotFinite::told)
      .def_prop_ro("inputs", [](const debug::NotFinite& f) { return wrap_list(f.inputs); })
      .def_prop_ro("outputs", [](const debug::NotFinite& f) { return wrap_list(f.outputs); });

  nb::class_<Recording>(m, "_RecordOrigins", "Nodes remember who built them, until it is stopped.")
      .def(nb::init<>())
      .def("stop", &Recording::stop);
  nb::class_<Checking>(m, "_CheckFinite", "Evaluation is checked, until it is stopped.")
      .def("__init__",
           [](Checking* self, bool infinities) {
             new (self) Checking{std::make_unique<debug::CheckFinite>(infinities)};
           })
      .def("stop", [](Checking& self) { self.on.reset(); })
      .def("last_found", [](const Checking& self) {
        nb::gil_scoped_release release;
        return self.on->last_found();
      });
  nb::class_<debug::Profiler>(m, "_Profiler", "Notes what is evaluated, until it is stopped.")
      .def(nb::init<>())
      .def("stop", &debug::Profiler::stop, nb::call_guard<nb::gil_scoped_release>())
      .def("data", &profile_data);
  nb::class_<debug::MemoryWatch>(m, "_MemoryWatch", "Notes who allocates, until it is stopped.")
      .def(nb::init<>())
      .def("stop", &debug::MemoryWatch::stop, nb::call_guard<nb::gil_scoped_release>())
      .def("data", &memory_data);

  m.def("_origin_id", [](nb::handle a) { return as_array(a) ? debug::origin_id(*as_array(a)) : 0; });
  m.def("_array_id", [](nb::handle a) { return as_array(a) ? as_array(a)->id() : 0; });
  m.def(
      "_buffer_id",
      [](nb::handle a) -> std::uintptr_t {
        const array* of = as_array(a);
        if (!of || !of->is_available() || !of->data_shared_ptr()) return 0;
        return reinterpret_cast<std::uintptr_t>(of->buffer().ptr());
      },
      "The address of an array's buffer; 0 for one that has none yet.");
  m.def("_origin", &origin);
  m.def("_path_id", [](const std::string& path) { return Paths::all().id_of(path); });
  m.def("_set_module", &debug::set_module);
  m.def("_pause_watching", &debug::pause_watching);
  m.def("_resume_watching", &debug::resume_watching);
  m.def("_set_package_folders", &set_package_folders);
  m.def("_graph", &graph);
  m.def("_multiply_add_peak", [] {
    nb::gil_scoped_release release;
    return debug::multiply_add_peak();
  });
}

}  // namespace mlx::python
