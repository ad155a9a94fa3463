// A vector whose first elements lie in the object itself. Shapes and strides are made for every node of a
// graph and almost always have at most five entries: no heap allocation for them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

namespace mlx::core {

template <class T>
concept IteratorLike = requires(T it) {
  typename std::iterator_traits<T>::iterator_category;
  *it;
};

template <class T, size_t kInline = 40 / sizeof(T)>
class SmallVector {
  static_assert(std::is_trivially_copyable_v<T>, "elements are moved as bytes");

 public:
  using value_type = T;
  using reference = T&;
  using const_reference = const T&;
  using iterator = T*;
  using const_iterator = const T*;
  using difference_type = std::ptrdiff_t;
  using size_type = size_t;

  SmallVector() = default;
  explicit SmallVector(size_t size) : SmallVector(size, T{}) {}
  SmallVector(size_t size, const T& value) { resize(size, value); }
  SmallVector(std::initializer_list<T> init) : SmallVector(init.begin(), init.end()) {}
  template <IteratorLike It>
  SmallVector(It begin, It end) {
    reserve(static_cast<size_t>(std::distance(begin, end)));
    for (; begin != end; ++begin) data_[size_++] = static_cast<T>(*begin);
  }
  SmallVector(const SmallVector& other) { assign(other); }
  SmallVector(SmallVector&& other) noexcept { steal(other); }
  ~SmallVector() { free_storage(); }
  SmallVector& operator=(const SmallVector& other) {
    if (this != &other) {
      size_ = 0;
      assign(other);
    }
    return *this;
  }
  SmallVector& operator=(SmallVector&& other) noexcept {
    if (this != &other) {
      free_storage();
      steal(other);
    }
    return *this;
  }

  bool operator==(const SmallVector& other) const {
    return size_ == other.size_ && std::equal(begin(), end(), other.begin());
  }
  bool operator!=(const SmallVector& other) const { return !(*this == other); }

  T* data() { return data_; }
  const T* data() const { return data_; }
  iterator begin() { return data_; }
  const_iterator begin() const { return data_; }
  iterator end() { return data_ + size_; }
  const_iterator end() const { return data_ + size_; }
  const_iterator cbegin() const { return data_; }
  const_iterator cend() const { return data_ + size_; }
  auto rbegin() { return std::reverse_iterator<iterator>(end()); }
  auto rbegin() const { return std::reverse_iterator<const_iterator>(end()); }
  auto rend() { return std::reverse_iterator<iterator>(begin()); }
  auto rend() const { return std::reverse_iterator<const_iterator>(begin()); }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  size_t capacity() const { return capacity_; }
  T& front() { return data_[0]; }
  const T& front() const { return data_[0]; }
  T& back() { return data_[size_ - 1]; }
  const T& back() const { return data_[size_ - 1]; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  T& at(size_t i) { return data_[checked(i)]; }
  const T& at(size_t i) const { return data_[checked(i)]; }

  template <class... Args>
  void emplace_back(Args&&... args) {
    push_back(T(std::forward<Args>(args)...));
  }
  void push_back(T value) {
    if (size_ == capacity_) reserve(2 * capacity_);
    data_[size_++] = value;
  }
  void pop_back(size_t count = 1) { size_ -= count; }
  iterator insert(iterator pos, T value) { return insert(pos, size_t{1}, value); }
  iterator insert(iterator pos, size_t count, T value) {
    iterator at = open_gap(pos, count);
    std::fill(at, at + count, value);
    return at;
  }
  template <IteratorLike It>
  iterator insert(iterator pos, It first, It last) {
    iterator at = open_gap(pos, static_cast<size_t>(std::distance(first, last)));
    std::copy(first, last, at);
    return at;
  }
  iterator insert(iterator pos, std::initializer_list<T> values) {
    return insert(pos, values.begin(), values.end());
  }
  iterator erase(iterator first, iterator last) {
    std::move(last, end(), first);
    size_ -= static_cast<size_t>(last - first);
    return first;
  }
  iterator erase(iterator pos) { return erase(pos, pos + 1); }
  void resize(size_t size) { resize(size, T{}); }
  void resize(size_t size, const T& value) {
    const T copy = value;
    reserve(size);
    for (size_t i = size_; i < size; ++i) data_[i] = copy;
    size_ = size;
  }
  void reserve(size_t capacity) {
    if (capacity <= capacity_) return;
    T* grown = std::allocator<T>().allocate(capacity);
    std::copy(begin(), end(), grown);
    const size_t size = size_;
    free_storage();
    data_ = grown;
    size_ = size;
    capacity_ = capacity;
  }
  void clear() { size_ = 0; }

 private:
  size_t checked(size_t i) const {
    if (i >= size_) throw std::out_of_range("[SmallVector::at] index is out of range");
    return i;
  }
  iterator open_gap(iterator pos, size_t count) {
    const size_t at = static_cast<size_t>(pos - data_);
    const size_t old = size_;
    resize(size_ + count);
    std::move_backward(data_ + at, data_ + old, data_ + size_);
    return data_ + at;
  }
  void assign(const SmallVector& other) {
    reserve(other.size_);
    std::copy(other.begin(), other.end(), data_);
    size_ = other.size_;
  }
  void steal(SmallVector& other) noexcept {
    if (other.data_ == other.inline_) {
      std::copy(other.inline_, other.inline_ + other.size_, inline_);
    } else {
      data_ = std::exchange(other.data_, other.inline_);
      capacity_ = std::exchange(other.capacity_, kInline);
    }
    size_ = std::exchange(other.size_, 0);
  }
  void free_storage() noexcept {
    if (data_ != inline_) std::allocator<T>().deallocate(data_, capacity_);
    data_ = inline_;
    size_ = 0;
    capacity_ = kInline;
  }

  T* data_ = inline_;
  size_t size_ = 0;
  size_t capacity_ = kInline;
  T inline_[kInline];
};

}  // namespace mlx::core
