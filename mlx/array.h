// `array`: a handle to a node of the graph. A node either has data, or a primitive and inputs that will give
// it some.
#pragma once

#include <atomic>
#include <complex>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "mlx/allocator.h"
#include "mlx/dtype.h"
#include "mlx/small_vector.h"

namespace mlx::core {

class Primitive;

using ShapeElem = int32_t;
using Shape = SmallVector<ShapeElem>;
using Strides = SmallVector<int64_t>;

class array {
 public:
  // Scalars. Where no dtype is given, C++ doubles become float32.
  template <class T>
    requires(std::is_arithmetic_v<T> || std::is_same_v<T, float16_t> || std::is_same_v<T, bfloat16_t> ||
             std::is_same_v<T, complex64_t>)
  explicit array(T val, Dtype dtype = TypeToDtype<T>());
  explicit array(const std::complex<float>& val, Dtype dtype = complex64);
  template <class It>
    requires(IteratorLike<It>)
  explicit array(It data, Shape shape,
                 Dtype dtype = TypeToDtype<typename std::iterator_traits<It>::value_type>());
  template <class T>
  explicit array(std::initializer_list<T> data, Dtype dtype = TypeToDtype<T>());
  explicit array(std::initializer_list<float> data);
  explicit array(std::initializer_list<int> data, Dtype dtype);
  template <class T>
  explicit array(std::initializer_list<T> data, Shape shape, Dtype dtype = TypeToDtype<T>());
  // Takes over memory from outside: row-major, kept until `deleter` is called, never written to.
  explicit array(void* data, Shape shape, Dtype dtype, const std::function<void(void*)>& deleter);
  explicit array(allocator::Data data, Shape shape, Dtype dtype);
  // A node to be computed. A tracer among the inputs makes it a tracer.
  array(Shape shape, Dtype dtype, std::shared_ptr<Primitive> primitive, std::vector<array> inputs);
  static std::vector<array> make_arrays(std::vector<Shape> shapes, const std::vector<Dtype>& dtypes,
                                        const std::shared_ptr<Primitive>& primitive,
                                        const std::vector<array>& inputs);
  // A handle whose node is kept alive as usual; the name is the API's.
  static array unsafe_weak_copy(const array& other) { return other; }

  array(const array& other) = default;
  array(array&& other) noexcept = default;
  // Assignment to an rvalue is refused: `a[...] = b` does not do in C++ what it does in Python.
  array& operator=(const array& other) && = delete;
  array& operator=(array&& other) && = delete;
  array& operator=(const array& other) & = default;
  array& operator=(array&& other) & noexcept = default;
  ~array() = default;

  size_t itemsize() const { return desc_->dtype.size(); }
  size_t size() const { return desc_->size; }
  size_t nbytes() const { return size() * itemsize(); }
  size_t ndim() const { return desc_->shape.size(); }
  const Shape& shape() const { return desc_->shape; }
  // Counts from the end where `dim` is negative; raises std::out_of_range.
  ShapeElem shape(int dim) const {
    return desc_->shape.at(static_cast<size_t>(dim < 0 ? dim + static_cast<int>(ndim()) : dim));
  }
  // In elements. Known once the array is evaluated.
  const Strides& strides() const { return desc_->strides; }
  int64_t strides(int dim) const {
    return desc_->strides.at(static_cast<size_t>(dim < 0 ? dim + static_cast<int>(ndim()) : dim));
  }
  Dtype dtype() const { return desc_->dtype; }

  void eval();
  // The value of an array with one element; evaluates. Raises std::invalid_argument for any other size.
  template <class T>
  T item();
  template <class T>
  T item() const;

  struct ArrayIterator {
    using iterator_category = std::random_access_iterator_tag;
    using difference_type = std::ptrdiff_t;
    using value_type = const array;
    using reference = value_type;
    explicit ArrayIterator(const array& arr, int idx = 0);
    reference operator*() const;
    ArrayIterator& operator+(difference_type diff) {
      idx += static_cast<int>(diff);
      return *this;
    }
    ArrayIterator& operator++() {
      ++idx;
      return *this;
    }
    friend bool operator==(const ArrayIterator& a, const ArrayIterator& b) {
      return a.arr.id() == b.arr.id() && a.idx == b.idx;
    }
    friend bool operator!=(const ArrayIterator& a, const ArrayIterator& b) { return !(a == b); }

   private:
    const array& arr;
    int idx;
  };
  ArrayIterator begin() const { return ArrayIterator(*this); }
  ArrayIterator end() const { return ArrayIterator(*this, shape(0)); }

  // The node's identity.
  std::uintptr_t id() const { return reinterpret_cast<std::uintptr_t>(desc_.get()); }
  std::uintptr_t primitive_id() const { return reinterpret_cast<std::uintptr_t>(desc_->primitive.get()); }

  using Data = allocator::Data;
  struct Flags {
    // No holes: data_size elements of the buffer, from the offset on, are all of the array's.
    bool contiguous : 1;
    bool row_contiguous : 1;
    bool col_contiguous : 1;
  };

  Primitive& primitive() const { return *desc_->primitive; }
  const std::shared_ptr<Primitive>& primitive_ptr() const { return desc_->primitive; }
  std::shared_ptr<Primitive>& primitive_ptr() { return desc_->primitive; }
  bool has_primitive() const { return desc_->primitive != nullptr; }
  const std::vector<array>& inputs() const { return desc_->inputs; }
  std::vector<array>& inputs() { return desc_->inputs; }

  // True where this handle is the only one and its buffer belongs to nobody else, nor does a device still
  // read it: an output may take the buffer.
  bool is_donatable() const {
    return desc_.use_count() == 1 && desc_->data && desc_->data.use_count() == 1 && desc_->data->is_owned() &&
           allocator::is_writable(desc_->data->buffer());
  }

  // The other outputs of the same primitive call; outputs() has this one too, in order.
  std::vector<array> siblings() const;
  int sibling_position() const { return desc_->position; }
  void set_siblings(std::vector<array> siblings, uint16_t position);
  std::vector<array> outputs() const;

  // Forgets how the array is computed. It must be available.
  void detach();

  const Flags& flags() const { return desc_->flags; }
  // Elements of the buffer in use, which differs from size() for broadcast and sliced arrays.
  size_t data_size() const { return desc_->data_size; }
  allocator::Buffer buffer() const { return desc_->data->buffer(); }
  size_t buffer_size() const;
  const std::shared_ptr<Data>& data_shared_ptr() const { return desc_->data; }
  template <class T>
  T* data() {
    return static_cast<T*>(desc_->data_ptr);
  }
  template <class T>
  const T* data() const {
    return static_cast<const T*>(desc_->data_ptr);
  }
  // In bytes from the start of the buffer.
  int64_t offset() const;

  enum Status { unscheduled, evaluated, available };
  bool is_available() const { return status() == Status::available; }
  // Blocks until the array is available; evaluates it where nobody else does.
  void wait();
  Status status() const { return desc_->status.load(std::memory_order_acquire); }
  void set_status(Status s) const { desc_->status.store(s, std::memory_order_release); }

  // Tracers keep their graph when evaluated inside a transform.
  void set_tracer(bool is_tracer) { desc_->tracer = is_tracer; }
  bool is_tracer() const;

  // Gives the node its data. Row-major over the whole buffer unless told otherwise.
  void set_data(allocator::Data data);
  void set_data(allocator::Data data, size_t data_size, Strides strides, Flags flags, int64_t offset = 0);
  // Views: the same buffer seen with other strides. `offset` counts elements of this array's dtype.
  void copy_shared_buffer(const array& other, const Strides& strides, Flags flags, size_t data_size,
                          int64_t offset = 0);
  void copy_shared_buffer(const array& other);
  // This handle becomes another one of `other`'s node (in-place update in Python).
  void overwrite_descriptor(const array& other) { desc_ = other.desc_; }

  // The outputs of one primitive call. Weak, so that an output nobody wants costs nothing and no cycle
  // arises.
  struct ArrayDesc;
  struct Group {
    std::mutex mutex;
    std::vector<std::weak_ptr<ArrayDesc>> members;
    std::vector<Shape> shapes;
    std::vector<Dtype> dtypes;
  };
  struct ArrayDesc : std::enable_shared_from_this<ArrayDesc> {
    ArrayDesc(Shape shape, Dtype dtype);
    ArrayDesc(Shape shape, Dtype dtype, std::shared_ptr<Primitive> primitive, std::vector<array> inputs);
    ~ArrayDesc();
    ArrayDesc(const ArrayDesc&) = delete;
    ArrayDesc& operator=(const ArrayDesc&) = delete;

    Shape shape;
    Strides strides;
    size_t size = 1;
    Dtype dtype;
    mutable std::atomic<Status> status{Status::unscheduled};
    bool tracer = false;
    Flags flags{};
    uint16_t position = 0;
    uint32_t origin = 0;  // who built the node (mlx/debug.h); 0: nobody asked
    size_t data_size = 0;
    void* data_ptr = nullptr;
    std::shared_ptr<Data> data;
    std::shared_ptr<Primitive> primitive;
    std::vector<array> inputs;
    std::shared_ptr<Group> group;  // outputs of the same primitive call, where there are several

    // Scratch of the evaluation that has claimed this node (graph/eval.cpp); nobody else reads it.
    std::atomic<uint64_t> tape{0};
    uint32_t uses = 0;
    int32_t fused = -1;
    bool shared = false;
    bool stored = true;  // by others than element-wise operations: its value is read from memory
  };
  // For the evaluator: nodes without touching their reference counts.
  ArrayDesc* desc() const { return desc_.get(); }
  long use_count() const { return desc_.use_count(); }
  explicit array(std::shared_ptr<ArrayDesc> desc) : desc_(std::move(desc)) {}
  const std::shared_ptr<ArrayDesc>& desc_ptr() const { return desc_; }

 private:
  template <class It>
  void init(It src);
  static array scalar_from(const void* value, Dtype from, Dtype to);
  void check_item() const;

  std::shared_ptr<ArrayDesc> desc_;
};

// Row-major strides of a shape.
Strides row_major_strides(const Shape& shape);
size_t elements(const Shape& shape);
// Flags that follow from shape and strides alone, for a buffer of data_size elements.
array::Flags flags_of(const Shape& shape, const Strides& strides, size_t data_size);

template <class T>
  requires(std::is_arithmetic_v<T> || std::is_same_v<T, float16_t> || std::is_same_v<T, bfloat16_t> ||
           std::is_same_v<T, complex64_t>)
array::array(T val, Dtype dtype) : array(Shape{}, dtype, nullptr, {}) {
  init(&val);
}

template <class It>
  requires(IteratorLike<It>)
array::array(It data, Shape shape, Dtype dtype) : array(std::move(shape), dtype, nullptr, {}) {
  init(data);
}

template <class T>
array::array(std::initializer_list<T> data, Dtype dtype)
    : array(data.begin(), Shape{static_cast<ShapeElem>(data.size())}, dtype) {}

template <class T>
array::array(std::initializer_list<T> data, Shape shape, Dtype dtype)
    : array(Shape(shape), dtype, nullptr, {}) {
  if (data.size() != size())
    throw std::invalid_argument("[array::array] the data's size and the shape do not match");
  init(data.begin());
}

template <class T>
T array::item() {
  return static_cast<const array*>(this)->item<T>();
}

// One function over all dtypes, as kernels see them: `dispatch(dtype, [&]<class T>() {...})`.
template <class F>
decltype(auto) dispatch_all(Dtype dtype, F&& f) {
  switch (dtype.val()) {
    case Dtype::Val::bool_:
      return f.template operator()<bool>();
    case Dtype::Val::uint8:
      return f.template operator()<uint8_t>();
    case Dtype::Val::uint16:
      return f.template operator()<uint16_t>();
    case Dtype::Val::uint32:
      return f.template operator()<uint32_t>();
    case Dtype::Val::uint64:
      return f.template operator()<uint64_t>();
    case Dtype::Val::int8:
      return f.template operator()<int8_t>();
    case Dtype::Val::int16:
      return f.template operator()<int16_t>();
    case Dtype::Val::int32:
      return f.template operator()<int32_t>();
    case Dtype::Val::int64:
      return f.template operator()<int64_t>();
    case Dtype::Val::float16:
      return f.template operator()<float16_t>();
    case Dtype::Val::float32:
      return f.template operator()<float>();
    case Dtype::Val::float64:
      return f.template operator()<double>();
    case Dtype::Val::bfloat16:
      return f.template operator()<bfloat16_t>();
    default:
      return f.template operator()<complex64_t>();
  }
}

template <class T>
T array::item() const {
  check_item();
  return dispatch_all(dtype(), [&]<class S>() { return cast_to<T>(*data<S>()); });
}

template <class It>
void array::init(It src) {
  set_data(allocator::malloc(nbytes()));
  dispatch_all(dtype(), [&]<class T>() {
    T* out = data<T>();
    for (size_t i = 0, n = size(); i < n; ++i, ++src) out[i] = cast_to<T>(*src);
  });
}

template <class T>
inline constexpr bool is_array_v = std::is_same_v<std::remove_cvref_t<T>, array>;
template <class... T>
inline constexpr bool is_arrays_v = (is_array_v<T> && ...);
template <class... T>
using enable_for_arrays_t = std::enable_if_t<is_arrays_v<T...>>;

}  // namespace mlx::core
