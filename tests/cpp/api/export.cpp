// Functions as files through their C++ functions: every overload, several traces, errors, the callback.
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "check.h"

using namespace api_test;
using mx::Args;
using mx::Kwargs;
using Arrays = std::vector<array>;

namespace {

const std::string path =
    (std::filesystem::temp_directory_path() / ("mlx-export-" + std::to_string(getpid()))).string();

Arrays of_args(const Args& in) { return {mx::sin(in[0]) + in[1], mx::sum(in[0])}; }
Arrays of_kwargs(const Kwargs& in) { return {in.at("x") - in.at("y")}; }
Arrays of_both(const Args& in, const Kwargs& named) { return {in[0] * named.at("scale")}; }

const array x({1.0f, 2.0f, 3.0f}), y({4.0f, 5.0f, 6.0f});

void overloads() {
  mx::export_function(path, of_args, Args{x, y});
  const auto sum = mx::import_function(path);
  check_equal(sum(Args{x, y})[0], mx::sin(x) + y);
  check_equal(sum(Args{y, x})[1], mx::sum(y));
  check(sum.metadata().empty());

  mx::export_function(path, of_kwargs, Kwargs{{"x", x}, {"y", y}}, false, "a difference");
  const auto difference = mx::import_function(path);
  check_equal(difference(Kwargs{{"y", y}, {"x", x}})[0], x - y);
  check(difference.metadata() == "a difference");

  mx::export_function(path, of_both, Args{x}, Kwargs{{"scale", y}}, true);
  const auto scaled = mx::import_function(path);
  check_equal(scaled(Args{mx::ones({5})}, Kwargs{{"scale", 2.0f * mx::ones({5})}})[0], mx::full({5}, 2.0f));
}

void several_traces() {
  const array w = mx::random::normal({64, 64});
  const std::function<Arrays(const Args&)> fun = [w](const Args& in) { return Arrays{mx::matmul(in[0], w)}; };
  {
    auto exporter = mx::exporter(path, fun);
    for (int n = 1; n < 4; ++n) exporter(Args{mx::zeros({n, 64})});
    check_throws<std::runtime_error>([&] { exporter(Args{mx::ones({1, 64})}); });
    exporter.close();
    exporter.close();
    check_throws<std::runtime_error>([&] { exporter(Args{mx::ones({9, 64})}); });
  }
  check(std::filesystem::file_size(path) < w.nbytes() + 2000);
  const auto imported = mx::import_function(path);
  for (int n = 1; n < 4; ++n) check_equal(imported({mx::ones({n, 64})})[0], mx::matmul(mx::ones({n, 64}), w));
  check_throws<std::invalid_argument>([&] { imported({mx::ones({4, 64})}); });
  check_throws<std::invalid_argument>([&] { imported({mx::ones({1, 64}, mx::float16)}); });

  {  // the destructor closes; what is abandoned never was
    auto exporter = mx::exporter(path, of_kwargs);
    exporter(Kwargs{{"x", x}, {"y", y}});
  }
  {
    auto exporter = mx::exporter(path, of_both);
    exporter(Args{x}, Kwargs{{"scale", x}});
    auto moved = std::move(exporter);
    moved.abandon();
  }
  check_equal(mx::import_function(path)(Kwargs{{"x", x}, {"y", y}})[0], x - y);
}

void gradients() {
  mx::export_function(
      path, [](const Args& in) { return Arrays{mx::sum(in[0] * in[0] * in[1])}; }, Args{x, y});
  const auto imported = mx::import_function(path);
  const auto df =
      mx::grad(std::function<array(const Arrays&)>([&](const Arrays& in) { return imported(in)[0]; }));
  check_equal(df({x, y})[0], 2.0f * x * y);
}

// A size that is computed from the shape is computed anew.
void sizes_in_shapeless_graphs() {
  mx::export_function(
      path,
      [](const Args& in) {
        return Arrays{mx::sum(in[0]) / mx::number_of_elements(in[0], {0}, false, mx::float32)};
      },
      Args{x}, true);
  check_equal(mx::import_function(path)({mx::ones({10})})[0], array(1.0f));
}

class Foreign final : public mx::Primitive {
 public:
  using mx::Primitive::Primitive;
  const char* name() const override { return "Foreign"; }
};

void errors() {
  check_throws<std::invalid_argument>([&] {
    mx::export_function(
        path,
        [](const Args& in) {
          return Arrays{array(in[0].shape(), in[0].dtype(),
                              std::make_shared<Foreign>(mx::default_stream(mx::Device::cpu)), {in[0]})};
        },
        Args{x});
  });
  check_throws<std::runtime_error>([] { mx::import_function(path + "-no"); });
  check_throws<std::runtime_error>([] { mx::export_function(path + "-no/no", of_args, Args{x, y}); });
  std::ofstream(path) << "no functions";
  check_throws<std::runtime_error>([] { mx::import_function(path); });
}

void callback() {
  std::set<std::string> types, primitives;
  const mx::ExportCallback tell = [&](const mx::ExportCallbackInput& told) {
    types.insert(std::get<std::string>(told.at("type")));
    if (told.count("name")) primitives.insert(std::get<std::string>(told.at("name")));
  };
  mx::export_function(tell, of_args, Args{x, y});
  check(types == std::set<std::string>{"inputs", "keyword_inputs", "outputs", "constants", "primitive"});
  check(primitives == std::set<std::string>{"Sin", "Add", "Reduce"});
  mx::export_function(tell, of_kwargs, Kwargs{{"x", x}, {"y", y}});
  check(primitives.count("Subtract") == 1);
  mx::exporter(tell, of_both)(Args{x}, Kwargs{{"scale", y}});
  check(primitives.count("Multiply") == 1);
  check_throws<std::invalid_argument>([] { mx::exporter(mx::ExportCallback(), of_args); });
}

}  // namespace

int main() {
  overloads();
  several_traces();
  gradients();
  sizes_in_shapeless_graphs();
  errors();
  callback();
  std::filesystem::remove(path);
  return report("export");
}
