// Evaluations that go on behind each other (mlx/graph/flight.h), and the encoder below them, on a device that
// is a thread of this test: chains over streams and devices, several threads that evaluate the same values,
// and both kinds of errors. Values are small integers, and every one is known. It is written for
// ThreadSanitizer, which cannot follow the simulator.
#include <algorithm>
#include <cstdio>
#include <optional>
#include <random>
#include <string>
#include <thread>

#include "cpu_device.h"
#include "metal/host/kernels.h"
#include "metal/host/memory.h"
#include "mlx/graph/flight.h"
#include "mlx/mlx.h"

using namespace mlx::core;

namespace {

constexpr int kElements = 48;
constexpr int kSlow = 300;  // microseconds

std::mutex report_mutex;
int checks = 0, failures = 0;

void check(bool ok, const std::string& what) {
  std::lock_guard lock(report_mutex);
  ++checks;
  if (!ok && ++failures <= 20) std::printf("FAILED: %s\n", what.c_str());
}

// --- the device ---

// Never destroyed: queues outlive main.
cpu_device::CpuDevice& the_device() {
  static cpu_device::CpuDevice* const made = std::make_unique<cpu_device::CpuDevice>().release();
  return *made;
}

class Gpu final : public GpuBackend {
 public:
  Gpu() { metal::take_memory_from(the_device()); }
  std::unique_ptr<Work> begin() override { return std::make_unique<metal::Encoder>(the_device()); }
  // There are no kernels but those of the primitives below: the CPU takes over.
  void run(Primitive& p, const std::vector<array>& inputs, std::vector<array>& outputs) override {
    metal::Encoder& encoder = metal::Encoder::current();
    encoder.set_operation(p.name());
    encoder.finish_for(inputs);
    p.eval_cpu(inputs, outputs);
  }
  const Info& info() const override { return info_; }
  size_t set_wired_limit(size_t) override { return 0; }
  void start_capture(const std::string&) override {}
  void stop_capture() override {}
  std::map<std::string, uint64_t> hand_overs() const override { return {}; }
  std::map<std::string, uint64_t> waits() const override { return {}; }

 private:
  const Info info_;
};

const bool registered = add_gpu_backend([]() -> GpuBackend* { return std::make_unique<Gpu>().release(); });

// --- what it computes ---

struct Parameters {
  float added;
  int delay;  // microseconds that the device takes
  int count;  // of inputs
  float most;
};

// The sum of the inputs and a number. The device finds values above `most` to be wrong; below zero it fails.
class Sum final : public Primitive {
 public:
  enum Checks { unchecked, checked, failing };
  Sum(Stream s, Parameters p, Checks checks) : Primitive(s), p_(p), checks_(checks) {}
  const char* name() const override { return "Sum"; }
  void eval_cpu(const std::vector<array>&, std::vector<array>&) override {
    throw std::logic_error("[Sum] got a stream of the CPU, expected one of the GPU");
  }
  void eval_gpu(const std::vector<array>& inputs, std::vector<array>& outputs) override {
    metal::Encoder& encoder = metal::Encoder::current();
    encoder.set_operation(name());
    array& out = outputs[0];
    metal::take_or_allocate(out, inputs);
    std::optional<array> word;
    if (checks_ == checked)
      word = encoder.watch(stream(), [](uint32_t found) {
        return std::make_exception_ptr(std::out_of_range("[Sum] got " + std::to_string(found)));
      });
    static const auto plain = std::make_shared<cpu_device::Kernel>(run<unchecked>);
    static const auto careful = std::make_shared<cpu_device::Kernel>(run<checked>);
    static const auto broken = std::make_shared<cpu_device::Kernel>(run<failing>);
    metal::Dispatch d(stream(), checks_ == checked ? careful : checks_ == failing ? broken : plain);
    d.out(out).value(p_);
    if (word) d.in_out(*word);
    for (const array& in : inputs) d.in(in);
    d.threads({kElements, 1, 1}, {16, 1, 1});
  }

 private:
  template <Checks C>
  static void run(const cpu_device::Arguments& a) {
    Parameters p;
    std::memcpy(&p, a.at(1), sizeof p);
    if (p.delay) std::this_thread::sleep_for(std::chrono::microseconds(p.delay));
    if (C == failing) throw metal::DeviceError("[command buffer] the device has failed");
    constexpr uint32_t first = C == checked ? 3 : 2;
    auto* out = reinterpret_cast<float*>(a.at(0));
    for (int i = 0; i < kElements; ++i) {
      float sum = p.added;
      for (int k = 0; k < p.count; ++k)
        sum += reinterpret_cast<const float*>(a.at(first + static_cast<uint32_t>(k)))[i];
      out[i] = sum;
      if (C == checked && sum > p.most)
        *reinterpret_cast<uint32_t*>(a.at(2)) = static_cast<uint32_t>(std::abs(sum));
    }
  }

  const Parameters p_;
  const Checks checks_;
};

array sum_of(const std::vector<array>& inputs, float added, Stream s, int delay = 0,
             Sum::Checks checks = Sum::unchecked, float most = 0) {
  const Parameters p{added, delay, static_cast<int>(inputs.size()), most};
  return array(Shape{kElements}, float32, std::make_shared<Sum>(s, p, checks), inputs);
}

Stream gpu() { return default_stream(Device::gpu); }
array filled(float v) { return array(std::vector<float>(kElements, v).begin(), {kElements}); }

// What an evaluation came to: all elements have this value, or this error was met.
struct Outcome {
  float value = 0;
  std::string error;
};
Outcome outcome_of(array a) {
  try {
    eval({a});
    const float* data = a.data<float>();
    if (!std::all_of(data, data + kElements, [&](float v) { return v == data[0]; }))
      return {0, "mixed values"};
    return {data[0], ""};
  } catch (const std::exception& e) {
    return {0, e.what()};
  }
}
void check_value(const array& a, float expected, const std::string& what) {
  const Outcome got = outcome_of(a);
  check(got.error.empty() && got.value == expected,
        what + ": got " + (got.error.empty() ? std::to_string(got.value) : got.error) + ", expected " +
            std::to_string(expected));
}
void check_error(const array& a, const std::string& part, const std::string& what) {
  const Outcome got = outcome_of(a);
  check(got.error.find(part) != std::string::npos,
        what + ": got " + (got.error.empty() ? std::to_string(got.value) : got.error) + ", expected " + part);
}

// --- one thread ---

void one_behind_the_other() {
  const uint64_t before = detail::continued_flights();
  const array a = sum_of({filled(1)}, 1, gpu(), 20000);
  async_eval({a});
  const array b = sum_of({a, a}, 1, gpu());
  async_eval({b});
  const array c = sum_of({a, b}, 0, new_stream(Device::gpu));
  async_eval({c});
  check(!c.is_available(), "nobody waited");
  check_value(c, 7, "a chain over two streams");
  check(detail::continued_flights() == before + 2, "went on behind");
  check_value(a, 2, "its beginning");
  check_value(b, 5, "its middle");
}

void what_the_cpu_reads() {
  const array a = sum_of({filled(1)}, 1, gpu(), kSlow);
  async_eval({a});
  const array b = negative(a, Device::cpu);
  async_eval({b});
  const array c = sum_of({a, b}, 3, gpu());
  async_eval({c});
  const array d = sum(c, Device::gpu);  // handed over
  async_eval({d});
  check_value(c, 3, "through the CPU");
  check(array(d).item<float>() == 3 * kElements, "handed over");
  synchronize();
  check(b.is_available(), "synchronize waits for what the CPU makes of it");
}

// Memory is handed on from step to step, and steps are forgotten while they are on their way.
void steps() {
  array w = filled(0);
  float want = 0;
  for (int i = 0; i < 200; ++i) {
    w = sum_of({w}, static_cast<float>(i % 7), gpu(), i % 50 == 0 ? kSlow : 0);
    want += static_cast<float>(i % 7);
    if (i % 3 == 0) async_eval({w});
  }
  check_value(w, want, "steps");
  for (int i = 0; i < 12; ++i) async_eval({sum_of({filled(1)}, 1, gpu(), kSlow)});
  synchronize();
}

void errors() {
  const array a = sum_of({filled(1)}, 1, gpu(), kSlow);
  async_eval({a});
  const array bad = sum_of({a}, 9, gpu(), 0, Sum::checked, 10);
  async_eval({bad});
  const array good = sum_of({a}, 1, gpu()), worse = sum_of({bad, a}, 1, gpu());
  async_eval({good});
  async_eval({worse});
  for (int i = 0; i < 2; ++i)
    for (const array& lost : {worse, bad, sum_of({worse, good}, 1, gpu()), array(negative(bad, Device::cpu))})
      check_error(lost, "got 11", "what was made of a wrong value");
  check_value(good, 3, "what was not");
  const array failing = sum_of({good}, 1, gpu(), 0, Sum::failing);
  const array behind = sum_of({failing}, 1, gpu());
  async_eval({failing});
  async_eval({behind});
  check_error(behind, "has failed", "behind a failure of the device");
  check_error(failing, "has failed", "a failure of the device");
  check_value(sum_of({good}, 1, gpu()), 4, "the evaluation after it");
}

// --- several threads ---

struct Known {
  array a;
  float value;
  bool wrong;  // it, or what it is made of
};

// Everything that evaluates, in any order; `faults`: values that are wrong, and a device that fails.
class Player {
 public:
  Player(unsigned seed, std::vector<Known> shared, bool faults)
      : random_(seed), known_(std::move(shared)), faults_(faults), stream_(new_stream(Device::gpu)) {}

  void play(int moves) {
    for (int i = 0; i < moves; ++i) move();
    for (const Known& k : known_) look_at(k);
  }

 private:
  int below(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }
  Known& any() { return known_[static_cast<size_t>(below(static_cast<int>(known_.size())))]; }
  Stream stream() { return below(4) ? gpu() : stream_; }

  void move() {
    const Known x = any(), y = any();
    const int delay = below(8) ? 0 : below(kSlow);
    const auto added = static_cast<float>(below(5));
    switch (below(10)) {
      case 0:
      case 1:
      case 2:
        return keep(
            {sum_of({x.a, y.a}, added, stream(), delay), x.value + y.value + added, x.wrong || y.wrong});
      case 3:
        return keep({sum_of({x.a}, added, stream(), delay), x.value + added, x.wrong});
      case 4:
        return keep({subtract(x.a, y.a, Device::cpu), x.value - y.value, x.wrong || y.wrong});
      case 5: {
        const bool wrong = faults_ && below(3) == 0;
        return keep({sum_of({x.a}, 0, stream(), delay, Sum::checked, wrong ? x.value - 1 : x.value), x.value,
                     x.wrong || wrong});
      }
      case 6:
        if (faults_ && below(8) == 0)
          return keep({sum_of({x.a}, 0, stream(), delay, Sum::failing), x.value, true});
        return async_eval({x.a, y.a});
      case 7:
        return async_eval({x.a});
      case 8:
        return look_at(x);
      case 9:
        if (below(5) == 0) synchronize();
    }
  }
  void keep(Known k) {
    if (std::abs(k.value) > 1e5f) return;
    if (below(2)) async_eval({k.a});
    Known& place = any();
    if (known_.size() < 12)
      known_.push_back(std::move(k));
    else
      place = std::move(k);
  }
  // Where a device fails, what was in flight is lost with it, whatever it is.
  void look_at(const Known& k) {
    const Outcome got = outcome_of(k.a);
    if (got.error.empty())
      check(!k.wrong && got.value == k.value, (k.wrong ? "a wrong value" : "a value") +
                                                  std::string(": got ") + std::to_string(got.value) +
                                                  ", expected " + std::to_string(k.value));
    else
      check((k.wrong && got.error.find("[Sum]") == 0) ||
                (faults_ && got.error.find("failed") != std::string::npos),
            "an error: " + got.error);
  }

  std::mt19937 random_;
  std::vector<Known> known_;
  const bool faults_;
  const Stream stream_;
};

void several_threads(unsigned seed, bool faults) {
  std::vector<Known> shared;
  for (int i = 0; i < 4; ++i) {
    const auto v = static_cast<float>(i);
    shared.push_back({sum_of({filled(v)}, 1, gpu(), kSlow), v + 1, false});
    if (i % 2) shared.push_back({sum_of({shared.back().a}, 1, gpu()), v + 2, false});
    if (i < 2) async_eval({shared.back().a});
  }
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t)
    threads.emplace_back([=] { Player(4 * seed + t, shared, faults).play(60); });
  for (std::thread& t : threads) t.join();
}

}  // namespace

int main() {
  one_behind_the_other();
  what_the_cpu_reads();
  steps();
  errors();
  for (unsigned seed = 0; seed < 12; ++seed) several_threads(seed, seed % 2 == 1);
  const array left = sum_of({filled(1)}, 1, gpu(), 20000);
  async_eval({left});  // on its way when the process exits
  std::printf("flights: %d checks, %d failures\n", checks, failures);
  return failures != 0;
}
