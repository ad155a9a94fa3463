// Further forms of functions, with the keywords of the Python array API standard: overloads that come into
// play where the usual form does not take the call.
#include <algorithm>
#include <string>

#include "mlx/fft.h"
#include "mlx/linalg.h"
#include "python/src/args.h"
#include "python/src/named.h"

namespace mlx::python {
namespace {

// Calls the function in its usual form. Keywords that are None are left out.
nb::object usual(nb::handle scope, const char* name, const nb::tuple& args,
                 std::initializer_list<std::pair<const char*, nb::handle>> keywords) {
  nb::dict kwargs;
  for (const auto& [keyword, value] : keywords)
    if (!value.is_none()) kwargs[keyword] = value;
  nb::object out = nb::steal(PyObject_Call(nb::object(scope.attr(name)).ptr(), args.ptr(), kwargs.ptr()));
  if (!out) throw nb::python_error();
  return out;
}

// `device` is a place to run: what `stream` is to this library.
nb::handle checked_device(nb::handle device, const char* name) {
  StreamOrDevice where;
  if (!device.is_none() && !to_stream(device, where))
    bad_type({name, "device", 0}, "None, Device or DeviceType", device);
  return device;
}
constexpr const char* kDevice = "The same, with the place to run as ``device``.";

void define_creation(Module& m) {
  const auto with_device = [](const char* name, const char* parameters) {
    return std::string("def ") + name + "(" + parameters + ", device: Device | DeviceType | None) -> array";
  };
  for (const char* name : {"zeros", "ones"}) {
    const std::string sig = with_device(name, "shape: int | Sequence[int], *, dtype: Dtype | None = None");
    m.def(
        name,
        [m = nb::handle(m), name](nb::handle shape, nb::handle dtype, nb::handle device) {
          return usual(m, name, nb::make_tuple(shape),
                       {{"dtype", dtype}, {"stream", checked_device(device, name)}});
        },
        "shape"_a, nb::kw_only(), "dtype"_a = nb::none(), "device"_a.none(), nb::sig(sig.c_str()), kDevice);
  }
  for (const char* name : {"zeros_like", "ones_like"}) {
    const std::string sig = with_device(name, "a: array, /, *, dtype: Dtype | None = None");
    m.def(
        name,
        [m = nb::handle(m), name](nb::handle a, nb::handle dtype, nb::handle device) {
          return usual(m, name, nb::make_tuple(a),
                       {{"dtype", dtype}, {"stream", checked_device(device, name)}});
        },
        nb::arg(), nb::kw_only(), "dtype"_a = nb::none(), "device"_a.none(), nb::sig(sig.c_str()), kDevice);
  }
  m.attr("empty") = m.attr("zeros");
  m.attr("empty_like") = m.attr("zeros_like");
  for (const char* name : {"full", "full_like"}) {
    const bool like = name[4] != 0;
    const std::string sig =
        with_device(name, like ? "a: array, fill_value: scalar | array, /, *, dtype: Dtype | None = None"
                               : "shape: int | Sequence[int], fill_value: scalar | array, /, *, dtype: "
                                 "Dtype | None = None");
    m.def(
        name,
        [m = nb::handle(m), name](nb::handle what, nb::handle value, nb::handle dtype, nb::handle device) {
          return usual(m, name, nb::make_tuple(what, value),
                       {{"dtype", dtype}, {"stream", checked_device(device, name)}});
        },
        nb::arg(), nb::arg(), nb::kw_only(), "dtype"_a = nb::none(), "device"_a.none(), nb::sig(sig.c_str()),
        kDevice);
  }
  m.def(
      "eye",
      [m = nb::handle(m)](nb::handle rows, nb::handle columns, nb::handle k, nb::handle dtype,
                          nb::handle device) {
        return usual(m, "eye", nb::make_tuple(rows, columns),
                     {{"k", k}, {"dtype", dtype}, {"stream", checked_device(device, "eye")}});
      },
      nb::arg(), nb::arg().none() = nb::none(), nb::kw_only(), "k"_a = 0, "dtype"_a = nb::none(),
      "device"_a.none(),
      nb::sig("def eye(n: int, m: int | None = None, /, *, k: int = 0, dtype: Dtype | None = None, device: "
              "Device | "
              "DeviceType | None) -> array"),
      kDevice);
  m.def(
      "linspace",
      [m = nb::handle(m)](nb::handle start, nb::handle stop, nb::handle num, nb::handle dtype,
                          nb::handle device, nb::handle endpoint) {
        return usual(
            m, "linspace", nb::make_tuple(start, stop, num),
            {{"dtype", dtype}, {"endpoint", endpoint}, {"stream", checked_device(device, "linspace")}});
      },
      nb::arg(), nb::arg(), "num"_a, nb::kw_only(), "dtype"_a = nb::none(), "device"_a.none(),
      "endpoint"_a = true,
      nb::sig("def linspace(start: scalar, stop: scalar, /, num: int, *, dtype: Dtype | None = None, device: "
              "Device | "
              "DeviceType | None, endpoint: bool = True) -> array"),
      kDevice);
  m.def(
      "arange",
      [m = nb::handle(m)](nb::handle start, nb::handle stop, nb::handle step, nb::handle dtype,
                          nb::handle device) {
        const nb::tuple args =
            stop.is_none() ? nb::make_tuple(0, start, step) : nb::make_tuple(start, stop, step);
        return usual(m, "arange", args, {{"dtype", dtype}, {"stream", checked_device(device, "arange")}});
      },
      nb::arg(), "stop"_a = nb::none(), "step"_a = 1, nb::kw_only(), "dtype"_a = nb::none(),
      "device"_a.none(),
      nb::sig("def arange(start: int | float, /, stop: int | float | None = None, step: int | float = 1, *, "
              "dtype: Dtype | "
              "None = None, device: Device | DeviceType | None) -> array"),
      kDevice);
  m.def(
      "asarray",
      [m = nb::handle(m)](nb::handle a, nb::handle dtype, nb::handle device, nb::handle copy) {
        checked_device(device, "asarray");
        return usual(m, "asarray", nb::make_tuple(a), {{"dtype", dtype}, {"copy", copy}});
      },
      nb::arg(), nb::kw_only(), "dtype"_a = nb::none(), "device"_a.none(), "copy"_a = nb::none(),
      nb::sig("def asarray(a: scalar | array | Sequence[Any] | DLPackCompatible, /, *, dtype: Dtype | None = "
              "None, device: "
              "Device | DeviceType | None, copy: bool | None = None) -> array"),
      "The same; the memory is the same for every ``device``.");
  m.def(
      "from_dlpack",
      [m = nb::handle(m)](nb::handle x, nb::handle device, nb::handle copy) {
        checked_device(device, "from_dlpack");
        return usual(m, "from_dlpack", nb::make_tuple(x), {{"copy", copy}});
      },
      nb::arg(), nb::kw_only(), "device"_a.none(), "copy"_a = nb::none(),
      nb::sig("def from_dlpack(x: DLPackCompatible, /, *, device: Device | DeviceType | None, copy: bool | "
              "None = None) -> "
              "array"),
      "The same; the memory is the same for every ``device``.");
  m.def(
      "astype",
      [m = nb::handle(m)](nb::handle a, nb::handle dtype, bool, nb::handle device) {
        return usual(m, "astype", nb::make_tuple(a, dtype), {{"stream", checked_device(device, "astype")}});
      },
      nb::arg(), nb::arg(), nb::kw_only(), "copy"_a = true, "device"_a = nb::none(),
      nb::sig("def astype(a: array, dtype: Dtype, /, *, copy: bool = True, device: Device | DeviceType | "
              "None = None) -> "
              "array"),
      "The same. ``copy`` makes no difference: a later assignment to one of the arrays never shows in the "
      "other.");
  m.def(
      "reshape",
      [m = nb::handle(m)](nb::handle a, nb::handle shape, nb::handle) {
        return usual(m, "reshape", nb::make_tuple(a, shape), {});
      },
      nb::arg(), "shape"_a, nb::kw_only(), "copy"_a.none(),
      nb::sig("def reshape(a: array, /, shape: Sequence[int], *, copy: bool | None) -> array"),
      "The same. ``copy`` makes no difference: a later assignment to one of the arrays never shows in the "
      "other.");
}

void define_ordering(Module& m) {
  struct Form {
    const char* name;
    bool positions;
  };
  for (const Form form : {Form{"sort", false}, Form{"argsort", true}}) {
    const std::string sig =
        std::string("def ") + form.name +
        "(a: array, /, *, axis: int = -1, descending: bool = False, stable: bool = True, stream: "
        "StreamOrDevice = None) -> array";
    m.def(
        form.name,
        [form](nb::handle a, int axis, bool descending, bool, StreamOrDevice s) {
          const array x = to_array(a, {form.name, "a", 1});
          if (!descending) return wrap(form.positions ? core::argsort(x, axis, s) : core::sort(x, axis, s));
          if (!form.positions) return wrap(core::flip(core::sort(x, axis, s), axis, s));
          // From behind, so that equal elements keep their order when the result is turned round.
          const array order = core::argsort(core::flip(x, axis, s), axis, s);
          const array last(static_cast<uint32_t>(x.shape(axis) - 1), core::uint32);
          return wrap(core::flip(core::subtract(last, order, s), axis, s));
        },
        nb::arg(), nb::kw_only(), "axis"_a = -1, "descending"_a = false, "stable"_a = true,
        "stream"_a = nb::none(), nb::sig(sig.c_str()),
        "The same, or in descending order. Equal elements always keep their order, ``stable`` or not.");
  }
  m.def(
      "searchsorted",
      [](nb::handle sorted, nb::handle values, const std::string& side, nb::handle sorter, StreamOrDevice s) {
        const array x = to_array(sorted, {"searchsorted", "x1", 1});
        const array order = to_array(sorter, {"searchsorted", "sorter", 0});
        return wrap(core::searchsorted(core::take(x, order, 0, s),
                                       to_array(values, {"searchsorted", "x2", 2}), side, s));
      },
      nb::arg(), nb::arg(), nb::kw_only(), "side"_a = "left", "sorter"_a, "stream"_a = nb::none(),
      nb::sig(
          "def searchsorted(x1: array, x2: scalar | array, /, *, side: str = 'left', sorter: array, stream: "
          "StreamOrDevice = None) -> array"),
      "The same in a sequence that ``sorter``, indices such as argsort gives, would sort.");
}

array initial(const array& x, std::optional<int> axis, double value, Dtype dtype, StreamOrDevice s) {
  Shape shape = x.shape();
  shape[axis ? static_cast<size_t>((*axis + static_cast<int>(x.ndim())) % static_cast<int>(x.ndim())) : 0] =
      1;
  return core::full(shape, array(value, dtype), s);
}

void define_reductions(Module& m) {
  // sum and prod are in the dtype that is asked for from the start, as cumsum is.
  for (const char* name : {"sum", "prod"}) {
    const std::string sig =
        std::string("def ") + name +
        "(a: array, /, *, axis: None | int | Sequence[int] = None, dtype: Dtype | None, keepdims: "
        "bool = False, stream: StreamOrDevice = None) -> array";
    m.def(
        name,
        [name](nb::handle a, nb::handle axis, std::optional<Dtype> dtype, bool keepdims, StreamOrDevice s) {
          array x = to_array(a, {name, "a", 1});
          if (dtype) x = core::astype(x, *dtype, s);
          const auto axes = to_axes(axis, name, 0);
          const bool sum = name[0] == 's';
          array y = axes ? (sum ? core::sum(x, *axes, keepdims, s) : core::prod(x, *axes, keepdims, s))
                         : (sum ? core::sum(x, keepdims, s) : core::prod(x, keepdims, s));
          return wrap(dtype ? core::astype(y, *dtype, s) : y);
        },
        nb::arg(), nb::kw_only(), "axis"_a = nb::none(), "dtype"_a.none(), "keepdims"_a = false,
        "stream"_a = nb::none(), nb::sig(sig.c_str()),
        "The same in a dtype, which the elements are converted to first.");
  }
  for (const char* name : {"std", "var"}) {
    const std::string sig =
        std::string("def ") + name +
        "(a: array, /, *, axis: None | int | Sequence[int] = None, correction: int | float, keepdims: "
        "bool = False, stream: StreamOrDevice = None) -> array";
    m.def(
        name,
        [name](nb::handle a, nb::handle axis, double correction, bool keepdims, StreamOrDevice s) {
          const array x = to_array(a, {name, "a", 1});
          std::vector<int> all(x.ndim());
          for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int>(i);
          const std::vector<int> axes = to_axes(axis, name, 0).value_or(all);
          const int whole = static_cast<int>(correction);
          array y = core::var(x, axes, keepdims, whole, s);
          if (whole != correction) {  // degrees of freedom need not be whole
            double n = 1;
            for (const int i : axes) n *= x.shape(i);
            const Dtype real = y.dtype();
            y = core::multiply(core::var(x, axes, keepdims, 0, s), array(n / (n - correction), real), s);
          }
          return wrap(name[0] == 's' ? core::sqrt(y, s) : y);
        },
        nb::arg(), nb::kw_only(), "axis"_a = nb::none(), "correction"_a, "keepdims"_a = false,
        "stream"_a = nb::none(), nb::sig(sig.c_str()), "The same, divided by ``n - correction``.");
  }
  struct Scan {
    const char *name, *alias;
    double start;
  };
  for (const Scan scan : {Scan{"cumsum", "cumulative_sum", 0}, Scan{"cumprod", "cumulative_prod", 1}}) {
    const std::string sig =
        std::string("def ") + scan.name +
        "(a: array, /, *, axis: int | None = None, dtype: Dtype | None = None, include_initial: bool, "
        "stream: StreamOrDevice = None) -> array";
    m.def(
        scan.name,
        [scan](nb::handle a, nb::handle at, std::optional<Dtype> dtype, bool include, StreamOrDevice s) {
          const array x = to_array(a, {scan.name, "a", 1});
          const std::optional<int> axis = to_axis(at, scan.name, 0);
          const bool sum = scan.start == 0;
          const array y =
              axis ? (sum ? core::cumsum(x, *axis, false, true, dtype, s)
                          : core::cumprod(x, *axis, false, true, dtype, s))
                   : (sum ? core::cumsum(x, false, true, dtype, s) : core::cumprod(x, false, true, dtype, s));
          return wrap(include ? core::concatenate({initial(y, axis, scan.start, y.dtype(), s), y},
                                                  axis.value_or(0), s)
                              : y);
        },
        nb::arg(), nb::kw_only(), "axis"_a = nb::none(), "dtype"_a = nb::none(), "include_initial"_a,
        "stream"_a = nb::none(), nb::sig(sig.c_str()),
        "The same, with what nothing gives before the first element.");
    m.attr(scan.alias) = m.attr(scan.name);
  }
  m.def(
      "diff",
      [](nb::handle a, int axis, int n, nb::handle prepend, nb::handle append, StreamOrDevice s) {
        Arrays parts;
        if (!prepend.is_none()) parts.push_back(to_array(prepend, {"diff", "prepend", 0}));
        parts.push_back(to_array(a, {"diff", "a", 1}));
        if (!append.is_none()) parts.push_back(to_array(append, {"diff", "append", 0}));
        return wrap(core::diff(core::concatenate(parts, axis, s), n, axis, s));
      },
      nb::arg(), nb::kw_only(), "axis"_a = -1, "n"_a = 1, "prepend"_a = nb::none(), "append"_a = nb::none(),
      "stream"_a = nb::none(),
      nb::sig("def diff(a: array, /, *, axis: int = -1, n: int = 1, prepend: array | None = None, append: "
              "array | None = "
              "None, stream: StreamOrDevice = None) -> array"),
      "The same of an array with others before and after it along the axis.");
}

void define_shapes(Module& m) {
  m.def(
      "clip",
      [m = nb::handle(m)](nb::handle a, nb::handle low, nb::handle high, nb::handle s) -> nb::object {
        if (low.is_none() && high.is_none()) return wrap(to_array(a, {"clip", "a", 1}).get());
        return usual(m, "clip", nb::make_tuple(a, low, high), {{"stream", s}});
      },
      nb::arg(), "min"_a = nb::none(), "max"_a = nb::none(), nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def clip(a: array, /, min: scalar | array | None = None, max: scalar | array | None = None, "
              "*, stream: "
              "StreamOrDevice = None) -> array"),
      "The same with the standard's names, and no bound at all for the array itself.");
  m.def(
      "roll",
      [m = nb::handle(m)](nb::handle a, nb::handle shift, nb::handle axis, nb::handle s) {
        return usual(m, "roll", nb::make_tuple(a, shift, axis), {{"stream", s}});
      },
      nb::arg(), "shift"_a, "axis"_a = nb::none(), nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def roll(a: array, /, shift: int | Sequence[int], axis: None | int | Sequence[int] = None, *, "
              "stream: "
              "StreamOrDevice = None) -> array"),
      "The same with shift and axes by keyword.");
  m.def(
      "repeat",
      [](nb::handle a, nb::handle repeats, nb::handle at, StreamOrDevice s) {
        const array* counts = as_array(repeats);
        if (!counts) throw nb::next_overload();
        array x = to_array(a, {"repeat", "array", 1});
        const std::optional<int> axis = to_axis(at, "repeat", 3);
        if (!axis) x = core::flatten(x, s);
        if (counts->is_tracer())
          throw std::invalid_argument(
              "[repeat] the size of the result depends on the values of repeats, which a transformation does "
              "not know");
        const array ends = core::cumsum(core::broadcast_to(*counts, {x.shape(axis.value_or(0))}, s), 0, false,
                                        true, std::nullopt, s);
        int total = 0;
        {
          nb::gil_scoped_release release;
          total =
              x.shape(axis.value_or(0)) ? core::astype(core::max(ends, s), core::int32, s).item<int>() : 0;
        }
        const array place = core::searchsorted(ends, core::arange(0.0, total, ends.dtype(), s), "right", s);
        return wrap(core::take(x, place, axis.value_or(0), s));
      },
      nb::arg(), nb::arg(), nb::kw_only(), "axis"_a = nb::none(), "stream"_a = nb::none(),
      nb::sig("def repeat(array: array, repeats: array, /, *, axis: int | None = None, stream: "
              "StreamOrDevice = None) -> "
              "array"),
      "The same with a count for each element along the axis. The counts are evaluated.");
  m.def(
      "moveaxis",
      [](nb::handle a, nb::handle source, nb::handle destination, StreamOrDevice s) {
        const array x = to_array(a, {"moveaxis", "a", 1});
        std::vector<int> from = to_ints(source, {"moveaxis", "source", 2});
        std::vector<int> to = to_ints(destination, {"moveaxis", "destination", 3});
        const int n = static_cast<int>(x.ndim());
        if (from.size() != to.size())
          throw std::invalid_argument("[moveaxis] got " + std::to_string(from.size()) + " source and " +
                                      std::to_string(to.size()) +
                                      " destination axes, expected the same number");
        for (auto* axes : {&from, &to}) {
          for (int& axis : *axes) axis = core::normalize_axis_index(axis, n, "[moveaxis] ");
          for (size_t i = 0; i < axes->size(); ++i)
            if (std::count(axes->begin(), axes->end(), (*axes)[i]) > 1)
              throw std::invalid_argument("[moveaxis] axis " + std::to_string((*axes)[i]) +
                                          " is given twice");
        }
        std::vector<int> order(static_cast<size_t>(n), -1);
        for (size_t i = 0; i < to.size(); ++i) order[static_cast<size_t>(to[i])] = from[i];
        int next = 0;
        for (int& place : order) {
          if (place >= 0) continue;
          while (std::find(from.begin(), from.end(), next) != from.end()) ++next;
          place = next++;
        }
        return wrap(core::transpose(x, order, s));
      },
      nb::arg(), "source"_a, "destination"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def moveaxis(a: array, /, source: Sequence[int], destination: Sequence[int], *, stream: "
              "StreamOrDevice = "
              "None) -> array"),
      "The same for several axes.");
}

void define_linalg(Module& linalg) {
  linalg.def(
      "pinv",
      [](nb::handle a, double rtol, StreamOrDevice s) {
        const array x = to_array(a, {"pinv", "a", 1});
        if (x.ndim() < 2)
          throw std::invalid_argument("[linalg.pinv] got a vector or number, expected matrices");
        return wrap(core::linalg::lstsq(x, core::eye(x.shape(-2), x.dtype(), s), rtol, s)[0]);
      },
      nb::arg(), nb::kw_only(), "rtol"_a, "stream"_a = nb::none(),
      nb::sig("def pinv(a: array, /, *, rtol: float, stream: StreamOrDevice = None) -> array"),
      "The same; singular values up to ``rtol`` times the largest are taken for zeros.");
  linalg.def(
      "qr",
      [](nb::handle a, const std::string& mode, StreamOrDevice s) {
        const array x = to_array(a, {"qr", "a", 1});
        if (mode != "reduced" && mode != "complete")
          throw std::invalid_argument("[linalg.qr] got mode \"" + mode +
                                      "\", expected \"reduced\" or \"complete\"");
        const int m = x.ndim() < 2 ? 0 : x.shape(-2), n = x.ndim() < 2 ? 0 : x.shape(-1);
        if (mode == "reduced" || m <= n) {
          auto [q, r] = core::linalg::qr(x, s);
          return named_tuple("QRResult", {"Q", "R"}, {q, r});
        }
        // Columns of the identity complete the basis.
        Shape shape = x.shape();
        shape.back() = m;
        const array more = core::broadcast_to(core::eye(m, x.dtype(), s), shape, s);
        auto [q, r] = core::linalg::qr(core::concatenate({x, more}, -1, s), s);
        Shape start(r.ndim(), 0), stop = r.shape();
        stop.back() = n;
        return named_tuple("QRResult", {"Q", "R"}, {q, core::slice(r, start, stop, s)});
      },
      nb::arg(), nb::kw_only(), "mode"_a, "stream"_a = nb::none(),
      nb::sig("def qr(a: array, /, *, mode: str, stream: StreamOrDevice = None) -> tuple[array, array]"),
      "The same (``reduced``), or with Q (..., m, m) and R (..., m, n) (``complete``).");
  linalg.def(
      "svd",
      [](nb::handle a, bool full, StreamOrDevice s) {
        Arrays out = core::linalg::svd(to_array(a, {"svd", "a", 1}), true, s);
        const int k = out[1].shape(-1);
        const auto first = [&](const array& x, int from_end) {
          Shape start(x.ndim(), 0), stop = x.shape();
          stop[x.ndim() - static_cast<size_t>(from_end)] = k;
          return core::slice(x, start, stop, s);
        };
        if (!full) out[0] = first(out[0], 1), out[2] = first(out[2], 2);
        return named_tuple("SVDResult", {"U", "S", "Vh"}, out);
      },
      nb::arg(), nb::kw_only(), "full_matrices"_a, "stream"_a = nb::none(),
      nb::sig("def svd(a: array, /, *, full_matrices: bool, stream: StreamOrDevice = None) -> tuple[array, "
              "array, array]"),
      "The same, or with U (..., m, k) and Vh (..., k, n) where ``full_matrices`` is false.");
}

void define_frequencies(Module& fft) {
  for (const char* name : {"fftfreq", "rfftfreq"}) {
    const std::string sig =
        std::string("def ") + name +
        "(n: int, /, *, d: float = 1.0, dtype: Dtype | None = None, device: Device | DeviceType | None "
        "= None) -> array";
    fft.def(
        name,
        [real = name[0] == 'r'](int n, double d, std::optional<Dtype> dtype, nb::handle device) {
          StreamOrDevice s;
          if (!device.is_none() && !to_stream(device, s))
            bad_type({"fftfreq", "device", 0}, "None, Device or DeviceType", device);
          const Dtype of = dtype.value_or(core::float32);
          return wrap(real ? core::fft::rfftfreq(n, d, of) : core::fft::fftfreq(n, d, of));
        },
        nb::arg(), nb::kw_only(), "d"_a = 1.0, "dtype"_a = nb::none(), "device"_a = nb::none(),
        nb::sig(sig.c_str()), "The same, with a dtype and the place to run as ``device``.");
  }
}

}  // namespace

void init_array_api_forms(Module& m) {
  define_creation(m);
  define_ordering(m);
  define_reductions(m);
  define_shapes(m);
  Module linalg(nb::borrow<nb::module_>(m.attr("linalg")), "linalg.");
  define_linalg(linalg);
  Module fft(nb::borrow<nb::module_>(m.attr("fft")), "fft.");
  define_frequencies(fft);
}

}  // namespace mlx::python
