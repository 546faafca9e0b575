#include "models/tangent/autograd.h"

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>

#include "models/foundations/stop.h"

namespace afterimage {
namespace {

// The type that LibTorch counts memory in, which differs between versions.
template <class Reporter, class Total>
Total total_of(void (Reporter::*)(void*, std::int64_t, Total, Total, c10::Device));
using Total = decltype(total_of(&c10::MemoryReportingInfoBase::reportMemoryUsage));

// Counts the peak of bytes in tensors, beyond those at the start.
class PeakMemory final : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void*, std::int64_t bytes, Total, Total, c10::Device) override {
    now_ += static_cast<double>(bytes);
    peak_ = std::max(peak_, now_);
  }
  bool memoryProfilingEnabled() const override { return true; }
  double peak() const { return peak_; }

 private:
  double now_ = 0, peak_ = 0;
};

}  // namespace

double peak_bytes_of(const std::function<void()>& work) {
  const auto memory = std::make_shared<PeakMemory>();
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, memory);
  work();
  return memory->peak();
}

Differentiated::Differentiated(Recorded outputs, const Parameters& parameters, const std::vector<bool>& moving)
    : outputs_(std::move(outputs)) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    all_.push_back(parameters[i].detach());
    if (!moving.empty() && !moving[i]) continue;
    all_.back().requires_grad_(true);
    leaves_.push_back(all_.back());
  }
}

Tensor Differentiated::outputs(const Tensor& images, Smoothing relu) const {
  stop_point();
  return outputs_(all_, images, relu);
}

std::vector<Tensor> Differentiated::combined(const Tensor& images, const Tensor& coefficients, Smoothing relu,
                                             bool graph) const {
  const at::AutoGradMode record(true);
  const Tensor found = outputs(images, relu);
  if (!found.requires_grad()) return std::vector<Tensor>(leaves_.size());
  return torch::autograd::grad({found}, leaves_, {coefficients}, graph, graph, /*allow_unused=*/true);
}

Tensor Differentiated::along(const std::vector<Tensor>& direction, const Tensor& images, Smoothing relu) const {
  const at::AutoGradMode record(true);
  const Tensor found = outputs(images, relu);
  const Tensor cotangents = at::zeros_like(found).detach().requires_grad_(true);
  if (!found.requires_grad()) return cotangents.detach();
  const auto features = torch::autograd::grad({found}, leaves_, {cotangents}, true, true, true);
  const Tensor inner = sum_of_inner(direction, features);
  if (!inner.defined()) return cotangents.detach();
  return torch::autograd::grad({inner}, {cotangents})[0];
}

Tensor sum_of_inner(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  Tensor sum;
  for (std::size_t k = 0; k < a.size(); ++k) {
    if (!a[k].defined() || !b[k].defined()) continue;
    const Tensor product = at::dot(a[k].reshape({-1}), b[k].reshape({-1}));
    sum = sum.defined() ? sum + product : product;
  }
  return sum;
}

std::int64_t images_at_once(std::int64_t most, double budget, const std::function<void(std::int64_t)>& work) {
  if (most <= 1) return 1;
  const double one = peak_bytes_of([&] { work(1); }), two = peak_bytes_of([&] { work(2); });
  const double each = std::max(two - one, 1.0), fixed = std::max(one - each, 0.0);
  return static_cast<std::int64_t>(std::clamp((budget - fixed) / each, 1.0, static_cast<double>(most)));
}

std::vector<Range> ranges(std::int64_t total, std::int64_t size) {
  std::vector<Range> all;
  for (std::int64_t first = 0; first < total; first += size) all.push_back({first, std::min(size, total - first)});
  return all;
}

}  // namespace afterimage
