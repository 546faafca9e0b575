#include "attacks/solver/box_splitting.h"

namespace afterimage {
namespace {

constexpr int most_steps = 1000, steps_between_looks = 100;
constexpr double relaxation = 1.6;  // of at most 2
constexpr double least_length = 1e-30;

}  // namespace

Tensor furthest_by_splitting(const Box& box, const Tensor& starts, const Tensor& directions, double stride,
                             double tolerance) {
  const Tensor across = box.rows.t(),
               push = directions * (stride / directions.norm(2, 1, true).clamp_min(least_length));
  Tensor point = at::mm(starts, across);  // what is split: its part in the box is `inside`
  Tensor inside = at::empty_like(point), reflected = at::empty_like(point), pixels = at::empty_like(point),
         before = point.clone(), x = at::empty_like(starts);
  const Tensor two = at::scalar_tensor(2, point.options());
  for (int step = 1; step <= most_steps; ++step) {
    at::clamp_out(inside, point, box.lowest, box.highest);
    at::mul_out(reflected, inside, two);
    reflected.sub_(point);
    at::mm_out(x, reflected, box.rows);
    x.add_(push);
    at::mm_out(pixels, x, across);
    if (step % steps_between_looks == 0) {
      const double moved = (pixels - before).abs().max().item<double>();
      const double outside = (pixels - inside).abs().max().item<double>();
      if (moved < tolerance && outside < tolerance) break;
      before.copy_(pixels);
    }
    point.add_(pixels.sub_(inside), relaxation);
  }
  return x;
}

}  // namespace afterimage
