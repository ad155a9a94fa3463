// Libraries, functions with their constants, pipelines.
#include <algorithm>
#include <cstring>

#include "metal.h"

namespace standin {
namespace {

constexpr long kCompileFailure = 3;  // MTLLibraryError

}  // namespace

void add_library() {
  const char* device = "MTLDevice";
  method(
      device,
      "newLibraryWithSource:options:error:", +[](Id, Selector, Id source, Id options, Id* error) -> Id {
        const Options& o = as<CompileOptions>(options).fields;
        // Metal calls a source program_source, but its messages go by #line.
        const std::string& text = text_of(source);
        const std::string line = "#line 1 \"";
        const std::string name = text.compare(0, line.size(), line) == 0
                                     ? text.substr(line.size(), text.find('"', line.size()) - line.size())
                                     : "program_source";
        try {
          auto library = behind()->compile(
              text, name,
              {o.fast, static_cast<int>(o.language >> 16), static_cast<int>(o.language & 0xffff)});
          auto* l = create<Library>();
          l->fields = std::move(library);
          return id_of(l);
        } catch (const std::exception& e) {
          return refuse(error, kCompileFailure, e.what());
        }
      });
  method(
      "MTLCompileOptions", "setMathMode:", +[](Id self, Selector, Integer mode) {
        as<CompileOptions>(self).fields.fast = mode == 2;
      });
  method(
      "MTLCompileOptions", "setFastMathEnabled:", +[](Id self, Selector, bool fast) {
        as<CompileOptions>(self).fields.fast = fast;
      });
  method(
      "MTLCompileOptions", "setLanguageVersion:", +[](Id self, Selector, UInteger version) {
        as<CompileOptions>(self).fields.language = version;
      });
  method(
      "MTLLibrary", "functionNames", +[](Id self, Selector) {
        std::vector<Id> names;
        for (const std::string& name : as<Library>(self).fields->kernels())
          names.push_back(make_string(name));
        const Id array = make_array(names);
        for (Id name : names) release(name);
        return autorelease(array);
      });
  static const auto function = [](Id self, Id name, std::vector<metal::FunctionConstant> constants) -> Id {
    const auto& library = as<Library>(self).fields;
    const auto kernels = library->kernels();
    if (std::find(kernels.begin(), kernels.end(), text_of(name)) == kernels.end()) return nullptr;
    auto* f = create<Function>();
    f->fields = {library, text_of(name), std::move(constants)};
    return id_of(f);
  };
  method(
      "MTLLibrary",
      "newFunctionWithName:", +[](Id self, Selector, Id name) { return function(self, name, {}); });
  method(
      "MTLLibrary", "newFunctionWithName:constantValues:error:",
      +[](Id self, Selector, Id name, Id values, Id* error) -> Id {
        const Id f = function(self, name, as<FunctionConstantValues>(values).fields);
        return f ? f : refuse(error, 5, "no function " + text_of(name));
      });
  method(
      "MTLFunctionConstantValues", "setConstantValue:type:atIndex:",
      +[](Id self, Selector, const void* value, UInteger type, UInteger index) {
        auto& all = as<FunctionConstantValues>(self).fields;
        const auto add = [&]<class T>(T v) {
          std::memcpy(&v, value, sizeof v);
          all.push_back({static_cast<uint16_t>(index), v});
        };
        if (type == 53)
          add(bool{});
        else if (type == 29)
          add(int32_t{});
        else if (type == 33)
          add(uint32_t{});
        else if (type == 3)
          add(float{});
        else
          fault("setConstantValue:type:atIndex: with type " + std::to_string(type));
      });
  method(
      device, "newComputePipelineStateWithFunction:error:", +[](Id, Selector, Id function, Id* error) -> Id {
        const FunctionFields& f = as<Function>(function).fields;
        try {
          auto pipeline = f.library->pipeline(f.name, f.constants);
          auto* p = create<ComputePipelineState>();
          p->fields = std::move(pipeline);
          return id_of(p);
        } catch (const std::exception& e) {
          return refuse(error, 3, e.what());
        }
      });
  const char* pipeline = "MTLComputePipelineState";
  method(
      pipeline, "maxTotalThreadsPerThreadgroup", +[](Id self, Selector) -> UInteger {
        return as<ComputePipelineState>(self).fields->max_threads_per_threadgroup();
      });
  method(
      pipeline, "threadExecutionWidth",
      +[](Id self, Selector) -> UInteger { return as<ComputePipelineState>(self).fields->simd_width(); });
  method(
      pipeline, "staticThreadgroupMemoryLength", +[](Id self, Selector) -> UInteger {
        return as<ComputePipelineState>(self).fields->static_threadgroup_memory();
      });
}

}  // namespace standin
