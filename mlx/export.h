// Functions as files: a function is traced once for each signature, its graph and the arrays that it captures
// are written to a file, and another process makes a function of them again without the code that it came
// from.
//
// The format is this library's own (mlx/export/format.h), not that of other implementations.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "mlx/array.h"

namespace mlx::core {

using Args = std::vector<array>;
using Kwargs = std::map<std::string, array>;

// A parameter of an operation. Enumerators are numbers; structs are their members, in order.
using StateT =
    std::variant<bool, int, size_t, float, double, Dtype, Shape, Strides, std::vector<int>, std::string>;

// What is told about a traced function instead of being written to a file. "type" says what the other entries
// are:
//   inputs          "inputs": name, shape and dtype of every array that goes in, positional ones first
//   keyword_inputs  "keywords": pairs of a keyword and the name of its input
//   outputs         "outputs": as inputs
//   constants       "constants": pairs of a name and the array
//   primitive       "name", "arguments" (its parameters), "inputs" and "outputs", in an order in which
//                   everything comes after what it depends on
using ExportCallbackInput =
    std::unordered_map<std::string, std::variant<std::vector<std::tuple<std::string, Shape, Dtype>>,
                                                 std::vector<std::pair<std::string, array>>,
                                                 std::vector<std::pair<std::string, std::string>>,
                                                 std::vector<StateT>, std::string>>;
using ExportCallback = std::function<void(const ExportCallbackInput&)>;

// Traces its function for every call and remembers the graph; close() writes the file, in one piece, in place
// of the old one. Without close() the destructor does, and keeps quiet about errors.
class FunctionExporter {
 public:
  using Function = std::function<std::vector<array>(const Args&, const Kwargs&)>;

  FunctionExporter(const std::string& file, Function fun, bool shapeless, const std::string& metadata);
  FunctionExporter(const ExportCallback& callback, Function fun, bool shapeless);

  // std::invalid_argument where an operation cannot be exported; std::runtime_error for a signature that the
  // exporter has already (shapeless: the same dtypes and numbers of dimensions), and after close().
  void operator()(const Args& args) { (*this)(args, {}); }
  void operator()(const Kwargs& kwargs) { (*this)({}, kwargs); }
  void operator()(const Args& args, const Kwargs& kwargs);
  // Raises std::runtime_error where the file cannot be written. Does nothing when called again.
  void close();
  // Closes without writing: what was there before stays.
  void abandon();

  FunctionExporter(FunctionExporter&&) noexcept;
  FunctionExporter& operator=(FunctionExporter&&) noexcept;
  FunctionExporter(const FunctionExporter&) = delete;
  FunctionExporter& operator=(const FunctionExporter&) = delete;
  ~FunctionExporter();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The functions of a file as one. Copies share the file's contents; calls from several threads are fine.
class ImportedFunction {
 public:
  // Graph of the outputs, on the default device unless the function named another one. std::invalid_argument
  // where the file has no trace for these arrays.
  std::vector<array> operator()(const Args& args) const { return (*this)(args, {}); }
  std::vector<array> operator()(const Kwargs& kwargs) const { return (*this)({}, kwargs); }
  std::vector<array> operator()(const Args& args, const Kwargs& kwargs) const;
  const std::string& metadata() const;

 private:
  struct Impl;
  explicit ImportedFunction(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  friend ImportedFunction import_function(const std::string&);

  std::shared_ptr<const Impl> impl_;
};

// Records one function for several signatures. shapeless: one trace serves all shapes with the same number of
// dimensions. metadata: text kept with the file.
FunctionExporter exporter(const std::string& file, const std::function<std::vector<array>(const Args&)>& fun,
                          bool shapeless = false, const std::string& metadata = "");
FunctionExporter exporter(const std::string& file,
                          const std::function<std::vector<array>(const Kwargs&)>& fun, bool shapeless = false,
                          const std::string& metadata = "");
FunctionExporter exporter(const std::string& path,
                          const std::function<std::vector<array>(const Args&, const Kwargs&)>& fun,
                          bool shapeless = false, const std::string& metadata = "");

// Records one function for one signature.
void export_function(const std::string& file, const std::function<std::vector<array>(const Args&)>& fun,
                     const Args& args, bool shapeless = false, const std::string& metadata = "");
void export_function(const std::string& file, const std::function<std::vector<array>(const Kwargs&)>& fun,
                     const Kwargs& kwargs, bool shapeless = false, const std::string& metadata = "");
void export_function(const std::string& file,
                     const std::function<std::vector<array>(const Args&, const Kwargs&)>& fun,
                     const Args& args, const Kwargs& kwargs, bool shapeless = false,
                     const std::string& metadata = "");

// Raises std::runtime_error where the file cannot be read or is no file of exported functions. Everything but
// the values of arrays is checked here: damaged and hostile files are errors.
ImportedFunction import_function(const std::string& file);

// The same with a callback in place of a file.
FunctionExporter exporter(const ExportCallback& callback,
                          const std::function<std::vector<array>(const Args&)>& fun, bool shapeless = false);
FunctionExporter exporter(const ExportCallback& callback,
                          const std::function<std::vector<array>(const Kwargs&)>& fun,
                          bool shapeless = false);
FunctionExporter exporter(const ExportCallback& callback,
                          const std::function<std::vector<array>(const Args&, const Kwargs&)>& fun,
                          bool shapeless = false);
void export_function(const ExportCallback& callback,
                     const std::function<std::vector<array>(const Args&)>& fun, const Args& args,
                     bool shapeless = false);
void export_function(const ExportCallback& callback,
                     const std::function<std::vector<array>(const Kwargs&)>& fun, const Kwargs& kwargs,
                     bool shapeless = false);
void export_function(const ExportCallback& callback,
                     const std::function<std::vector<array>(const Args&, const Kwargs&)>& fun,
                     const Args& args, const Kwargs& kwargs, bool shapeless = false);

}  // namespace mlx::core
