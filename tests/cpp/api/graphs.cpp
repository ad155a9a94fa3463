// Looking at graphs before they are evaluated: their operations, the memory they will take.
#include <string>

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

}  // namespace

int main() {
  a_walk_finds_what_is_new();
  forecasts_agree_with_the_counters();
  a_forecast_leaves_nothing_behind();
  return report("graphs");
}
