// export_function and exporter: traces become functions of a file, or calls of a callback.
#include <algorithm>
#include <bit>
#include <map>

#include "mlx/export/format.h"
#include "mlx/graph/primitive_table.h"
#include "mlx/graph_utils.h"
#include "mlx/io/file.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace mlx::core {

using namespace exported;

namespace {

constexpr const char* kName = "export_function";

Spec spec_of(const array& a) { return {a.shape(), a.dtype()}; }

Place place_of(const Primitive& p) {
  if (p.stream() == default_stream(default_device())) return Place::anywhere;
  return p.device() == Device::cpu ? Place::cpu : Place::gpu;
}

// What of an array is stored: without the axes along which all elements are the same memory, and with its
// axes in the order in which they lie there, if that makes it dense.
array stored_form(const array& a, Constant& c) {
  Shape stop = a.shape();
  for (size_t i = 0; i < stop.size(); ++i)
    if (a.strides()[i] == 0 && stop[i] > 1) stop[i] = 1;
  const array narrow = slice(a, Shape(a.ndim(), 0), stop, Device::cpu);
  c.axes = all_axes(narrow);
  if (!narrow.flags().row_contiguous) {
    Axes order, large;
    for (const int axis : c.axes) (narrow.shape(axis) > 1 ? large : order).push_back(axis);
    std::stable_sort(large.begin(), large.end(),
                     [&](int i, int j) { return narrow.strides(i) > narrow.strides(j); });
    order.insert(order.end(), large.begin(), large.end());
    if (const array turned = transpose(narrow, order, Device::cpu); turned.flags().row_contiguous) {
      c.axes = order;
      c.stored = turned.shape();
      return turned;
    }
  }
  c.stored = narrow.shape();
  return contiguous(narrow, false, Device::cpu);
}

struct Traced {
  detail::Trace trace;
  Graph function;
};

Traced trace_function(const FunctionExporter::Function& fun, const Args& args, const Kwargs& kwargs,
                      bool shapeless) {
  Arrays examples = args;
  for (const auto& [name, value] : kwargs) examples.push_back(value);
  detail::Trace trace(
      [&](const Arrays& placeholders) {
        const auto split = placeholders.begin() + static_cast<std::ptrdiff_t>(args.size());
        Kwargs named;
        auto next = split;
        for (const auto& [name, value] : kwargs) named.emplace(name, *next++);
        return std::make_pair(fun(Args(placeholders.begin(), split), named), std::shared_ptr<void>());
      },
      examples, {.shapeless = shapeless, .merge_equal = true, .drop_custom_rules = true});
  for (const array& c : trace.constants())
    if (c.is_tracer())
      throw invalid(
          kName,
          "the function uses arrays of a transform that it is exported in, expected it to use its own "
          "arguments and arrays with values");
  // A file holds no such conditions.
  for (const detail::Trace::Fixed& fixed : trace.fixed())
    if (!fixed.ones_only)
      throw invalid(kName, "the function is exported without shapes, but ", fixed.op,
                    " depends on the sizes of ", fixed.shape, "; export it with shapeless=False");
  Graph f;
  f.shapeless = shapeless;
  for (const array& a : args) f.positional.push_back(spec_of(a));
  for (const auto& [name, value] : kwargs) f.keywords.emplace_back(name, spec_of(value));
  for (const detail::TracedNode& node : trace.nodes()) {
    const PrimitiveTable::Type* type = primitive_table().find(*node.primitive);
    if (!type)
      throw invalid(
          kName, "the operation ", node.primitive->name(),
          " cannot be exported: files of functions hold the library's own, but those of groups of processes");
    PrimitiveTable::Record record = type->record(*node.primitive);
    Node out{std::move(record.kind), place_of(*node.primitive), std::move(record.state), node.inputs, {}};
    for (size_t i = 0; i < node.shapes.size(); ++i) out.outputs.push_back({node.shapes[i], node.dtypes[i]});
    f.nodes.push_back(std::move(out));
  }
  f.outputs = trace.outputs();
  return {std::move(trace), std::move(f)};
}

}  // namespace

struct FunctionExporter::Impl {
  FunctionExporter::Function fun;
  bool shapeless;
  ExportCallback callback;                 // in place of a file
  std::unique_ptr<io::FileWriter> writer;  // null once closed
  Contents contents;
  Arrays constants;  // as in contents, whole

  bool closed() const { return !writer && !callback; }
  void add(const Args& args, const Kwargs& kwargs);
  void tell(const Traced& traced) const;
  uint32_t constant(const array& a);
  void write();
};

void FunctionExporter::Impl::add(const Args& args, const Kwargs& kwargs) {
  if (closed()) throw std::runtime_error("[export_function] got a call after the exporter was closed");
  Traced traced = trace_function(fun, args, kwargs, shapeless);
  Graph& f = traced.function;
  if (callback) return tell(traced);
  for (const Graph& other : contents.functions)
    if (other.matches(f.positional, f.keywords))
      throw std::runtime_error(
          "[export_function] the function has been exported for such arguments already: each signature may "
          "be "
          "exported once");
  std::vector<uint32_t> places;
  for (const array& c : traced.trace.constants()) places.push_back(constant(c));
  const auto place = [&](Source& s) {
    if (s.kind == Source::constant) s.index = places[s.index];
  };
  for (Node& node : f.nodes) std::for_each(node.inputs.begin(), node.inputs.end(), place);
  std::for_each(f.outputs.begin(), f.outputs.end(), place);
  contents.functions.push_back(std::move(f));
}

// Each array once, whichever traces use it.
uint32_t FunctionExporter::Impl::constant(const array& a) {
  const auto known =
      std::find_if(constants.begin(), constants.end(), [&](const array& c) { return c.id() == a.id(); });
  if (known == constants.end()) {
    constants.push_back(a);
    return static_cast<uint32_t>(constants.size() - 1);
  }
  return static_cast<uint32_t>(known - constants.begin());
}

void FunctionExporter::Impl::write() {
  static_assert(std::endian::native == std::endian::little, "elements are written as they lie in memory");
  Arrays stored;
  for (const array& a : constants)
    stored.push_back(stored_form(a, contents.constants.emplace_back(Constant{spec_of(a), {}, {}})));
  eval(stored);
  // Views of the same memory, as a matrix and its transpose, are the same bytes.
  std::map<std::pair<const char*, size_t>, uint64_t> places;
  Arrays written;
  uint64_t bytes = 0;
  for (size_t i = 0; i < stored.size(); ++i) {
    const array& a = stored[i];
    const auto [place, is_new] = places.try_emplace({a.data<char>(), a.nbytes()}, aligned(bytes));
    contents.constants[i].offset = place->second;
    if (!is_new) continue;
    bytes = place->second + a.nbytes();
    written.push_back(a);
  }
  const std::string head = encode(contents, bytes);
  writer->write(head.data(), head.size());
  uint64_t at = 0;
  for (const array& a : written) {
    const std::string gap(aligned(at) - at, '\0');
    writer->write(gap.data(), gap.size());
    writer->write(a.data<char>(), a.nbytes());
    at = aligned(at) + a.nbytes();
  }
  writer->finish();
}

void FunctionExporter::Impl::tell(const Traced& traced) const {
  using Specs = std::vector<std::tuple<std::string, Shape, Dtype>>;
  const Graph& f = traced.function;
  NodeNamer namer;
  Arrays inputs, values;  // only for their names
  const auto stand_in = [](const Spec& s) { return array(s.shape, s.dtype, nullptr, {}); };
  for (size_t i = 0; i < f.inputs(); ++i) inputs.push_back(stand_in(f.input(i)));
  for (const Node& node : f.nodes)
    for (const Spec& s : node.outputs) values.push_back(stand_in(s));
  const auto named = [&](const array& a) { return std::tuple(namer.get_name(a), a.shape(), a.dtype()); };
  const auto of_source = [&](Source s) {
    return named(s.kind == Source::input  ? inputs[s.index]
                 : s.kind == Source::node ? values[s.index]
                                          : traced.trace.constants()[s.index]);
  };

  Specs ins, outs;
  for (const array& a : inputs) ins.push_back(named(a));
  callback({{"type", "inputs"}, {"inputs", ins}});
  std::vector<std::pair<std::string, std::string>> keywords;
  for (size_t i = 0; i < f.keywords.size(); ++i)
    keywords.emplace_back(f.keywords[i].first, namer.get_name(inputs[f.positional.size() + i]));
  callback({{"type", "keyword_inputs"}, {"keywords", keywords}});
  for (const Source s : f.outputs) outs.push_back(of_source(s));
  callback({{"type", "outputs"}, {"outputs", outs}});
  std::vector<std::pair<std::string, array>> constants;
  for (const array& c : traced.trace.constants()) constants.emplace_back(namer.get_name(c), c);
  callback({{"type", "constants"}, {"constants", constants}});
  size_t value = 0;
  for (const Node& node : f.nodes) {
    Specs in, out;
    for (const Source s : node.inputs) in.push_back(of_source(s));
    for (size_t i = 0; i < node.outputs.size(); ++i) out.push_back(named(values[value++]));
    callback({{"type", "primitive"},
              {"name", node.kind},
              {"arguments", node.state},
              {"inputs", in},
              {"outputs", out}});
  }
}

FunctionExporter::FunctionExporter(const std::string& file, Function fun, bool shapeless,
                                   const std::string& metadata)
    : impl_(new Impl{
          std::move(fun), shapeless, nullptr, std::make_unique<io::FileWriter>(file, kName), {}, {}}) {
  impl_->contents.metadata = metadata;
}
FunctionExporter::FunctionExporter(const ExportCallback& callback, Function fun, bool shapeless)
    : impl_(new Impl{std::move(fun), shapeless, callback, nullptr, {}, {}}) {
  if (!callback) throw invalid(kName, "got an empty callback");
}
FunctionExporter::FunctionExporter(FunctionExporter&&) noexcept = default;
FunctionExporter& FunctionExporter::operator=(FunctionExporter&&) noexcept = default;

FunctionExporter::~FunctionExporter() {
  try {
    close();
  } catch (const std::exception&) {  // a destructor has nobody to tell
  }
}

void FunctionExporter::operator()(const Args& args, const Kwargs& kwargs) { impl_->add(args, kwargs); }

void FunctionExporter::close() {
  if (!impl_ || impl_->closed()) return;
  const auto impl = std::move(impl_);  // closed whatever happens
  impl_.reset(new Impl{});
  if (impl->writer) impl->write();
}

void FunctionExporter::abandon() { impl_.reset(new Impl{}); }

namespace {

FunctionExporter::Function of_args(const std::function<Arrays(const Args&)>& fun) {
  return [fun](const Args& args, const Kwargs& kwargs) {
    if (!kwargs.empty()) throw invalid(kName, "got keyword arguments for a function of positional ones");
    return fun(args);
  };
}
FunctionExporter::Function of_kwargs(const std::function<Arrays(const Kwargs&)>& fun) {
  return [fun](const Args& args, const Kwargs& kwargs) {
    if (!args.empty()) throw invalid(kName, "got positional arguments for a function of keyword ones");
    return fun(kwargs);
  };
}

// Writes a file only where nothing fails.
void export_once(FunctionExporter exporter, const Args& args, const Kwargs& kwargs) {
  try {
    exporter(args, kwargs);
  } catch (...) {
    exporter.abandon();
    throw;
  }
  exporter.close();
}

}  // namespace

FunctionExporter exporter(const std::string& file, const std::function<Arrays(const Args&)>& fun,
                          bool shapeless, const std::string& metadata) {
  return {file, of_args(fun), shapeless, metadata};
}
FunctionExporter exporter(const std::string& file, const std::function<Arrays(const Kwargs&)>& fun,
                          bool shapeless, const std::string& metadata) {
  return {file, of_kwargs(fun), shapeless, metadata};
}
FunctionExporter exporter(const std::string& file,
                          const std::function<Arrays(const Args&, const Kwargs&)>& fun, bool shapeless,
                          const std::string& metadata) {
  return {file, fun, shapeless, metadata};
}
FunctionExporter exporter(const ExportCallback& callback, const std::function<Arrays(const Args&)>& fun,
                          bool shapeless) {
  return {callback, of_args(fun), shapeless};
}
FunctionExporter exporter(const ExportCallback& callback, const std::function<Arrays(const Kwargs&)>& fun,
                          bool shapeless) {
  return {callback, of_kwargs(fun), shapeless};
}
FunctionExporter exporter(const ExportCallback& callback,
                          const std::function<Arrays(const Args&, const Kwargs&)>& fun, bool shapeless) {
  return {callback, fun, shapeless};
}

void export_function(const std::string& file, const std::function<Arrays(const Args&)>& fun, const Args& args,
                     bool shapeless, const std::string& metadata) {
  export_once(exporter(file, fun, shapeless, metadata), args, {});
}
void export_function(const std::string& file, const std::function<Arrays(const Kwargs&)>& fun,
                     const Kwargs& kwargs, bool shapeless, const std::string& metadata) {
  export_once(exporter(file, fun, shapeless, metadata), {}, kwargs);
}
void export_function(const std::string& file, const std::function<Arrays(const Args&, const Kwargs&)>& fun,
                     const Args& args, const Kwargs& kwargs, bool shapeless, const std::string& metadata) {
  export_once(exporter(file, fun, shapeless, metadata), args, kwargs);
}
void export_function(const ExportCallback& callback, const std::function<Arrays(const Args&)>& fun,
                     const Args& args, bool shapeless) {
  export_once(exporter(callback, fun, shapeless), args, {});
}
void export_function(const ExportCallback& callback, const std::function<Arrays(const Kwargs&)>& fun,
                     const Kwargs& kwargs, bool shapeless) {
  export_once(exporter(callback, fun, shapeless), {}, kwargs);
}
void export_function(const ExportCallback& callback,
                     const std::function<Arrays(const Args&, const Kwargs&)>& fun, const Args& args,
                     const Kwargs& kwargs, bool shapeless) {
  export_once(exporter(callback, fun, shapeless), args, kwargs);
}

}  // namespace mlx::core
