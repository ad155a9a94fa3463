// DLPack: arrays handed to and taken from other libraries without a copy, where both sides can see the
// memory.
#include <cstdint>
#include <vector>

#include "python/src/args.h"
#include "python/src/convert.h"

namespace mlx::python {
namespace {

// The structures of dlpack.h (github.com/dmlc/dlpack), version 1.0 and before.
struct DLDevice {
  int32_t type;
  int32_t id;
};
struct DLDataType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor tensor;
  void* context;
  void (*deleter)(DLManagedTensor*);
};
struct DLManagedTensorVersioned {
  uint32_t major, minor;
  void* context;
  void (*deleter)(DLManagedTensorVersioned*);
  uint64_t flags;
  DLTensor tensor;
};
constexpr int32_t kCpu = 1;
constexpr uint64_t kReadOnly = 1, kCopied = 2;
enum Code : uint8_t { kInt = 0, kUInt = 1, kFloat = 2, kBfloat = 4, kComplex = 5, kBool = 6 };

DLDataType to_dl(Dtype d) {
  const uint8_t bits = static_cast<uint8_t>(d.size() * 8);
  switch (core::kindof(d)) {
    case Dtype::Kind::b:
      return {kBool, bits, 1};
    case Dtype::Kind::u:
      return {kUInt, bits, 1};
    case Dtype::Kind::i:
      return {kInt, bits, 1};
    case Dtype::Kind::f:
      return {kFloat, bits, 1};
    case Dtype::Kind::c:
      return {kComplex, bits, 1};
    default:
      return {kBfloat, bits, 1};
  }
}

std::optional<Dtype> from_dl(DLDataType t) {
  if (t.lanes != 1) return std::nullopt;
  for (Dtype d : {core::bool_, core::uint8, core::uint16, core::uint32, core::uint64, core::int8, core::int16,
                  core::int32, core::int64, core::float16, core::float32, core::float64, core::bfloat16,
                  core::complex64}) {
    const DLDataType own = to_dl(d);
    if (own.code == t.code && own.bits == t.bits) return d;
  }
  return std::nullopt;
}

struct Held {
  array a;
  std::vector<int64_t> shape, strides;
};

template <class Managed>
nb::object capsule_of(const array& a, const char* name, uint64_t flags) {
  auto held = std::make_unique<Held>(Held{a, {}, {}});
  held->shape.assign(a.shape().begin(), a.shape().end());
  held->strides.assign(a.strides().begin(), a.strides().end());
  auto managed = std::make_unique<Managed>();
  managed->tensor = {
      held->a.data<void>(), {kCpu, 0}, static_cast<int32_t>(a.ndim()), to_dl(a.dtype()), held->shape.data(),
      held->strides.data(), 0};
  managed->context = held.get();
  managed->deleter = [](Managed* m) {
    delete static_cast<Held*>(m->context);
    delete m;
  };
  if constexpr (std::is_same_v<Managed, DLManagedTensorVersioned>) {
    managed->major = 1;
    managed->minor = 0;
    managed->flags = flags;
  }
  PyObject* capsule = PyCapsule_New(managed.get(), name, [](PyObject* c) {
    // A consumer renames the capsule when it takes the tensor over.
    const char* own = std::is_same_v<Managed, DLManagedTensor> ? "dltensor" : "dltensor_versioned";
    if (PyCapsule_IsValid(c, own)) {
      auto* m = static_cast<Managed*>(PyCapsule_GetPointer(c, own));
      m->deleter(m);
    }
  });
  if (!capsule) throw nb::python_error();
  static_cast<void>(held.release());
  static_cast<void>(managed.release());
  return nb::steal(capsule);
}

// An array over the tensor's memory; `owner` releases it.
array adopt(const DLTensor& t, Dtype dtype, std::shared_ptr<void> owner, bool copy) {
  Shape shape;
  core::Strides strides;
  int64_t extent = 0, next = 1;
  bool row_major = true;
  for (int i = 0; i < t.ndim; ++i) shape.push_back(core::safe_cast(t.shape[i], "from_dlpack"));
  strides.resize(shape.size());
  for (int i = t.ndim - 1; i >= 0; --i) {
    strides[static_cast<size_t>(i)] = t.strides ? t.strides[i] : next;
    row_major &= strides[static_cast<size_t>(i)] == next || t.shape[i] == 1;
    next *= t.shape[i];
  }
  const size_t count = core::elements(shape);
  bool negative = false;
  for (size_t i = 0; i < shape.size() && count > 0; ++i) {
    extent += (shape[i] - 1) * strides[i];
    negative |= strides[i] < 0;
  }
  char* data = static_cast<char*>(t.data) + t.byte_offset;
  if (row_major || count == 0) {
    array whole(data, shape, dtype, [owner](void*) {});
    return copy ? core::copy(whole) : whole;
  }
  if (negative) throw std::invalid_argument("[from_dlpack] negative strides are not supported");
  array flat(data, Shape{core::safe_cast(extent + 1, "from_dlpack")}, dtype, [owner](void*) {});
  array view = core::as_strided(flat, shape, strides, 0);
  return copy ? core::contiguous(view) : view;
}

template <class Managed>
array take(PyObject* capsule, const char* name, const char* used, bool copy) {
  auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule, name));
  if (!managed) throw nb::python_error();
  const DLTensor t = managed->tensor;
  if (t.device.type != kCpu)
    throw std::invalid_argument(
        "[from_dlpack] only memory of the CPU can be taken, the tensor is on a device of type " +
        std::to_string(t.device.type));
  const std::optional<Dtype> dtype = from_dl(t.dtype);
  if (!dtype)
    throw std::invalid_argument("[from_dlpack] no dtype for code " + std::to_string(t.dtype.code) + " with " +
                                std::to_string(t.dtype.bits) + " bits");
  if (reinterpret_cast<uintptr_t>(t.data) % dtype->size() != 0) copy = true;
  std::shared_ptr<void> owner(managed, [](void* p) {
    if (!Py_IsInitialized()) return;
    nb::gil_scoped_acquire gil;
    auto* m = static_cast<Managed*>(p);
    if (m->deleter) m->deleter(m);
  });
  if (PyCapsule_SetName(capsule, used) != 0) throw nb::python_error();
  array out = adopt(t, *dtype, std::move(owner), copy);
  if (copy) eval_released(out);
  return out;
}

}  // namespace

nb::object to_dlpack(const array& a, nb::handle max_version, nb::handle copy) {
  array b = a;
  const bool copied = !copy.is_none() && nb::cast<bool>(copy);
  if (copied) b = core::contiguous(core::copy(b));
  eval_released(b);
  bool versioned = false;
  if (PyTuple_Check(max_version.ptr()) && PyTuple_GET_SIZE(max_version.ptr()) > 0)
    versioned = nb::cast<int>(nb::handle(PyTuple_GET_ITEM(max_version.ptr(), 0))) >= 1;
  if (versioned) {
    const bool foreign = b.data_shared_ptr() && !b.data_shared_ptr()->is_owned();
    return capsule_of<DLManagedTensorVersioned>(b, "dltensor_versioned",
                                                (foreign ? kReadOnly : 0) | (copied ? kCopied : 0));
  }
  return capsule_of<DLManagedTensor>(b, "dltensor", 0);
}

array from_dlpack(nb::handle h, std::optional<bool> copy, const char* function) {
  nb::object capsule;
  if (PyCapsule_CheckExact(h.ptr())) {
    capsule = nb::borrow(h);
  } else {
    if (!nb::hasattr(h, "__dlpack__")) bad_type({function, "x", 1}, "an object with __dlpack__", h);
    nb::object make = h.attr("__dlpack__");
    try {
      nb::dict options;
      options["max_version"] = nb::make_tuple(1, 0);
      capsule = make(**options);
    } catch (nb::python_error& e) {
      if (!e.matches(PyExc_TypeError)) throw;  // an exporter from before version 1 knows no max_version
      capsule = make();
    }
  }
  const bool force = copy.value_or(false);
  if (PyCapsule_IsValid(capsule.ptr(), "dltensor_versioned"))
    return take<DLManagedTensorVersioned>(capsule.ptr(), "dltensor_versioned", "used_dltensor_versioned",
                                          force);
  return take<DLManagedTensor>(capsule.ptr(), "dltensor", "used_dltensor", force);
}

}  // namespace mlx::python
