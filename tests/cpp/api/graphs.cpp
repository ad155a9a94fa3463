// Looking at graphs before they are evaluated: their operations, the memory they will take. Evaluations that
// need each other's values where some cannot be computed.
#include <chrono>
#include <future>
#include <string>
#include <thread>

#include "check.h"
#include "mlx/graph_utils.h"
#include "mlx/memory.h"
#include "mlx/primitives.h"

using namespace api_test;
using Arrays = std::vector<array>;

namespace {

void a_walk_finds_what_is_new() {
  mx::GraphWalk walk;
  const array x({1.0f, 2.0f});
  const array y = mx::exp(x);
  check(walk.next({y}).size() == 1);
  check(walk.next({y}).empty());
  const array z = mx::sin(y) + y;
  const Arrays found = walk.next({z, y});
  check(found.size() == 2);
  check(found.size() == 2 && std::string(found[0].primitive().name()) == "sin" && found[1].id() == z.id());
}

// The forecast, and what the counters say.
void check_forecast(const Arrays& outputs, Where where = Where::current()) {
  const mx::Forecast f = mx::forecast_memory(outputs);
  const auto before = static_cast<int64_t>(mx::get_active_memory());
  mx::reset_peak_memory();
  mx::eval(outputs);
  check(f.peak == static_cast<int64_t>(mx::get_peak_memory()) - before, where);
  check(f.after == static_cast<int64_t>(mx::get_active_memory()) - before, where);
}

void forecasts_agree_with_the_counters() {
  mx::random::seed(0);
  const array a = mx::random::normal({64, 64}), b = mx::random::normal({64, 64});
  check_forecast({a, b});
  check_forecast({mx::matmul(mx::tanh(a) * 2.0f, mx::transpose(b))});
  const auto loss = [&](const Arrays& in) { return mx::sum(mx::square(mx::matmul(mx::exp(in[0]), in[1]))); };
  check_forecast(mx::grad(loss, std::vector<int>{0, 1})({a, b}));
  check_forecast(mx::split(mx::sort(a + b, 0), 4));
}

void a_forecast_leaves_nothing_behind() {
  const array a = mx::random::normal({8, 8});
  const array b = a + 1.0f;
  const mx::Forecast f = mx::forecast_memory({b}, {a});  // as if a were there
  check(f.peak == 256 && f.after == 252);                // the constant goes
  check(a.status() == array::Status::unscheduled && b.status() == array::Status::unscheduled);
  check_equal(b - 1.0f, a, 1e-6);
  check(mx::forecast_memory({b}).peak == 0 && mx::forecast_memory({}).peak_operation.empty());
}

// Computes nothing until the test says so, or fails.
class Gate final : public mx::Primitive {
 public:
  Gate(std::promise<void>* entered, std::shared_future<void> open, bool fails)
      : Primitive(mx::default_stream(mx::Device::cpu)),
        entered_(entered),
        open_(std::move(open)),
        fails_(fails) {}
  void eval_cpu(const Arrays& inputs, Arrays& outputs) override {
    if (entered_) entered_->set_value();
    open_.wait();
    if (fails_) throw std::runtime_error("[gate] closed");
    outputs[0].copy_shared_buffer(inputs[0]);
  }
  void eval_gpu(const Arrays& inputs, Arrays& outputs) override { eval_cpu(inputs, outputs); }
  const char* name() const override { return "Gate"; }

 private:
  std::promise<void>* entered_;
  const std::shared_future<void> open_;
  const bool fails_;
};

// `late` is queued and reads `first`, which has failed by then. `both` claims that again and needs `late`:
// neither waits for the other.
void a_lost_value_is_nobodys() {
  for (const bool fails : {true, false}) {
    std::promise<void> entered, open, is_open;
    is_open.set_value();
    const array one({1.0f, 2.0f});
    const auto gate = [&](std::promise<void>* seen, const std::shared_future<void>& until, bool fail) {
      return array(one.shape(), one.dtype(), std::make_shared<Gate>(seen, until, fail), {one});
    };
    const array first = gate(nullptr, is_open.get_future().share(), fails);
    const array between = gate(&entered, open.get_future().share(), false);
    const array late = mx::sort(first, mx::Device::cpu);
    const array both =
        mx::add(mx::sort(mx::negative(late, mx::Device::cpu), mx::Device::cpu), first, mx::Device::cpu);
    mx::async_eval({first});
    mx::async_eval({between});
    mx::async_eval({late});
    entered.get_future().wait();
    auto value = std::async(std::launch::async, [&] {
      array out = both;
      out.eval();
    });
    // By the time it may go on, `both` is claimed on all but the slowest machines, where this proves nothing.
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    open.set_value();
    if (fails) {
      check_throws<std::runtime_error>([&] { value.get(); });
      check_throws<std::runtime_error>([&] { mx::eval({late}); });
    } else {
      value.get();
      check_equal(both, array({-1.0f, 1.0f}));
    }
    mx::synchronize();
    check(between.is_available());
  }
}

}  // namespace

int main() {
  a_walk_finds_what_is_new();
  forecasts_agree_with_the_counters();
  a_forecast_leaves_nothing_behind();
  a_lost_value_is_nobodys();
  return report("graphs");
}
