// Devices, streams, and the contexts that choose them.
#include <memory>
#include <sstream>

#include "python/src/args.h"
#include "python/src/bind.h"

#include "mlx/version.h"

namespace mlx::python {
namespace {

using core::Device;
using core::Stream;
using core::ThreadLocalStream;

template <class T>
std::string text(const T& value) {
  std::ostringstream os;
  os << value;
  return os.str();
}

Device to_device(nb::handle h, Where where) {
  if (nb::isinstance<Device>(h)) return nb::cast<Device>(h);
  if (nb::isinstance<Device::DeviceType>(h)) return Device(nb::cast<Device::DeviceType>(h));
  bad_type(where, "Device or DeviceType", h);
}

StreamOrDevice needed_stream(nb::handle h, const char* function) {
  StreamOrDevice s;
  if (!to_stream(h, s)) bad_type({function, "s", 1}, "Stream, ThreadLocalStream, Device or DeviceType", h);
  return s;
}

// Python's `with`: the C++ context lives from __enter__ to __exit__.
struct StreamScope {
  StreamOrDevice stream;
  std::unique_ptr<core::StreamContext> active;
};

nb::dict device_info(std::optional<Device> d) {
  nb::dict out;
  for (const auto& [key, value] : core::device_info(d.value_or(core::default_device())))
    std::visit([&](const auto& v) { out[key.c_str()] = nb::cast(v); }, value);
  return out;
}

void synchronize(StreamOrDevice s) {
  nb::gil_scoped_release release;
  if (std::holds_alternative<std::monostate>(s)) {
    core::synchronize();
  } else {
    core::synchronize(core::to_stream(s));
  }
}

struct PrintScope {
  core::PrintOptions options;
  std::vector<core::PrintOptions> saved;
};

core::PrintOptions& options() { return core::get_global_formatter().format_options; }

}  // namespace

bool to_stream(nb::handle h, StreamOrDevice& out) {
  if (nb::isinstance<Stream>(h)) {
    out = *nb::inst_ptr<Stream>(h);
  } else if (nb::isinstance<Device>(h)) {
    out = *nb::inst_ptr<Device>(h);
  } else if (nb::isinstance<Device::DeviceType>(h)) {
    out = Device(nb::cast<Device::DeviceType>(h));
  } else if (nb::isinstance<ThreadLocalStream>(h)) {
    out = *nb::inst_ptr<ThreadLocalStream>(h);
  } else {
    return false;
  }
  return true;
}

void init_device(Module& m) {
  m.attr("__version__") = core::version();
  core::default_device();  // a GPU brings the memory of arrays along: before the first array
  nb::enum_<Device::DeviceType>(m, "DeviceType", "Kinds of devices: ``cpu`` and ``gpu``.")
      .value("cpu", Device::cpu)
      .value("gpu", Device::gpu)
      .export_values()
      // Equal to a device of the kind too: mx.default_device() == mx.cpu.
      .def(
          "__eq__",
          [](Device::DeviceType t, nb::handle other) {
            if (nb::isinstance<Device>(other)) return nb::cast<Device>(other).type == t;
            return nb::isinstance<Device::DeviceType>(other) && nb::cast<Device::DeviceType>(other) == t;
          },
          nb::arg().none(), nb::sig("def __eq__(self, arg: object, /) -> bool"))
      .def("__hash__", [](Device::DeviceType t) { return static_cast<int>(t); });

  nb::class_<Device>(m, "Device", "A place where work runs: a kind and an index.")
      .def(nb::init<Device::DeviceType, int>(), "type"_a, "index"_a = 0,
           nb::sig("def __init__(self, type: DeviceType, index: int = 0) -> None"))
      .def_ro("type", &Device::type, nb::sig("def type(self) -> DeviceType"))
      .def("__repr__", [](const Device& d) { return text(d); })
      .def(
          "__eq__",
          [](const Device& d, nb::handle other) {
            if (nb::isinstance<Device::DeviceType>(other))
              return d.type == nb::cast<Device::DeviceType>(other);
            return nb::isinstance<Device>(other) && d == nb::cast<Device>(other);
          },
          nb::arg().none(), nb::sig("def __eq__(self, arg: object, /) -> bool"))
      .def("__hash__", [](const Device& d) { return static_cast<int>(d.type) + 2 * d.index; });

  nb::class_<Stream>(m, "Stream", "A queue of work on a device.")
      .def_ro("device", &Stream::device, nb::sig("def device(self) -> Device"))
      .def("__repr__", [](const Stream& s) { return text(s); })
      .def(
          "__eq__",
          [](const Stream& s, nb::handle other) {
            return nb::isinstance<Stream>(other) && s == nb::cast<Stream>(other);
          },
          nb::arg().none(), nb::sig("def __eq__(self, arg: object, /) -> bool"))
      .def("__hash__", [](const Stream& s) { return s.index; });
  nb::class_<ThreadLocalStream>(m, "ThreadLocalStream",
                                "A stream that is another one in each thread that uses it.")
      .def_ro("device", &ThreadLocalStream::device, nb::sig("def device(self) -> Device"))
      .def("__repr__", [](const ThreadLocalStream& s) { return text(s); })
      .def(
          "__eq__",
          [](const ThreadLocalStream& s, nb::handle other) {
            return nb::isinstance<ThreadLocalStream>(other) && s == nb::cast<ThreadLocalStream>(other);
          },
          nb::arg().none(), nb::sig("def __eq__(self, arg: object, /) -> bool"))
      .def("__hash__", [](const ThreadLocalStream& s) { return s.index; });

  nb::class_<StreamScope>(m, "StreamContext",
                          R"(Makes a stream or device the default one inside a ``with`` block.

Args:
  s: the stream or device.
Raises:
  ValueError: the machine has no such device.)")
      .def(
          "__init__",
          [](StreamScope* self, nb::handle s) {
            new (self) StreamScope{needed_stream(s, "StreamContext"), {}};
          },
          "s"_a, nb::sig("def __init__(self, s: Stream | ThreadLocalStream | Device | DeviceType) -> None"))
      .def(
          "__enter__",
          [](StreamScope& self) { self.active = std::make_unique<core::StreamContext>(self.stream); },
          nb::sig("def __enter__(self) -> None"))
      .def(
          "__exit__", [](StreamScope& self, nb::handle, nb::handle, nb::handle) { self.active.reset(); },
          "exc_type"_a = nb::none(), "exc_value"_a = nb::none(), "traceback"_a = nb::none(),
          nb::sig("def __exit__(self, exc_type: type | None = None, exc_value: object | None = None, "
                  "traceback: object | None = None) -> None"));
  m.def(
      "stream", [](nb::handle s) { return StreamScope{needed_stream(s, "stream"), {}}; }, "s"_a,
      nb::sig("def stream(s: Stream | ThreadLocalStream | Device | DeviceType) -> StreamContext"),
      R"(A context in which the given stream or device is the default one.

Args:
  s: a stream, a device or a kind of device.
Raises:
  ValueError: the machine has no such device.)");

  m.def(
      "default_device", [] { return core::default_device(); }, nb::sig("def default_device() -> Device"),
      "The device that operations run on where nothing else is said.");
  m.def(
      "set_default_device",
      [](nb::handle d) { core::set_default_device(to_device(d, {"set_default_device", "device", 1})); },
      "device"_a, nb::sig("def set_default_device(device: Device | DeviceType) -> None"),
      "Makes a device the default one. Raises ValueError where the machine has no such device.");
  m.def(
      "default_stream",
      [](nb::handle d) { return core::default_stream(to_device(d, {"default_stream", "device", 1})); },
      "device"_a, nb::sig("def default_stream(device: Device | DeviceType) -> Stream"),
      "The stream that operations on a device run on where nothing else is said.");
  m.def(
      "set_default_stream", [](const Stream& s) { core::set_default_stream(s); }, "stream"_a,
      nb::sig("def set_default_stream(stream: Stream) -> None"),
      "Makes a stream the default one of its device. It does not change the default device.");
  m.def(
      "new_stream", [](nb::handle d) { return core::new_stream(to_device(d, {"new_stream", "device", 1})); },
      "device"_a, nb::sig("def new_stream(device: Device | DeviceType) -> Stream"),
      "A new stream on a device. Raises ValueError where the machine has no such device.");
  m.def(
      "new_thread_local_stream",
      [](nb::handle d) {
        return core::new_thread_local_stream(to_device(d, {"new_thread_local_stream", "device", 1}));
      },
      "device"_a, nb::sig("def new_thread_local_stream(device: Device | DeviceType) -> ThreadLocalStream"),
      "A new stream that is another one in each thread that uses it.");
  m.def(
      "new_thread_unsafe_stream",
      [](nb::handle d) {
        return core::new_thread_unsafe_stream(to_device(d, {"new_thread_unsafe_stream", "device", 1}));
      },
      "device"_a, nb::sig("def new_thread_unsafe_stream(device: Device | DeviceType) -> Stream"),
      "A new stream for the use of one thread.");
  m.def("clear_streams", &core::clear_streams, nb::sig("def clear_streams() -> None"),
        "Waits for the streams that were made and forgets them; the default streams stay.");
  m.def(
      "is_available",
      [](nb::handle d) { return core::is_available(to_device(d, {"is_available", "device", 1})); },
      "device"_a, nb::sig("def is_available(device: Device | DeviceType) -> bool"),
      "Whether the machine has a device.");
  m.def(
      "device_count", [](Device::DeviceType t) { return core::device_count(t); }, "device_type"_a,
      nb::sig("def device_count(device_type: DeviceType) -> int"),
      "How many devices of a kind the machine has.");
  m.def(
      "device_info",
      [](nb::handle d) {
        return device_info(d.is_none() ? std::nullopt : std::optional(to_device(d, {"device_info", "d", 1})));
      },
      "d"_a = nb::none(),
      nb::sig("def device_info(d: None | Device | DeviceType = None) -> dict[str, str | int]"),
      R"(What is known about a device.

Args:
  d: the device; ``None`` is the default one.
Returns:
  For the CPU among others ``architecture``, ``instruction_set``, ``threads`` and ``memory_size`` (bytes).)");
  m.def(
      "synchronize", &synchronize, "stream"_a = nb::none(),
      nb::sig(
          "def synchronize(stream: Stream | ThreadLocalStream | Device | DeviceType | None = None) -> None"),
      "Waits until the work queued on a stream is done; ``None`` is the default stream.");
}

void init_printing(Module& m) {
  core::get_global_formatter().capitalize_bool = true;
  nb::class_<core::PrintOptions>(m, "PrintOptions", "How arrays are printed.")
      .def(
          "__init__",
          [](core::PrintOptions* self, int precision) { new (self) core::PrintOptions{precision}; },
          "precision"_a = -1)
      .def_rw("precision", &core::PrintOptions::precision, "Decimals of floats; -1: six significant digits.");
  nb::class_<PrintScope>(m, "_PrintOptionsContext", "Print options that hold inside a ``with`` block.")
      .def(
          "__init__", [](PrintScope* self, const core::PrintOptions& o) { new (self) PrintScope{o, {}}; },
          nb::arg(), nb::sig("def __init__(self, arg: PrintOptions, /) -> None"))
      .def(
          "__enter__",
          [](nb::handle_t<PrintScope> self) {
            PrintScope& scope = *nb::inst_ptr<PrintScope>(self);
            scope.saved.push_back(options());
            core::set_printoptions(scope.options);
            return nb::borrow(self);
          },
          nb::sig("def __enter__(self) -> _PrintOptionsContext"))
      .def(
          "__exit__",
          [](PrintScope& self, nb::args) {
            if (self.saved.empty()) return;
            core::set_printoptions(self.saved.back());
            self.saved.pop_back();
          },
          nb::sig("def __exit__(self, *args: object) -> None"));
  m.def(
      "set_printoptions", [](int precision) { core::set_printoptions({precision}); }, "precision"_a = -1,
      "How many decimals of floats are printed; -1 is the default, six significant digits.");
  m.def(
      "get_printoptions", [] { return options(); }, nb::sig("def get_printoptions() -> PrintOptions"),
      "The options in force.");
  m.def(
      "printoptions", [](int precision) { return PrintScope{{precision}, {}}; }, "precision"_a = -1,
      nb::sig("def printoptions(precision: int = -1) -> _PrintOptionsContext"),
      "Print options that hold inside a ``with`` block; see set_printoptions.");
}

}  // namespace mlx::python
