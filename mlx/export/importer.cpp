// import_function: every operation of a file is called once on placeholders, as its user would call it, and
// must give the shapes and dtypes that the file names. What comes out of that is the graph that is replayed:
// nothing of a file reaches a kernel without the checks of a public function.
#include <algorithm>
#include <map>
#include <mutex>

#include "mlx/export/format.h"
#include "mlx/graph/primitive_table.h"
#include "mlx/io/file.h"
#include "mlx/io/load.h"
#include "mlx/io/text.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace mlx::core {

using namespace exported;

namespace {

constexpr const char* kName = "import_function";

std::string string_of(const Spec& s) { return text(s.dtype, " ", s.shape); }

std::string signature(const std::vector<Spec>& args,
                      const std::vector<std::pair<std::string, Spec>>& kwargs) {
  std::string out = "(";
  const auto add = [&](const std::string& part) { out += (out.size() > 1 ? ", " : "") + part; };
  for (const Spec& s : args) add(string_of(s));
  for (const auto& [name, s] : kwargs) add(name + "=" + string_of(s));
  return out + ")";
}

Stream stream_at(Place place) {
  if (place == Place::anywhere || (place == Place::gpu && !is_available(Device::gpu))) return to_stream({});
  return default_stream(place == Place::cpu ? Device::cpu : Device::gpu);
}

// The outputs' graph. With `strict` every node must have the shapes that the file names; without, as for
// other shapes, only the number and dtypes.
Arrays run(const Graph& f, const Arrays& constants, const Arrays& inputs, bool strict) {
  Arrays values;
  const auto value_of = [&](Source s) -> const array& {
    return s.kind == Source::input  ? inputs[s.index]
           : s.kind == Source::node ? values[s.index]
                                    : constants[s.index];
  };
  for (const Node& node : f.nodes) {
    const PrimitiveTable::Kind* kind = primitive_table().find(node.kind);
    if (!kind) throw invalid(kName, "there is no operation ", io::in_quotes(node.kind));
    if (kind->inputs >= 0 && node.inputs.size() != static_cast<size_t>(kind->inputs))
      throw invalid(kName, node.kind, " got ", node.inputs.size(), " inputs, expected ", kind->inputs);
    Arrays in;
    for (const Source s : node.inputs) in.push_back(value_of(s));
    const auto primitive = kind->make(stream_at(node.place), node.state);
    Arrays out = kind->call(*primitive, in, node.outputs.size());
    bool same = out.size() == node.outputs.size();
    for (size_t i = 0; same && i < out.size(); ++i)
      same = out[i].dtype() == node.outputs[i].dtype && (!strict || out[i].shape() == node.outputs[i].shape);
    if (!same) {
      std::string got, expected;
      for (const array& a : out) got += " " + string_of({a.shape(), a.dtype()});
      for (const Spec& s : node.outputs) expected += " " + string_of(s);
      throw invalid(kName, node.kind, " gives", got, ", expected", expected);
    }
    std::move(out.begin(), out.end(), std::back_inserter(values));
  }
  Arrays out;
  for (const Source s : f.outputs) out.push_back(value_of(s));
  return out;
}

detail::Trace trace_of(const Graph& f, const Arrays& constants) {
  Arrays examples;
  for (size_t i = 0; i < f.inputs(); ++i)
    examples.emplace_back(f.input(i).shape, f.input(i).dtype, nullptr, Arrays{});
  return detail::Trace(
      [&](const Arrays& placeholders) {
        return std::make_pair(run(f, constants, placeholders, true), std::shared_ptr<void>());
      },
      examples, {});
}

Arrays load_constants(const Contents& contents, const std::shared_ptr<io::Source>& source,
                      uint64_t data_begin) {
  Arrays out;
  std::map<uint64_t, array> at;  // what has been read
  for (const Constant& c : contents.constants) {
    const auto known = at.find(c.offset);
    const bool same =
        known != at.end() && known->second.shape() == c.stored && known->second.dtype() == c.spec.dtype;
    out.push_back(same ? known->second
                       : load_node(c.stored, c.spec.dtype, source, data_begin + c.offset, false, {}));
    if (!same) at.emplace(c.offset, out.back());
  }
  eval(out);
  for (size_t i = 0; i < out.size(); ++i) {
    const Constant& c = contents.constants[i];
    Axes back(c.axes.size());
    for (size_t k = 0; k < back.size(); ++k) back[static_cast<size_t>(c.axes[k])] = static_cast<int>(k);
    out[i] = broadcast_to(transpose(out[i], back, Device::cpu), c.spec.shape, Device::cpu);
  }
  return out;
}

}  // namespace

struct ImportedFunction::Impl {
  Contents contents;
  Arrays constants;
  // Graphs belong to streams: one for each default stream that the functions were called under.
  using Key = std::pair<size_t, Stream>;
  mutable std::mutex mutex;
  mutable std::map<Key, std::shared_ptr<const detail::Trace>> traces;

  std::shared_ptr<const detail::Trace> trace(size_t function) const {
    const Key key{function, to_stream({})};
    {
      std::lock_guard lock(mutex);
      if (const auto known = traces.find(key); known != traces.end()) return known->second;
    }
    auto made = std::make_shared<const detail::Trace>(trace_of(contents.functions[function], constants));
    std::lock_guard lock(mutex);
    return traces.emplace(key, std::move(made)).first->second;
  }
};

const std::string& ImportedFunction::metadata() const { return impl_->contents.metadata; }

Arrays ImportedFunction::operator()(const Args& args, const Kwargs& kwargs) const {
  std::vector<Spec> positional;
  std::vector<std::pair<std::string, Spec>> keywords;
  Arrays inputs = args;
  for (const array& a : args) positional.push_back({a.shape(), a.dtype()});
  for (const auto& [name, a] : kwargs) {
    keywords.emplace_back(name, Spec{a.shape(), a.dtype()});
    inputs.push_back(a);
  }
  const auto& functions = impl_->contents.functions;
  for (size_t i = 0; i < functions.size(); ++i) {
    if (!functions[i].matches(positional, keywords)) continue;
    return functions[i].shapeless ? run(functions[i], impl_->constants, inputs, false)
                                  : impl_->trace(i)->replay(inputs);
  }
  std::ostringstream os;
  os << "[import_function::call] got " << signature(positional, keywords) << ", expected one of the "
     << functions.size() << " signatures of the file:";
  for (const Graph& f : functions)
    os << "\n  " << signature(f.positional, f.keywords) << (f.shapeless ? " or other sizes" : "");
  throw std::invalid_argument(os.str());
}

ImportedFunction import_function(const std::string& file) {
  auto source = std::make_shared<io::Source>(std::make_shared<io::FileReader>(file, kName));
  io::Reader& reader = *source->reader;
  const std::string what = text("[", kName, "] ", io::in_quotes(file), ": ");
  const size_t bytes = io::size_of(reader);
  std::string head(std::min(bytes, kHeaderBytes), '\0');
  reader.read(head.data(), head.size(), 0);
  const Header header = decode_header(head, bytes, what);
  std::string graph(header.graph_bytes, '\0');
  reader.read(graph.data(), graph.size(), kHeaderBytes);

  auto impl = std::make_shared<ImportedFunction::Impl>();
  impl->contents = decode(graph, header, what);
  impl->constants = load_constants(impl->contents, source, aligned(kHeaderBytes + header.graph_bytes));
  for (size_t i = 0; i < impl->contents.functions.size(); ++i) {
    const auto damaged = [&](const std::exception& e) {
      return std::runtime_error(text(what, "function ", i, " is damaged: ", e.what()));
    };
    try {
      impl->trace(i);
    } catch (const std::logic_error& e) {  // what an operation says of its arguments
      throw damaged(e);
    } catch (const std::overflow_error& e) {
      throw damaged(e);
    }
  }
  return ImportedFunction(std::move(impl));
}

}  // namespace mlx::core
