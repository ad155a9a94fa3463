// Counters and limits of memory; the modules of back ends that this build does not have.
#include "mlx/memory.h"
#include "mlx/metal.h"

#include "python/src/args.h"
#include "python/src/trees.h"

namespace mlx::python {
namespace {

template <class F>
void define_counters(Module& m, F&& define) {
  define(m, "get_active_memory", core::get_active_memory,
         "Bytes that arrays hold. Freed buffers kept for reuse do not count.");
  define(m, "get_peak_memory", core::get_peak_memory,
         "The most bytes that arrays held since the start or the last reset.");
  define(m, "get_cache_memory", core::get_cache_memory, "Bytes of freed buffers that are kept for reuse.");
}

}  // namespace

void init_memory(Module& m) {
  auto counter = [](Module& to, const char* name, size_t (*f)(), const char* doc) {
    to.def(name, f, nb::sig((std::string("def ") + name + "() -> int").c_str()), doc);
  };
  auto limit = [](Module& to, const char* name, size_t (*f)(size_t), const char* doc) {
    to.def(name, f, "limit"_a, nb::sig((std::string("def ") + name + "(limit: int) -> int").c_str()), doc);
  };
  Module metal = m.def_submodule("metal", "The GPU back end of Apple silicon.");
  for (Module* to : {&m, &metal}) {
    define_counters(*to, counter);
    to->def("reset_peak_memory", &core::reset_peak_memory, nb::sig("def reset_peak_memory() -> None"),
            "Sets the peak to the bytes that are held now.");
    to->def("clear_cache", &core::clear_cache, nb::sig("def clear_cache() -> None"),
            "Gives freed buffers that are kept for reuse back to the system.");
    limit(*to, "set_memory_limit", core::set_memory_limit,
          "The bytes that arrays may hold; beyond it MemoryError is raised. Returns the previous limit.");
    limit(*to, "set_cache_limit", core::set_cache_limit,
          "The bytes of freed buffers to keep for reuse; 0 keeps none. Returns the previous limit.");
    limit(*to, "set_wired_limit", core::set_wired_limit,
          "Bytes to keep resident for the GPU of Apple silicon; elsewhere without effect. Returns the "
          "previous limit.");
  }
  m.def("get_memory_limit", &core::get_memory_limit, nb::sig("def get_memory_limit() -> int"),
        "The bytes that arrays may hold.");
  m.def(
      "get_array_buffer_size",
      [](nb::args trees) {
        Arrays arrays;
        flatten_arrays(trees, arrays);
        return core::get_array_buffer_size(arrays);
      },
      nb::sig("def get_array_buffer_size(*args: Any) -> int"),
      R"(Bytes of the buffers of arrays, each distinct buffer counted once.

Args:
  *args: arrays, and lists, tuples and dicts of them.)");

  metal.def("is_available", &core::metal::is_available, nb::sig("def is_available() -> bool"),
            "Whether this build and machine can run on an Apple GPU, or on one that is simulated.");
  metal.def(
      "device_info",
      [] {
        nb::dict out;
        if (!core::metal::is_available()) return out;
        for (const auto& [key, value] : core::metal::device_info())
          std::visit([&](const auto& v) { out[key.c_str()] = nb::cast(v); }, value);
        return out;
      },
      nb::sig("def device_info() -> dict[str, str | int]"),
      R"(What is known about the Apple GPU.

Returns:
  ``device_name``, ``architecture``, ``memory_size``, ``max_buffer_length``, ``max_recommended_working_set_size`` (bytes) and
  ``resource_limit`` (how many buffers can exist at once); nothing where there is no GPU.)");
  metal.def("start_capture", &core::metal::start_capture, "path"_a,
            nb::sig("def start_capture(path: str) -> None"),
            "Records GPU work into a file. Raises RuntimeError where there is no GPU or it cannot.");
  metal.def("stop_capture", &core::metal::stop_capture, nb::sig("def stop_capture() -> None"),
            "Ends a recording. Raises RuntimeError where there is no GPU.");
  metal.def(
      "_hand_overs",
      [] {
        nb::dict out;
        if (core::metal::is_available())
          for (const auto& [name, count] : core::metal::hand_overs()) out[name.c_str()] = count;
        return out;
      },
      nb::sig("def _hand_overs() -> dict[str, int]"),
      "How often the CPU ran a primitive for the GPU, by name; for tests.");
  metal.def(
      "_waits",
      [] {
        nb::dict out;
        if (core::metal::is_available())
          for (const auto& [name, count] : core::metal::waits()) out[name.c_str()] = count;
        return out;
      },
      nb::sig("def _waits() -> dict[str, int]"),
      "How often work for the GPU was held up by values that it was still computing, by the primitive's "
      "name; for tests.");
  metal.def(
      "_continued", &core::metal::continued, nb::sig("def _continued() -> int"),
      "How often an evaluation was encoded behind one whose values the GPU was still computing; for tests.");
  Module cuda = m.def_submodule("cuda", "The back end of NVIDIA GPUs; this build has none.");
  cuda.def(
      "is_available", [] { return false; }, nb::sig("def is_available() -> bool"),
      "Whether this build and machine can run on an NVIDIA GPU.");
}

}  // namespace mlx::python
