#include "defenses/kip.h"

#include <fmt/format.h>

#include "attacks/solver/regression_coefficients.h"
#include "defenses/baselines.h"
#include "defenses/distillation.h"
#include "models/foundations/error.h"
#include "models/tangent/kernel_targets.h"
#include "models/tangent/learned_function.h"

namespace afterimage {
namespace {

// Of the mean diagonal of K_SS. KIP's is the reference's; RKIP compares coefficients and takes hardly any.
constexpr double kip_ridge = 1e-5, rkip_ridge = 1e-8;

bool learns_labels(const OptionValues& options) { return options.one_of("labels", {"learned", "fixed"}) == "learned"; }

void require_fewer(const DistillationPlan& plan, const Undefended& undefended) {
  if (plan.search.candidates < undefended.images.size(0)) return;
  throw UsageError(fmt::format("--per-class {}: makes {} images of {}, which distils nothing; give fewer",
                               plan.per_class, plan.search.candidates, undefended.images.size(0)));
}

void describe(SupportSet& support, const SearchResult& found, const Undefended& undefended) {
  const Tensor distances = nearest_of(support.images, undefended.images).distances;
  support.evidence["images"] = support.images.size(0);
  support.evidence["steps"] = found.iterations;
  support.evidence["loss_initial"] = found.loss_initial;
  support.evidence["loss_final"] = found.loss_final;
  support.evidence["nearest_training_image"] = {{"smallest", distances.min().item<double>()},
                                                {"median", distances.median().item<double>()}};
}

// Images and labels whose kernel regression makes the target's element, by the attacks' own search.
SupportSet distilled(TangentTarget& target, const AnalyticNtk& kernel, double ridge, const Undefended& undefended,
                     const OptionValues& options, Generator& random, Progress& progress, StateStore& store) {
  const DistillationPlan plan = distillation_plan(undefended, options);
  require_fewer(plan, undefended);
  DistilledBounds bounds(undefended.space, undefended.images.to(at::kDouble), plan.search.candidates, plan.levers,
                         target.squared_norm(), random);
  RegressionCoefficients coefficients(kernel, class_targets(undefended, plan.per_class), ridge, learns_labels(options));
  const SearchResult found =
      search(target, bounds, undefended.images.size(1), plan.search, coefficients, random, progress, store);
  SupportSet support{found.candidates.to(at::kFloat), found.searched.to(at::kFloat)};
  describe(support, found, undefended);
  const Tensor predicted = at::mm(kernel(undefended.images.to(at::kDouble), found.candidates), found.coefficients);
  support.evidence["kernel_train_accuracy"] = accuracy(predicted, undefended.targets);
  return support;
}

std::vector<OptionSpec> kernel_options() {
  auto specs = distillation_options();
  specs.push_back({"labels", "learned, or fixed to those of the classes", "learned"});
  specs.push_back(kernel_option());
  return specs;
}

void validate_kernel(const OptionValues& options) {
  validate_distillation(options);
  static_cast<void>(learns_labels(options));
  static_cast<void>(options.one_of("kernel", {"network", "reference"}));
}

double tangent_point(const OptionValues& options) { return options.number("tangent-point", 0, 1); }

}  // namespace

std::vector<OptionSpec> Kip::options() const { return kernel_options(); }
void Kip::validate(const OptionValues& options) const { validate_kernel(options); }
SupportSet Kip::distill(const Undefended& undefended, const OptionValues& options, Generator& random,
                        Progress& progress, StateStore& store) const {
  progress.stage("kip: distilling");
  const AnalyticNtk kernel = distillation_kernel(undefended, options);
  KernelPredictions target(kernel, undefended.images.to(at::kDouble), undefended.targets.to(at::kDouble));
  return distilled(target, kernel, kip_ridge, undefended, options, random, progress, store);
}

bool Kip::learns_any_labels(const OptionValues& options) const { return learns_labels(options); }

std::vector<OptionSpec> Rkip::options() const { return kernel_options(); }
void Rkip::validate(const OptionValues& options) const { validate_kernel(options); }
SupportSet Rkip::distill(const Undefended& undefended, const OptionValues& options, Generator& random,
                         Progress& progress, StateStore& store) const {
  progress.stage("rkip: distilling");
  const AnalyticNtk kernel = distillation_kernel(undefended, options);
  const KernelRegression learned(kernel, undefended.images, undefended.targets);
  KernelElement target(kernel, undefended.images.to(at::kDouble), learned.coefficients());
  return distilled(target, kernel, rkip_ridge, undefended, options, random, progress, store);
}

bool Rkip::learns_any_labels(const OptionValues& options) const { return learns_labels(options); }

std::vector<OptionSpec> RkipFinite::options() const {
  auto specs = distillation_options();
  specs.push_back(
      {"tangent-point", "where on the way from the initial to the trained weights features are taken, 0 to 1", "0.5"});
  return specs;
}

void RkipFinite::validate(const OptionValues& options) const {
  validate_distillation(options);
  static_cast<void>(tangent_point(options));
}

SupportSet RkipFinite::distill(const Undefended& undefended, const OptionValues& options, Generator& random,
                               Progress& progress, StateStore& store) const {
  progress.stage("rkip-finite: training the undefended network");
  const Training training = train(*undefended.network, undefended.initial, undefended.images, undefended.targets,
                                  undefended.recipe, random, progress);
  progress.stage("rkip-finite: distilling");
  DistillationPlan plan = distillation_plan(undefended, options);
  require_fewer(plan, undefended);
  plan.search.coefficient_rate = SearchPlan().coefficient_rate;
  const auto target = undefended.network->tangents(undefended.initial, training.trained, {tangent_point(options)});
  DistilledBounds bounds(undefended.space, undefended.images.to(target->dtype()), plan.search.candidates, plan.levers,
                         target->squared_norm(), random);
  FreeCoefficients coefficients;
  const SearchResult found =
      search(*target, bounds, undefended.images.size(1), plan.search, coefficients, random, progress, store);
  const Tensor best = project(*target, found.candidates, {}).coefficients;
  const std::int64_t count = found.candidates.size(0);
  const Tensor learned =
      at::mm(target->gram(found.candidates, {}).to(at::kDouble), best.reshape({-1, 1})).reshape({count, -1});
  SupportSet support{found.candidates.to(at::kFloat), {}};
  support.targets = undefended.network->evaluate(undefended.initial, support.images) + learned.to(at::kFloat);
  describe(support, found, undefended);
  return support;
}

}  // namespace afterimage
