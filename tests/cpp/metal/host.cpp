// Host code: what must not be encoded while the arguments of a dispatch are being set.
#include "check.h"

#include "metal/host/kernels.h"
#include "mlx/mlx.h"

using namespace test;
namespace core = mlx::core;

namespace {

const char* const source = R"(
  #include <metal_stdlib>
  using namespace metal;
  kernel void twice(device const float* in [[buffer(0)]], device float* out [[buffer(1)]],
                    uint i [[thread_position_in_grid]]) { out[i] = 2 * in[i]; }
)";

std::string refused(const std::function<void()>& f) {
  try {
    f();
  } catch (const std::logic_error& e) {
    return e.what();
  }
  return "no error";
}
bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

int main() {
  const core::Stream s = core::default_stream(core::Device(core::Device::gpu));
  core::array x = core::reshape(core::arange(6.0f), {2, 3});
  core::array turned = core::transpose(x);
  core::eval(turned);
  core::array out = core::arange(6.0f);
  core::eval(out);

  Encoder encoder(*device());
  encoder.enter();
  encoder.set_operation("Twice");
  const auto twice = pipeline_of("twice", "twice", {}, [] { return std::string(source); });
  {
    Dispatch d(s, twice);
    d.in(x);
    const std::string copy = refused([&] { row_contiguous(turned, s); });
    CHECK(contains(copy, "[Twice] encodes another kernel while the arguments of a dispatch are being set"));
    const std::string wait = refused([&] { encoder.wait_for_all(); });
    CHECK(contains(wait, "[Twice] waits for the device while the arguments"));
    // What was set is as it was.
    d.out(out).threads({6}, {6});
    encoder.wait_for_all();
    CHECK(out.data<float>()[5] == 10);
  }
  // Before the dispatch it is in order, and one that is given up is in nobody's way.
  const core::array copy = row_contiguous(turned, s);
  {
    Dispatch given_up(s, twice);
  }
  Dispatch(s, twice).in(copy).out(out).threads({6}, {6});
  encoder.wait_for_all();
  CHECK(out.data<float>()[1] == 6 && out.data<float>()[5] == 10);

  // The simulator's limit of buffers is the system's, not a constant of somebody else.
  CHECK(device()->info().resource_limit > 1000 && device()->info().resource_limit != 499000);
  encoder.leave();
  return report();
}
