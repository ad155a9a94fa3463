// What files hold of a primitive, and how its node is made again. A primitive states its parameters once, as
//
//   auto fields() const { return std::tie(axis, keepdims); }     // in the order of its constructor
//
// and its op file adds it to the one table here, with the operation on other inputs:
//
//   const bool kept = primitive_table().add<Softmax>("Softmax", 1, [](const Softmax& p, const Arrays& in) {
//     return Arrays{softmax(in[0], -1, p.precise, p.stream())};
//   });
//
// The operation is the public function wherever there is one: what comes from a file meets the checks that a
// user's call meets. Equality of primitives (compile merges equal nodes) follows from the fields.
#pragma once

#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <typeindex>
#include <typeinfo>
#include <unordered_map>
#include <vector>

#include "mlx/export.h"
#include "mlx/primitives.h"

namespace mlx::core {

// The members of a struct among the parameters: overload fields_of beside it, in the order of its members.
template <class T>
concept HasFields = requires(const T& t) { fields_of(t); };
// The last enumerator of an enum among the parameters: overload last_of beside it.
template <class T>
concept KnownEnum = std::is_enum_v<T> && requires(T t) { last_of(t); };

namespace detail {

template <class T>
void put_state(std::vector<StateT>& out, const T& value) {
  if constexpr (HasFields<T>) {
    std::apply([&](const auto&... part) { (put_state(out, part), ...); }, fields_of(value));
  } else if constexpr (KnownEnum<T>) {
    out.emplace_back(static_cast<int>(value));
  } else {
    out.emplace_back(std::in_place_type<T>, value);
  }
}

// Takes parameters from a list in order; raises std::invalid_argument where one is of another type.
class StateReader {
 public:
  explicit StateReader(const std::vector<StateT>& state) : state_(state) {}

  template <class T>
  T take() {
    if constexpr (HasFields<T>) {
      return take_struct<T>(static_cast<decltype(fields_of(std::declval<const T&>()))*>(nullptr));
    } else if constexpr (KnownEnum<T>) {
      const int number = take<int>();
      if (number < 0 || number > static_cast<int>(last_of(T{})))
        throw std::invalid_argument("got a parameter that names none of the known kinds");
      return static_cast<T>(number);
    } else {
      const T* value = next_ < state_.size() ? std::get_if<T>(&state_[next_++]) : nullptr;
      if (!value) throw std::invalid_argument("got parameters of other types");
      return *value;
    }
  }
  template <class... T>
  std::tuple<std::decay_t<T>...> take_all(std::tuple<T...>*) {
    std::tuple<std::decay_t<T>...> out{take<std::decay_t<T>>()...};
    if (next_ != state_.size()) throw std::invalid_argument("got too many parameters");
    return out;
  }

 private:
  template <class T, class... Part>
  T take_struct(std::tuple<Part...>*) {
    return T{take<std::decay_t<Part>>()...};
  }

  const std::vector<StateT>& state_;
  size_t next_ = 0;
};

}  // namespace detail

class PrimitiveTable {
 public:
  struct Record {
    std::string kind;
    std::vector<StateT> state;
  };
  // The primitive's operation on other inputs, as graph. Errors are those of a user's call. `outputs`: how
  // many there were.
  using Call =
      std::function<std::vector<array>(const Primitive&, const std::vector<array>& inputs, size_t outputs)>;
  struct Kind {
    int inputs;  // -1: any number
    // Raises std::invalid_argument where the parameters are not those of this kind.
    std::function<std::shared_ptr<Primitive>(Stream, const std::vector<StateT>&)> make;
    Call call;
  };
  struct Type {
    std::function<Record(const Primitive&)> record;
    std::function<bool(const Primitive&, const Primitive&)> equal;
    Call call;
  };

  // `call` is Arrays(const P&, const Arrays& inputs), or with a third argument, the number of outputs.
  template <class P, class F>
  bool add(const std::string& kind, int inputs, F call) {
    using Fields = decltype(std::declval<const P&>().fields());
    const Call general = [call](const Primitive& p, const std::vector<array>& in,
                                [[maybe_unused]] size_t outputs) {
      if constexpr (std::is_invocable_v<F, const P&, const std::vector<array>&, size_t>) {
        return call(static_cast<const P&>(p), in, outputs);
      } else {
        return call(static_cast<const P&>(p), in);
      }
    };
    add_kind(kind, {inputs,
                    [](Stream s, const std::vector<StateT>& state) -> std::shared_ptr<Primitive> {
                      auto fields = detail::StateReader(state).take_all(static_cast<Fields*>(nullptr));
                      return std::apply(
                          [&](auto&... part) { return std::make_shared<P>(s, std::move(part)...); }, fields);
                    },
                    general});
    return add_type<P>({[kind](const Primitive& p) {
                          Record record{kind, {}};
                          std::apply(
                              [&](const auto&... part) { (detail::put_state(record.state, part), ...); },
                              static_cast<const P&>(p).fields());
                          return record;
                        },
                        [](const Primitive& a, const Primitive& b) {
                          return static_cast<const P&>(a).fields() == static_cast<const P&>(b).fields();
                        },
                        general});
  }
  // For classes that stand for many kinds.
  bool add_kind(const std::string& kind, Kind entry) { return kinds_.emplace(kind, std::move(entry)).second; }
  template <class P>
  bool add_type(Type entry) {
    return types_.emplace(typeid(P), std::move(entry)).second;
  }

  // Null where the class, or the name, is not in the table.
  const Type* find(const Primitive& p) const {
    const auto it = types_.find(typeid(p));
    return it == types_.end() ? nullptr : &it->second;
  }
  const Kind* find(const std::string& kind) const {
    const auto it = kinds_.find(kind);
    return it == kinds_.end() ? nullptr : &it->second;
  }

 private:
  std::unordered_map<std::type_index, Type> types_;
  std::unordered_map<std::string, Kind> kinds_;
};

// Filled while the library is loaded and constant afterwards.
PrimitiveTable& primitive_table();

}  // namespace mlx::core
