// mlx.core.random.
#include "mlx/random.h"

#include <string>

#include "python/src/args.h"
#include "python/src/random_state.h"

namespace mlx::python {

array random_state_key() { return core::random::KeySequence::default_().state(); }
void set_random_state_key(const array& key) { core::random::KeySequence::default_().set_state(key); }

namespace {

namespace random = core::random;

constexpr const char* kTail = R"(
  dtype: the type of the elements; ``None`` is float32.
  key: where the randomness comes from, see ``key``; ``None`` takes the next key of the global state.
  stream: where to run; ``None`` is the default stream.)";

Dtype or_float32(std::optional<Dtype> d) { return d.value_or(core::float32); }

std::optional<array> key_argument(nb::handle key, const char* function) {
  if (key.is_none()) return std::nullopt;
  if (const array* a = as_array(key)) return *a;
  bad_type({function, "key", 0}, "None or array", key);
}

Shape shape_argument(nb::handle shape, const char* function) {
  // An int here is a mistake more often than a shape: uniform(0, 1, 2).
  if (is_int(shape)) bad_type({function, "shape", 0}, "a sequence of ints", shape);
  return to_shape(shape, {function, "shape", 0});
}

std::string doc(const char* text, const char* args, const char* end) {
  return std::string(text) + "\n\nArgs:" + args + kTail + end;
}

void define_state(Module& m) {
  nb::class_<RandomState>(m, "_RandomState",
                          "The current key of the global generator, as a sequence of one array.")
      .def("__len__", [](const RandomState&) { return 1; })
      .def(
          "__getitem__",
          [](const RandomState&, nb::handle i) {
            const int at = to_int(i, {"random.state", "index", 1});
            if (at != 0 && at != -1)
              throw std::out_of_range("[random.state] index " + std::to_string(at) +
                                      " is out of range: there is one key");
            return wrap(random_state_key());
          },
          nb::arg(), nb::sig("def __getitem__(self, index: int, /) -> array"))
      .def(
          "__setitem__",
          [](RandomState&, nb::handle i, nb::handle key) {
            const int at = to_int(i, {"random.state", "index", 1});
            if (at != 0 && at != -1) throw std::out_of_range("[random.state] there is one key");
            set_random_state_key(to_array(key, {"random.state", "key", 2}));
          },
          nb::arg(), nb::arg(), nb::sig("def __setitem__(self, index: int, key: array, /) -> None"))
      .def(
          "__iter__", [](const RandomState&) { return nb::iter(nb::make_tuple(wrap(random_state_key()))); },
          nb::sig("def __iter__(self) -> Iterator[array]"));
  // Never freed, like the module that shows it.
  static PyObject* state = nb::cast(RandomState{}).release().ptr();
  m.def(
      "__getattr__",
      [](nb::handle name) -> nb::object {
        const std::string text = nb::cast<std::string>(name);
        if (text == "state") return nb::borrow(state);
        throw nb::attribute_error(("module 'mlx.core.random' has no attribute '" + text + "'").c_str());
      },
      nb::arg(), nb::sig("def __getattr__(arg: object, /) -> object"));
  m.def(
      "seed", [](uint64_t seed) { random::seed(seed); }, "seed"_a, nb::sig("def seed(seed: int) -> None"),
      "Sets the global state from a number, so that what follows can be repeated.");
  m.def(
      "key", [](uint64_t seed) { return wrap(random::key(seed)); }, "seed"_a,
      nb::sig("def key(seed: int) -> mlx.core.array"),
      R"(A key: two uint32 that determine a stream of random numbers.

Args:
  seed: the number the key is made from.)");
  m.def(
      "split",
      [](nb::handle key, int num, StreamOrDevice s) {
        return wrap(random::split(to_array(key, {"split", "key", 1}), num, s));
      },
      "key"_a, "num"_a = 2, "stream"_a = nb::none(),
      nb::sig("def split(key: array, num: int = 2, stream: StreamOrDevice = None) -> array"),
      R"(Independent keys made from one.

Args:
  key: the key; it should not be used again.
  num: how many.
  stream: where to run; ``None`` is the default stream.
Returns:
  Shape (num, 2), a key per row.)");
}

void define_continuous(Module& m) {
  m.def(
      "uniform",
      [](nb::handle low, nb::handle high, nb::handle shape, std::optional<Dtype> dtype, nb::handle key,
         StreamOrDevice s) {
        return wrap(random::uniform(to_array(low, {"uniform", "low", 1}),
                                    to_array(high, {"uniform", "high", 2}), shape_argument(shape, "uniform"),
                                    or_float32(dtype), key_argument(key, "uniform"), s));
      },
      "low"_a = 0, "high"_a = 1, "shape"_a = nb::list(), "dtype"_a.sig("float32") = core::float32,
      "key"_a = nb::none(), "stream"_a = nb::none(),
      nb::sig(
          "def uniform(low: scalar | array = 0, high: scalar | array = 1, shape: Sequence[int] = [], "
          "dtype: Dtype | None = float32, key: array | None = None, stream: StreamOrDevice = None) -> array"),
      doc("Numbers from [low, high), all equally likely.", R"(
  low: the lower bound, which is included; it broadcasts to the shape.
  high: the upper bound, which is not.
  shape: the shape.)",
          "\nRaises:\n  ValueError: the bounds do not broadcast, or the dtype is not floating.")
          .c_str());
  m.def(
      "normal",
      [](nb::handle shape, std::optional<Dtype> dtype, nb::handle loc, nb::handle scale, nb::handle key,
         StreamOrDevice s) {
        return wrap(random::normal(
            shape_argument(shape, "normal"), or_float32(dtype), to_optional_array(loc, {"normal", "loc", 3}),
            to_optional_array(scale, {"normal", "scale", 4}), key_argument(key, "normal"), s));
      },
      "shape"_a = nb::list(), "dtype"_a.sig("float32") = core::float32, "loc"_a = nb::none(),
      "scale"_a = nb::none(), "key"_a = nb::none(), "stream"_a = nb::none(),
      nb::sig("def normal(shape: Sequence[int] = [], dtype: Dtype | None = float32, loc: scalar | array | "
              "None = None, "
              "scale: scalar | array | None = None, key: array | None = None, stream: StreamOrDevice = None) "
              "-> array"),
      doc("Normally distributed numbers.", R"(
  shape: the shape.
  loc: the mean; ``None`` is 0.
  scale: the standard deviation; ``None`` is 1.)",
          "")
          .c_str());
  m.def(
      "multivariate_normal",
      [](nb::handle mean, nb::handle cov, nb::handle shape, std::optional<Dtype> dtype, nb::handle key,
         StreamOrDevice s) {
        return wrap(random::multivariate_normal(
            to_array(mean, {"multivariate_normal", "mean", 1}),
            to_array(cov, {"multivariate_normal", "cov", 2}), shape_argument(shape, "multivariate_normal"),
            or_float32(dtype), key_argument(key, "multivariate_normal"), s));
      },
      "mean"_a, "cov"_a, "shape"_a = nb::list(), "dtype"_a.sig("float32") = core::float32,
      "key"_a = nb::none(), "stream"_a = nb::none(),
      nb::sig(
          "def multivariate_normal(mean: array, cov: array, shape: Sequence[int] = [], "
          "dtype: Dtype | None = float32, key: array | None = None, stream: StreamOrDevice = None) -> array"),
      doc("Vectors with jointly normal elements.", R"(
  mean: the mean (..., n).
  cov: the covariance (..., n, n), symmetric and positive semi-definite.
  shape: the shape of the result without its last axis; where it is empty, that to which the leading axes of
    ``mean`` and ``cov`` broadcast.)",
          "\nReturns:\n  Shape (*shape, n).")
          .c_str());
  m.def(
      "truncated_normal",
      [](nb::handle low, nb::handle high, nb::handle shape, std::optional<Dtype> dtype, nb::handle key,
         StreamOrDevice s) {
        const array a = to_array(low, {"truncated_normal", "lower", 1});
        const array b = to_array(high, {"truncated_normal", "upper", 2});
        const std::optional<array> k = key_argument(key, "truncated_normal");
        if (shape.is_none()) return wrap(random::truncated_normal(a, b, or_float32(dtype), k, s));
        return wrap(random::truncated_normal(a, b, shape_argument(shape, "truncated_normal"),
                                             or_float32(dtype), k, s));
      },
      "lower"_a, "upper"_a, "shape"_a = nb::none(), "dtype"_a.sig("float32") = core::float32,
      "key"_a = nb::none(), "stream"_a = nb::none(),
      nb::sig(
          "def truncated_normal(lower: scalar | array, upper: scalar | array, shape: Sequence[int] | None = "
          "None, "
          "dtype: Dtype | None = float32, key: array | None = None, stream: StreamOrDevice = None) -> array"),
      doc("Standard normal numbers that lie between two bounds.", R"(
  lower, upper: the bounds.
  shape: the shape; ``None`` is that to which the bounds broadcast.)",
          "")
          .c_str());
  m.def(
      "gumbel",
      [](nb::handle shape, std::optional<Dtype> dtype, nb::handle key, StreamOrDevice s) {
        return wrap(random::gumbel(shape_argument(shape, "gumbel"), or_float32(dtype),
                                   key_argument(key, "gumbel"), s));
      },
      "shape"_a = nb::list(), "dtype"_a.sig("float32") = core::float32, "key"_a = nb::none(),
      "stream"_a = nb::none(),
      nb::sig(
          "def gumbel(shape: Sequence[int] = [], dtype: Dtype | None = float32, key: array | None = None, "
          "stream: StreamOrDevice = None) -> array"),
      doc("Numbers from the standard Gumbel distribution, ``-log(-log(u))``.", "\n  shape: the shape.", "")
          .c_str());
  m.def(
      "laplace",
      [](nb::handle shape, std::optional<Dtype> dtype, float loc, float scale, nb::handle key,
         StreamOrDevice s) {
        return wrap(random::laplace(shape_argument(shape, "laplace"), or_float32(dtype), loc, scale,
                                    key_argument(key, "laplace"), s));
      },
      "shape"_a = nb::list(), "dtype"_a.sig("float32") = core::float32, "loc"_a = 0.0f, "scale"_a = 1.0f,
      "key"_a = nb::none(), "stream"_a = nb::none(),
      nb::sig("def laplace(shape: Sequence[int] = [], dtype: Dtype | None = float32, loc: float = 0.0, "
              "scale: float = 1.0, key: array | None = None, stream: StreamOrDevice = None) -> array"),
      doc("Numbers from the Laplace distribution, density ``exp(-|x - loc| / scale) / (2 scale)``.", R"(
  shape: the shape.
  loc: the mean.
  scale: the width.)",
          "")
          .c_str());
}

void define_discrete(Module& m) {
  m.def(
      "randint",
      [](nb::handle low, nb::handle high, nb::handle shape, std::optional<Dtype> dtype, nb::handle key,
         StreamOrDevice s) {
        return wrap(random::randint(to_array(low, {"randint", "low", 1}),
                                    to_array(high, {"randint", "high", 2}), shape_argument(shape, "randint"),
                                    dtype.value_or(core::int32), key_argument(key, "randint"), s));
      },
      "low"_a, "high"_a, "shape"_a = nb::list(), "dtype"_a.sig("int32") = core::int32, "key"_a = nb::none(),
      "stream"_a = nb::none(),
      nb::sig(
          "def randint(low: scalar | array, high: scalar | array, shape: Sequence[int] = [], "
          "dtype: Dtype | None = int32, key: array | None = None, stream: StreamOrDevice = None) -> array"),
      R"(Integers from [low, high), all equally likely.

Args:
  low: the lower bound, which is included; it broadcasts to the shape.
  high: the upper bound, which is not.
  shape: the shape.
  dtype: the type of the elements; ``None`` is int32.
  key: where the randomness comes from; ``None`` takes the next key of the global state.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: the bounds do not broadcast, or the dtype is no integer.)");
  m.def(
      "bernoulli",
      [](nb::handle p, nb::handle shape, nb::handle key, StreamOrDevice s) {
        const array q = to_array(p, {"bernoulli", "p", 1});
        const std::optional<array> k = key_argument(key, "bernoulli");
        if (shape.is_none()) return wrap(random::bernoulli(q, k, s));
        return wrap(random::bernoulli(q, shape_argument(shape, "bernoulli"), k, s));
      },
      "p"_a = 0.5, "shape"_a = nb::none(), "key"_a = nb::none(), "stream"_a = nb::none(),
      nb::sig("def bernoulli(p: scalar | array = 0.5, shape: Sequence[int] | None = None, key: array | None "
              "= None, "
              "stream: StreamOrDevice = None) -> array"),
      R"(Truth values that hold with a given probability.

Args:
  p: the probability; it broadcasts to the shape.
  shape: the shape; ``None`` is that of ``p``.
  key: where the randomness comes from; ``None`` takes the next key of the global state.
  stream: where to run; ``None`` is the default stream.)");
  m.def(
      "categorical",
      [](nb::handle logits, int axis, nb::handle shape, std::optional<int> num, nb::handle key,
         StreamOrDevice s) {
        const array x = to_array(logits, {"categorical", "logits", 1});
        const std::optional<array> k = key_argument(key, "categorical");
        if (!shape.is_none() && num)
          throw std::invalid_argument("[categorical] shape and num_samples cannot both be given");
        if (!shape.is_none())
          return wrap(random::categorical(x, axis, shape_argument(shape, "categorical"), k, s));
        return wrap(num ? random::categorical(x, axis, *num, k, s) : random::categorical(x, axis, k, s));
      },
      "logits"_a, "axis"_a = -1, "shape"_a = nb::none(), "num_samples"_a = nb::none(), "key"_a = nb::none(),
      "stream"_a = nb::none(),
      nb::sig("def categorical(logits: array, axis: int = -1, shape: Sequence[int] | None = None, "
              "num_samples: int | None = None, key: array | None = None, stream: StreamOrDevice = None) -> "
              "array"),
      R"(Class indices drawn with the probabilities ``softmax(logits)``.

Args:
  logits: any shape with at least one dimension.
  axis: the axis of the classes.
  shape: the shape of the result, to which that of ``logits`` without the axis broadcasts.
  num_samples: instead of a shape: how many draws, as a new last axis.
  key: where the randomness comes from; ``None`` takes the next key of the global state.
  stream: where to run; ``None`` is the default stream.
Returns:
  uint32.
Raises:
  ValueError: both ``shape`` and ``num_samples`` are given, or the shape does not fit.)");
  m.def(
      "permutation",
      [](nb::handle x, int axis, nb::handle key, StreamOrDevice s) {
        const std::optional<array> k = key_argument(key, "permutation");
        if (is_int(x)) return wrap(random::permutation(to_int(x, {"permutation", "x", 1}), k, s));
        return wrap(random::permutation(to_array(x, {"permutation", "x", 1}), axis, k, s));
      },
      "x"_a, "axis"_a = 0, "key"_a = nb::none(), "stream"_a = nb::none(),
      nb::sig("def permutation(x: int | array, axis: int = 0, key: array | None = None, stream: "
              "StreamOrDevice = None) "
              "-> array"),
      R"(The slices along an axis in random order, or a permutation of 0 ... x - 1.

Args:
  x: an array, or a number.
  axis: the axis to shuffle.
  key: where the randomness comes from; ``None`` takes the next key of the global state.
  stream: where to run; ``None`` is the default stream.
Raises:
  IndexError: the axis is out of range.)");
}

}  // namespace

void init_random(Module& parent) {
  Module m = parent.def_submodule("random", R"(Random numbers from a counter-based generator.

Every function takes a ``key``; the same key gives the same numbers on every machine. Without one, the next key of a
global state is used, which ``seed`` sets.)");
  define_state(m);
  define_continuous(m);
  define_discrete(m);
}

}  // namespace mlx::python
