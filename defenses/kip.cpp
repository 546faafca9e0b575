#include "defenses/kip.h"

#include "attacks/solver/regression_coefficients.h"
#include "defenses/baselines.h"
#include "defenses/distillation.h"
#include "models/tangent/kernel_targets.h"
#include "models/tangent/learned_function.h"

namespace afterimage {
namespace {

// Of the mean diagonal of K_SS. KIP's is the reference's; RKIP compares coefficients and needs hardly any.
constexpr double kip_ridge = 1e-5, rkip_ridge = 1e-8;

struct KernelSettings {
  DistillationSettings distillation;
  bool learns_labels, reference_kernel;
};

KernelSettings parse_kernel(const OptionValues& options) {
  return {DistillationSettings(options), options.one_of("labels", {"learned", "fixed"}) == "learned",
          is_reference_kernel(options)};
}

std::vector<OptionSpec> kernel_options() {
  auto specs = distillation_options();
  specs.push_back({"labels", "learned, or fixed to those of the classes", "learned", "learned|fixed"});
  specs.push_back(kernel_option());
  return specs;
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
SupportSet distilled(TangentTarget& target, const AnalyticNtk& kernel, double ridge, const KernelSettings& settings,
                     const Undefended& undefended, Job& job) {
  const SearchPlan plan = settings.distillation.plan(undefended);
  DistilledBounds bounds(undefended.space, undefended.images.to(at::kDouble), plan.candidates,
                         settings.distillation.levers, target.squared_norm(), job.random);
  RegressionCoefficients coefficients(kernel, class_targets(undefended, settings.distillation.per_class), ridge,
                                      settings.learns_labels);
  const SearchResult found = search(target, bounds, undefended.images.size(1), plan, coefficients, job);
  SupportSet support{found.candidates.to(at::kFloat), found.searched.to(at::kFloat)};
  describe(support, found, undefended);
  const Tensor predicted = at::mm(kernel(undefended.images.to(at::kDouble), found.candidates), found.coefficients);
  support.evidence["kernel_train_accuracy"] = accuracy(predicted, undefended.targets);
  return support;
}

SupportSet distill_kip(const KernelSettings& settings, const Undefended& undefended, Job& job) {
  job.progress.stage("kip: distilling");
  const AnalyticNtk kernel = distillation_kernel(undefended, settings.reference_kernel);
  KernelPredictions target(kernel, undefended.images.to(at::kDouble), undefended.targets.to(at::kDouble));
  return distilled(target, kernel, kip_ridge, settings, undefended, job);
}

SupportSet distill_rkip(const KernelSettings& settings, const Undefended& undefended, Job& job) {
  job.progress.stage("rkip: distilling");
  const AnalyticNtk kernel = distillation_kernel(undefended, settings.reference_kernel);
  const KernelRegression learned(kernel, undefended.images, undefended.targets);
  KernelElement target(kernel, undefended.images.to(at::kDouble), learned.coefficients());
  return distilled(target, kernel, rkip_ridge, settings, undefended, job);
}

constexpr const char* fixed_labels = ", or --defense-option labels=fixed";

void check_kip(const KernelSettings& settings, const Undefended& undefended) {
  static_cast<void>(settings.distillation.plan(undefended));
  if (settings.learns_labels) require_real_targets(undefended.recipe, "kip", fixed_labels);
}

void check_rkip(const KernelSettings& settings, const Undefended& undefended) {
  static_cast<void>(settings.distillation.plan(undefended));
  if (settings.learns_labels) require_real_targets(undefended.recipe, "rkip", fixed_labels);
}

struct FiniteSettings {
  DistillationSettings distillation;
  double tangent_point;
};

FiniteSettings parse_finite(const OptionValues& options) {
  return {DistillationSettings(options), options.number("tangent-point", 0, 1)};
}

SupportSet distill_finite(const FiniteSettings& settings, const Undefended& undefended, Job& job) {
  job.progress.stage("rkip-finite: training the undefended network");
  const Training training = train(*undefended.network, undefended.initial, undefended.images, undefended.targets,
                                  undefended.recipe, job.random, job.progress);
  job.progress.stage("rkip-finite: distilling");
  SearchPlan plan = settings.distillation.plan(undefended);
  plan.coefficient_rate = SearchPlan().coefficient_rate;
  const auto target = undefended.network->tangents(undefended.initial, training.trained, {settings.tangent_point});
  DistilledBounds bounds(undefended.space, undefended.images.to(target->dtype()), plan.candidates,
                         settings.distillation.levers, target->squared_norm(), job.random);
  const SearchResult found = search(*target, bounds, undefended.images.size(1), plan, job);
  const Tensor best = project(*target, found.candidates, {}).coefficients;
  const std::int64_t count = found.candidates.size(0);
  const Tensor learned =
      at::mm(target->gram(found.candidates, {}).to(at::kDouble), best.reshape({-1, 1})).reshape({count, -1});
  SupportSet support{found.candidates.to(at::kFloat), {}};
  support.targets = undefended.network->evaluate(undefended.initial, support.images) + learned.to(at::kFloat);
  describe(support, found, undefended);
  return support;
}

void check_finite(const FiniteSettings& settings, const Undefended& undefended) {
  static_cast<void>(settings.distillation.plan(undefended));
  require_real_targets(undefended.recipe, "rkip-finite", "");
}

}  // namespace

Defense kip_defense() {
  Defense defense;
  defense.name = "kip";
  defense.description =
      "trains on a few images distilled so that kernel regression on them predicts the training set (KIP)";
  defense.limits = "costs accuracy; what the distilled images carry of the original ones is measured, not bounded";
  defense.options = kernel_options();
  defense.distills = true;
  defense.configure = distilling_by(parse_kernel, distill_kip, check_kip);
  return defense;
}

Defense rkip_defense() {
  Defense defense;
  defense.name = "rkip";
  defense.description = "trains on a few images distilled by the reconstruction loss at infinite width (RKIP)";
  defense.limits = "minimises the same loss as an attack: with as many images as were trained on it would return them";
  defense.options = kernel_options();
  defense.distills = true;
  defense.configure = distilling_by(parse_kernel, distill_rkip, check_rkip);
  return defense;
}

Defense rkip_finite_defense() {
  Defense defense;
  defense.name = "rkip-finite";
  defense.description = "trains on the result of an attack on the undefended network with too few images (RKIP-finite)";
  defense.limits = "works from the undefended weights, so what they leak may come back in the distilled images";
  defense.options = distillation_options();
  defense.options.push_back({"tangent-point",
                             "where on the way from the initial to the trained weights features are taken, 0 to 1",
                             "0.5", "NUMBER"});
  defense.distills = true;
  defense.configure = distilling_by(parse_finite, distill_finite, check_finite);
  return defense;
}

}  // namespace afterimage
