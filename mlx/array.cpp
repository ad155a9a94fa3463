#include "mlx/array.h"

#include <numeric>
#include <sstream>
#include <unordered_set>
#include <utility>

#include "mlx/graph/eval.h"
#include "mlx/graph/origin.h"
#include "mlx/graph/recycled.h"
#include "mlx/memory.h"
#include "mlx/ops.h"
#include "mlx/primitives.h"
#include "mlx/transforms.h"
#include "mlx/utils.h"

namespace mlx::core {
namespace {

// Graphs may be millions of nodes deep. A node that is destroyed while another one is being destroyed leaves
// its inputs here for the outermost destructor to release, so that the stack stays flat.
thread_local std::vector<std::vector<array>>* releasing = nullptr;

void release_inputs(std::vector<array>&& inputs) {
  if (inputs.empty()) return;
  if (releasing) {
    releasing->push_back(std::move(inputs));
    return;
  }
  std::vector<std::vector<array>> pending;
  releasing = &pending;
  pending.push_back(std::move(inputs));
  while (!pending.empty()) {
    std::vector<array> next = std::move(pending.back());
    pending.pop_back();
    next.clear();
  }
  releasing = nullptr;
}

}  // namespace

Strides row_major_strides(const Shape& shape) {
  Strides strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

size_t elements(const Shape& shape) {
  size_t n = 1;
  for (ShapeElem d : shape) n *= static_cast<size_t>(d);
  return n;
}

array::Flags flags_of(const Shape& shape, const Strides& strides, size_t data_size) {
  const size_t size = elements(shape);
  const auto dense = [&](bool row_major) {
    int64_t expected = 1;
    for (size_t k = 0; k < shape.size(); ++k) {
      const size_t i = row_major ? shape.size() - 1 - k : k;
      if (shape[i] != 1 && strides[i] != expected) return false;
      expected *= shape[i];
    }
    return true;
  };
  const bool exact = size == data_size;
  const bool row = (size <= 1 || dense(true)) && exact, col = (size <= 1 || dense(false)) && exact;
  return {row || col || exact, row, col};
}

array::ArrayDesc::ArrayDesc(Shape shape, Dtype dtype) : ArrayDesc(std::move(shape), dtype, nullptr, {}) {}

array::ArrayDesc::ArrayDesc(Shape s, Dtype dtype, std::shared_ptr<Primitive> primitive,
                            std::vector<array> inputs)
    : shape(std::move(s)),
      strides(shape.size(), 1),
      dtype(dtype),
      primitive(std::move(primitive)),
      inputs(std::move(inputs)) {
  for (size_t i = shape.size(); i-- > 0;) {
    if (shape[i] < 0) {
      std::ostringstream os;
      os << "[array] got the shape " << shape << ", expected no negative size";
      throw std::invalid_argument(os.str());
    }
    strides[i] = static_cast<int64_t>(size);
    if (__builtin_mul_overflow(size, static_cast<size_t>(shape[i]), &size)) {
      std::ostringstream os;
      os << "[array] the shape " << shape << " has more elements than an integer can count";
      throw std::invalid_argument(os.str());
    }
  }
  for (const array& in : this->inputs) tracer = tracer || in.is_tracer();
  if (detail::recording_origins()) [[unlikely]]
    origin = detail::new_origin(this->primitive ? this->primitive->name() : "array");
}

array::ArrayDesc::~ArrayDesc() { release_inputs(std::move(inputs)); }

array::array(Shape shape, Dtype dtype, std::shared_ptr<Primitive> primitive, std::vector<array> inputs)
    : desc_(std::allocate_shared<ArrayDesc>(detail::Recycled<ArrayDesc>(), std::move(shape), dtype,
                                            std::move(primitive), std::move(inputs))) {}

array::array(const std::complex<float>& val, Dtype dtype) : array(complex64_t(val), dtype) {}
array::array(std::initializer_list<float> data)
    : array(data.begin(), Shape{static_cast<ShapeElem>(data.size())}, float32) {}
array::array(std::initializer_list<int> data, Dtype dtype)
    : array(data.begin(), Shape{static_cast<ShapeElem>(data.size())}, dtype) {}

array::array(void* data, Shape shape, Dtype dtype, const std::function<void(void*)>& deleter)
    : array(std::move(shape), dtype, nullptr, {}) {
  set_data(allocator::Data(allocator::Buffer(data),
                           [deleter](allocator::Buffer buffer) { deleter(buffer.raw_ptr()); }));
}

array::array(allocator::Data data, Shape shape, Dtype dtype) : array(std::move(shape), dtype, nullptr, {}) {
  set_data(std::move(data));
}

std::vector<array> array::make_arrays(std::vector<Shape> shapes, const std::vector<Dtype>& dtypes,
                                      const std::shared_ptr<Primitive>& primitive,
                                      const std::vector<array>& inputs) {
  std::vector<array> out;
  out.reserve(shapes.size());
  auto group = std::make_shared<Group>();
  group->shapes = shapes;
  group->dtypes = dtypes;
  for (size_t i = 0; i < shapes.size(); ++i) {
    out.emplace_back(std::move(shapes[i]), dtypes[i], primitive, inputs);
    out[i].desc_->position = static_cast<uint16_t>(i);
    out[i].desc_->group = group;
    group->members.push_back(out[i].desc_);
  }
  return out;
}

std::vector<array> array::outputs() const {
  if (!desc_->group) return {*this};
  Group& group = *desc_->group;
  std::lock_guard lock(group.mutex);
  std::vector<array> out;
  for (size_t i = 0; i < group.members.size(); ++i) {
    if (auto member = group.members[i].lock()) {
      out.push_back(array(std::move(member)));
      continue;
    }
    // Nobody held this output any more: a new node takes its place, computed by the same call.
    array fresh(group.shapes[i], group.dtypes[i], desc_->primitive, desc_->inputs);
    fresh.desc_->position = static_cast<uint16_t>(i);
    fresh.desc_->group = desc_->group;
    group.members[i] = fresh.desc_;
    out.push_back(std::move(fresh));
  }
  return out;
}

std::vector<array> array::siblings() const {
  std::vector<array> all = outputs();
  if (desc_->group) {
    all.erase(all.begin() + desc_->position);
  } else {
    all.clear();
  }
  return all;
}

void array::set_siblings(std::vector<array> siblings, uint16_t position) {
  auto group = std::make_shared<Group>();
  siblings.insert(siblings.begin() + position, *this);
  for (size_t i = 0; i < siblings.size(); ++i) {
    group->shapes.push_back(siblings[i].shape());
    group->dtypes.push_back(siblings[i].dtype());
    group->members.push_back(siblings[i].desc_);
  }
  desc_->group = std::move(group);
  desc_->position = position;
}

void array::detach() {
  desc_->primitive = nullptr;
  desc_->group = nullptr;
  release_inputs(std::exchange(desc_->inputs, {}));
}

bool array::is_tracer() const { return desc_->tracer && (detail::in_tracing() || detail::retain_graph()); }

size_t array::buffer_size() const {
  const auto& data = desc_->data;
  return data->is_owned() ? allocator::allocator().size(data->buffer()) : nbytes();
}

int64_t array::offset() const {
  return static_cast<const char*>(desc_->data_ptr) - static_cast<const char*>(desc_->data->buffer().ptr());
}

void array::set_data(allocator::Data data) {
  desc_->data = std::allocate_shared<Data>(detail::Recycled<Data>(), std::move(data));
  desc_->data_ptr = desc_->data->buffer().raw_ptr();
  desc_->data_size = size();
  desc_->strides = row_major_strides(desc_->shape);
  desc_->flags = {true, true, size() <= 1 || desc_->shape.size() <= 1};
  if (desc_->shape.size() > 1 && size() > 1) {
    int larger = 0;
    for (ShapeElem d : desc_->shape) larger += d > 1;
    desc_->flags.col_contiguous = larger <= 1;
  }
  if (!has_primitive()) set_status(Status::available);
}

void array::set_data(allocator::Data data, size_t data_size, Strides strides, Flags flags, int64_t offset) {
  desc_->data = std::allocate_shared<Data>(detail::Recycled<Data>(), std::move(data));
  desc_->data_ptr =
      static_cast<char*>(desc_->data->buffer().raw_ptr()) + offset * static_cast<int64_t>(itemsize());
  desc_->data_size = data_size;
  desc_->strides = std::move(strides);
  desc_->flags = flags;
  if (!has_primitive()) set_status(Status::available);
}

void array::copy_shared_buffer(const array& other, const Strides& strides, Flags flags, size_t data_size,
                               int64_t offset) {
  desc_->data = other.desc_->data;
  desc_->strides = strides;
  desc_->flags = flags;
  desc_->data_size = data_size;
  desc_->data_ptr = static_cast<char*>(other.desc_->data_ptr) + offset * static_cast<int64_t>(itemsize());
}

void array::copy_shared_buffer(const array& other) {
  copy_shared_buffer(other, other.strides(), other.flags(), other.data_size());
}

void array::eval() {
  if (status() != Status::available) mlx::core::eval(std::vector<array>{*this});
}

void array::wait() {
  while (status() != Status::available) {
    if (status() == Status::unscheduled) {
      eval();
    } else {
      detail::wait_for(*desc_);
    }
  }
}

void array::check_item() const {
  if (size() != 1) {
    std::ostringstream os;
    os << "[item] got an array of shape " << shape() << ", expected exactly one element";
    throw std::invalid_argument(os.str());
  }
  const_cast<array*>(this)->eval();
}

array::ArrayIterator::ArrayIterator(const array& arr, int idx) : arr(arr), idx(idx) {
  if (arr.ndim() == 0)
    throw std::invalid_argument("[array] iterating needs at least one dimension, got a 0-d array");
}

array::ArrayIterator::reference array::ArrayIterator::operator*() const {
  Shape start(arr.ndim(), 0), stop = arr.shape();
  start[0] = idx;
  stop[0] = idx + 1;
  return squeeze(slice(arr, start, stop), 0);
}

size_t get_array_buffer_size(const std::vector<array>& arrays) {
  std::unordered_set<const array::Data*> seen;
  size_t total = 0;
  for (const array& a : arrays)
    if (a.data_shared_ptr() && seen.insert(a.data_shared_ptr().get()).second)
      total += a.data_shared_ptr()->is_owned() ? allocator::allocator().size(a.data_shared_ptr()->buffer())
                                               : a.data_size() * a.itemsize();
  return total;
}

}  // namespace mlx::core
