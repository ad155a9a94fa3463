// The buffer protocol, both ways: NumPy arrays in, arrays out without a copy.
#include <complex>
#include <cstring>
#include <vector>

#include "python/src/args.h"
#include "python/src/convert.h"

namespace mlx::python {
namespace {

struct Element {
  enum Kind { same, from_double, from_complex128 } kind = same;
  Dtype dtype = core::float32;
};

// The dtype of a PEP 3118 format of one native element; nothing for records, text, objects and foreign byte
// orders.
std::optional<Element> element_of(const char* format, Py_ssize_t itemsize, bool keep_double) {
  std::string_view f = format ? format : "B";
  if (!f.empty() && (f[0] == '@' || f[0] == '=' || f[0] == '<')) f.remove_prefix(1);
  if (!f.empty() && (f[0] == '>' || f[0] == '!') && itemsize == 1) f.remove_prefix(1);
  if (f == "Zf") return Element{Element::same, core::complex64};
  if (f == "Zd") return Element{Element::from_complex128, core::complex64};
  if (f.size() != 1) return std::nullopt;
  auto sized = [&](Dtype one, Dtype two, Dtype four, Dtype eight) -> std::optional<Element> {
    switch (itemsize) {
      case 1:
        return Element{Element::same, one};
      case 2:
        return Element{Element::same, two};
      case 4:
        return Element{Element::same, four};
      case 8:
        return Element{Element::same, eight};
      default:
        return std::nullopt;
    }
  };
  switch (f[0]) {
    case '?':
      return Element{Element::same, core::bool_};
    case 'b':
    case 'h':
    case 'i':
    case 'l':
    case 'q':
    case 'n':
      return sized(core::int8, core::int16, core::int32, core::int64);
    case 'B':
    case 'H':
    case 'I':
    case 'L':
    case 'Q':
    case 'N':
      return sized(core::uint8, core::uint16, core::uint32, core::uint64);
    case 'e':
      return Element{Element::same, core::float16};
    case 'f':
      return Element{Element::same, core::float32};
    case 'd':
      if (keep_double) return Element{Element::same, core::float64};
      return Element{Element::from_double, core::float32};
    default:
      return std::nullopt;
  }
}

struct View {
  Py_buffer buffer{};
  bool held = false;
  ~View() {
    if (held) PyBuffer_Release(&buffer);
  }
};

// Copies the rows of a strided buffer, converting each element by `move(out, in)`.
template <class Out, class Move>
Out* copy_strided(const Py_buffer& b, int dim, const char* in, Out* out, Move&& move) {
  if (dim == b.ndim) {
    move(out, in);
    return out + 1;
  }
  for (Py_ssize_t i = 0; i < b.shape[dim]; ++i, in += b.strides[dim])
    out = copy_strided(b, dim + 1, in, out, move);
  return out;
}

template <size_t kSize>
void copy_items(const Py_buffer& b, void* out) {
  struct Item {
    char bytes[kSize];
  };
  copy_strided(b, 0, static_cast<const char*>(b.buf), static_cast<Item*>(out),
               [](Item* to, const char* from) { std::memcpy(to, from, kSize); });
}

void copy_same(const Py_buffer& b, void* out) {
  if (b.len == 0) return;
  if (PyBuffer_IsContiguous(&b, 'C')) {
    std::memcpy(out, b.buf, static_cast<size_t>(b.len));
    return;
  }
  switch (b.itemsize) {
    case 1:
      return copy_items<1>(b, out);
    case 2:
      return copy_items<2>(b, out);
    case 4:
      return copy_items<4>(b, out);
    default:
      return copy_items<8>(b, out);
  }
}

template <class From, class To>
void copy_converted(const Py_buffer& b, To* out) {
  if (b.len == 0) return;
  copy_strided(b, 0, static_cast<const char*>(b.buf), out, [](To* to, const char* from) {
    From value;
    std::memcpy(&value, from, sizeof(From));
    *to = To(value);
  });
}

const char* format_of(Dtype d) {
  switch (d.val()) {
    case Dtype::Val::bool_:
      return "?";
    case Dtype::Val::uint8:
      return "B";
    case Dtype::Val::uint16:
      return "H";
    case Dtype::Val::uint32:
      return "I";
    case Dtype::Val::uint64:
      return "Q";
    case Dtype::Val::int8:
      return "b";
    case Dtype::Val::int16:
      return "h";
    case Dtype::Val::int32:
      return "i";
    case Dtype::Val::int64:
      return "q";
    case Dtype::Val::float16:
      return "e";
    case Dtype::Val::float32:
      return "f";
    case Dtype::Val::float64:
      return "d";
    case Dtype::Val::complex64:
      return "Zf";
    default:
      return nullptr;
  }
}

struct Exported {
  array a;
  std::vector<Py_ssize_t> shape, strides;
};

}  // namespace

std::optional<array> from_buffer(nb::handle h, bool share, bool keep_double) {
  auto view = std::make_shared<View>();
  Py_buffer& b = view->buffer;
  if (PyObject_GetBuffer(h.ptr(), &b, PyBUF_FULL_RO) != 0) {
    PyErr_Clear();
    return std::nullopt;
  }
  view->held = true;
  const std::optional<Element> element = element_of(b.format, b.itemsize, keep_double);
  if (!element || b.suboffsets) return std::nullopt;
  Shape shape;
  for (int i = 0; i < b.ndim; ++i) shape.push_back(core::safe_cast(b.shape[i], "array"));
  if (share) {
    const bool aligned = reinterpret_cast<uintptr_t>(b.buf) % element->dtype.size() == 0;
    if (element->kind != Element::same || !PyBuffer_IsContiguous(&b, 'C') || !aligned) return std::nullopt;
    void* data = b.buf;
    // The view, and with it the exporter, lives as long as the array; it may die on a thread without the GIL.
    return array(data, std::move(shape), element->dtype, [view](void*) mutable {
      if (!Py_IsInitialized()) return view->held = false, void();
      nb::gil_scoped_acquire gil;
      view.reset();
    });
  }
  array out(std::move(shape), element->dtype, nullptr, {});
  out.set_data(core::allocator::malloc(out.nbytes()));
  switch (element->kind) {
    case Element::same:
      copy_same(b, out.data<void>());
      break;
    case Element::from_double:
      copy_converted<double>(b, out.data<float>());
      break;
    case Element::from_complex128:
      copy_converted<std::complex<double>>(b, out.data<std::complex<float>>());
      break;
  }
  out.set_status(array::Status::available);
  return out;
}

int export_buffer(PyObject* self, Py_buffer* view, int flags) {
  view->obj = nullptr;
  PyObject* done = guarded([&]() -> PyObject* {
    array* a = as_array(self);
    if (!a) throw nb::buffer_error("the array is not initialised");
    if (a->dtype() == core::bfloat16 && (flags & PyBUF_FORMAT))
      throw nb::buffer_error(
          "bfloat16 has no buffer format; convert with astype, or view the bits as uint16");
    eval_released(*a);
    array b = *a;
    if (!b.flags().row_contiguous && (flags & PyBUF_STRIDES) != PyBUF_STRIDES) {
      b = core::contiguous(b);
      eval_released(b);
    }
    auto held = std::make_unique<Exported>(Exported{b, {}, {}});
    const auto item = static_cast<Py_ssize_t>(b.itemsize());
    bool repeats = false;  // one element stands for several: writing to it would change them all
    for (size_t i = 0; i < b.ndim(); ++i) {
      held->shape.push_back(b.shape()[i]);
      held->strides.push_back(static_cast<Py_ssize_t>(b.strides()[i]) * item);
      repeats |= b.strides()[i] == 0 && b.shape()[i] > 1;
    }
    const bool readonly = repeats || !b.data_shared_ptr() || !b.data_shared_ptr()->is_owned();
    if (readonly && (flags & PyBUF_WRITABLE))
      throw nb::buffer_error("the memory of this array is shared or broadcast and cannot be written to");
    view->buf = b.data<void>();
    view->len = static_cast<Py_ssize_t>(b.nbytes());
    view->itemsize = item;
    view->readonly = readonly;
    view->ndim = static_cast<int>(b.ndim());
    view->format = (flags & PyBUF_FORMAT) ? const_cast<char*>(format_of(b.dtype())) : nullptr;
    view->shape = (flags & PyBUF_ND) ? held->shape.data() : nullptr;
    view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? held->strides.data() : nullptr;
    view->suboffsets = nullptr;
    view->internal = held.release();
    view->obj = Py_NewRef(self);
    return self;
  });
  return done ? 0 : -1;
}

void release_buffer(PyObject*, Py_buffer* view) { delete static_cast<Exported*>(view->internal); }

namespace {

// The dtype that ml_dtypes adds to NumPy, where that package is installed.
nb::object numpy_bfloat16() {
  nb::object module = nb::steal(PyImport_ImportModule("ml_dtypes"));
  if (module.is_valid()) return module.attr("bfloat16");
  if (!PyErr_ExceptionMatches(PyExc_ImportError)) throw nb::python_error();
  PyErr_Clear();
  return {};
}

}  // namespace

nb::object to_numpy(nb::handle self, nb::handle dtype, nb::handle copy) {
  array* a = as_array(self);
  nb::object source = nb::borrow(self), bfloat16;
  if (a->dtype() == core::bfloat16) {
    bfloat16 = numpy_bfloat16();
    if (!bfloat16.is_valid() && !copy.is_none() && !nb::cast<bool>(copy))
      throw std::invalid_argument(
          "[array.__array__] NumPy has no bfloat16 without the package ml_dtypes: it is converted to "
          "float32, "
          "which needs a copy");
    source = wrap(bfloat16.is_valid() ? core::view(*a, core::uint16) : core::astype(*a, core::float32));
  }
  // Not the array itself: NumPy swallows the error of a buffer that cannot be given and calls this function
  // again.
  source = nb::steal(PyMemoryView_FromObject(source.ptr()));
  if (!source.is_valid()) throw nb::python_error();
  nb::module_ numpy = nb::module_::import_("numpy");
  if (bfloat16.is_valid()) source = numpy.attr("asarray")(source).attr("view")(bfloat16);
  nb::dict options;
  if (!dtype.is_none()) options["dtype"] = dtype;
  if (!copy.is_none()) {
    options["copy"] = copy;
    return numpy.attr("array")(source, **options);
  }
  return numpy.attr("asarray")(source, **options);
}

}  // namespace mlx::python
