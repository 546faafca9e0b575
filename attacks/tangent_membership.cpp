#include "attacks/tangent_membership.h"

#include <fmt/format.h>

#include <chrono>
#include <string>

#include "attacks/solver/tangent_regression.h"
#include "models/foundations/error.h"

namespace afterimage {
namespace {

constexpr std::int64_t assumed_control = 1000;  // candidates beside the training records, for estimates
constexpr std::int64_t fewest_background = 20;

struct Settings {
  std::vector<double> along;
  std::string scaling;
  std::int64_t steps = 0;
};

Settings parse(const OptionValues& options) {
  return {options.numbers("membership-tangents", 0, 1), options.one_of("membership-scaling", {"auto", "plain", "adam"}),
          options.whole("membership-steps", 1, 100000)};
}

const std::vector<OptionSpec>& declared_options() {
  static const std::vector<OptionSpec> options = {
      {"membership-tangents",
       "points of the segment from initial (0) to trained (1) parameters over which the features of membership are "
       "averaged",
       "0.5", "NUMBER,..."},
      {"membership-scaling",
       "the metric of the regression: plain, adam (undoes its division by the gradient's root mean square), or auto "
       "(the one in which the candidates explain more of the change)",
       "auto", "auto|plain|adam"},
      {"membership-steps",
       fmt::format("conjugate gradients at most, where the regression has more than {} rows (images times outputs), or "
                   "their features do not fit in 1 GiB",
                   largest_exact_kernel),
       "200", "INTEGER"}};
  return options;
}

// Of the label's output against the others', as a combination of the network's outputs [n, C]: 1 for the label's,
// -1 / (C - 1) for others; for one output its sign. Outputs that stand for classes in groups share their class's.
Tensor contrasts(const Tensor& targets, std::int64_t outputs) {
  Tensor classes = targets.to(at::kDouble);
  if (classes.size(1) == 1 && outputs > 1) classes = at::cat({-classes, classes}, 1);
  if (outputs % classes.size(1) != 0) {
    throw NotApplicable(fmt::format("the network has {} outputs, which stand for no whole number of each of {} classes",
                                    outputs, classes.size(1)));
  }
  if (classes.size(1) > 1) classes = classes - classes.mean(1, true);
  classes = classes / classes.abs().amax(1, true).clamp_min(1e-12);
  return classes.repeat_interleave(outputs / classes.size(1), 1);
}

struct Regressed {
  ParameterScale scale;
  TangentRegression regression;
};

// In the metric that is asked for, or in that in which the images explain more of the change.
Regressed regressed(const Settings& settings, const TangentPath& path, const Subject& subject, const Candidates& images,
                    Job& job, nlohmann::ordered_json& evidence) {
  const auto by = [&](const ParameterScale& scale, std::int64_t steps) {
    return regress(path, scale, images.images, steps, job.progress);
  };
  const auto finished = [&](const std::string& name, ParameterScale scale, std::optional<TangentRegression> done) {
    Regressed result{std::move(scale), {}};
    result.regression = done ? *std::move(done) : by(result.scale, settings.steps);
    evidence["scaling"] = name;
    evidence["ridge"] = result.regression.ridge;
    evidence["relative_residual"] = result.regression.relative_residual;
    evidence["steps"] = result.regression.steps;
    return result;
  };
  ParameterScale plain = plain_scale(path);
  if (settings.scaling == "plain") return finished("plain", std::move(plain), {});
  ParameterScale adam = adam_scale(path, subject.loss, images, job.random);
  if (settings.scaling == "adam") return finished("adam", std::move(adam), {});
  constexpr std::int64_t tried = 4;  // a part of the steps
  TangentRegression of_plain = by(plain, settings.steps / tried + 1), of_adam = by(adam, settings.steps / tried + 1);
  const bool is_exact = of_plain.factor.defined();
  const auto kept = [&](TangentRegression& regression) {
    return is_exact ? std::optional(std::move(regression)) : std::nullopt;
  };
  evidence["relative_residual_plain"] = of_plain.relative_residual;
  evidence["relative_residual_adam"] = of_adam.relative_residual;
  return of_adam.relative_residual < of_plain.relative_residual ? finished("adam", std::move(adam), kept(of_adam))
                                                                : finished("plain", std::move(plain), kept(of_plain));
}

void require_targets(const Candidates& candidates) {
  if (!candidates.targets.defined()) throw NotApplicable("the labels of the candidates are not known");
}

// Of a sum of gradients over so many images, tried with a few: layers that share weights do more than their parameters
// say.
double seconds_of_pass(const TrainedNetwork& released, std::int64_t images) {
  constexpr std::int64_t few = 4;
  const Tensor tried = at::zeros({few, released.network->inputs()}, released.trained[0].options());
  const auto once = [&] {
    static_cast<void>(
        released.network->pullback(released.trained, tried, [](const Tensor& f) { return at::ones_like(f); }));
  };
  once();
  const auto start = std::chrono::steady_clock::now();
  once();
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
  return spent.count() * static_cast<double>(images) / few;
}

// A regression on so many images, and scores of so many.
Estimate estimate_of(const Settings& settings, const Subject& subject, std::int64_t regressed, std::int64_t scored) {
  constexpr double copies = 12, doubles = 2, ridges = 13;  // of the parameters; float64 against float32
  constexpr double passes = 4;                             // a sum of gradients and a derivative along it
  const auto& released = std::get<TrainedNetwork>(subject.released);
  const auto outputs = static_cast<double>(released.network->outputs());
  const double points = static_cast<double>(settings.along.size()), rows = static_cast<double>(regressed) * outputs;
  Estimate estimate;
  estimate.bytes = 8 * copies * static_cast<double>(released.trained.count());
  estimate.seconds = passes * points * seconds_of_pass(released, scored);
  if (!solves_exactly(released, regressed)) {
    estimate.seconds += passes * points * static_cast<double>(settings.steps) * seconds_of_pass(released, regressed);
    return estimate;
  }
  const auto width = static_cast<double>(released.trained.count());
  const double kernel = released.dense() != nullptr ? points * points * sizes_of(released).units : width;
  estimate.products = doubles * (ridges * rows * rows * rows / 3 + 2 * rows * rows * kernel);
  estimate.bytes += 8 * 4 * rows * rows;
  if (released.dense() == nullptr) {
    estimate.bytes += 8 * rows * width;
    estimate.seconds += 2 * doubles * points * outputs * seconds_of_pass(released, regressed);
  }
  return estimate;
}

Estimate estimate_pool(const Settings& settings, const Subject& subject, std::int64_t images) {
  return estimate_of(settings, subject, images + assumed_control, images + assumed_control);
}

Reconstruction run_pool(const Settings& settings, const Subject& subject, const HandOver&, Job& job) {
  Reconstruction result;
  result.evidence["threat_model"] =
      "the attacker holds a pool of records with their labels, among which all training records are";
  result.scoring_evidence = std::make_shared<nlohmann::ordered_json>();
  result.claim.membership = [settings, &subject, &job, evidence = result.scoring_evidence](const Candidates& pool) {
    const auto& released = std::get<TrainedNetwork>(subject.released);
    require_targets(pool);
    const Tensor weights = contrasts(pool.targets, released.network->outputs());
    job.progress.stage("tangent-membership: regression on the pool");
    const TangentPath path(released, settings.along, dtype_for(released, pool.images.size(0)));
    return (regressed(settings, path, subject, pool, job, *evidence).regression.coefficients * weights).sum(1);
  };
  return result;
}

Estimate estimate_background(const Settings& settings, const Subject& subject, std::int64_t images) {
  if (!subject.background.images.defined()) return {};
  return estimate_of(settings, subject, subject.background.images.size(0), images + assumed_control);
}

Reconstruction run_background(const Settings& settings, const Subject& subject, const HandOver&, Job& job) {
  const Candidates& background = subject.background;
  const std::int64_t count = background.images.defined() ? background.images.size(0) : 0;
  if (count < fewest_background) {
    return not_applicable(
        fmt::format("the control set's source has {} records beyond the control set, and at least {} are needed as a "
                    "background; name a larger source, or fewer --control-samples",
                    count, fewest_background));
  }
  const auto& released = std::get<TrainedNetwork>(subject.released);
  Reconstruction result;
  result.evidence["threat_model"] = fmt::format(
      "the attacker holds one record with its label, and {} others of the same source that nobody trained "
      "on",
      count);
  job.progress.stage("tangent-background: regression on the background");
  const auto path = std::make_shared<const TangentPath>(released, settings.along, dtype_for(released, count));
  const auto known =
      std::make_shared<const Regressed>(regressed(settings, *path, subject, background, job, result.evidence));
  result.claim.membership = [path, known, &subject, &progress = job.progress](const Candidates& pool) {
    require_targets(pool);
    return partial_t_values(*path, known->scale, subject.background.images, known->regression, pool.images,
                            contrasts(pool.targets, path->network.outputs()), progress);
  };
  return result;
}

constexpr const char* where_not = "networks of infinite width, which have no parameters";

}  // namespace

Attack tangent_membership_attack() {
  Attack attack;
  attack.name = "tangent-membership";
  attack.description =
      "tells members from others in a pool of candidates: the change of all parameters is regressed on the tangent "
      "features of the whole pool, and members carry the coefficients";
  attack.needs =
      "initial and trained parameters, architecture, a pool of candidates with labels that holds the members";
  attack.does_not_apply = where_not;
  attack.options = declared_options();
  attack.configure = configured_by(parse, estimate_pool, run_pool);
  return attack;
}

Attack tangent_background_attack() {
  Attack attack;
  attack.name = "tangent-background";
  attack.description =
      "tells whether one candidate was trained on: how far the change of all parameters goes along its tangent "
      "feature, after what public records of the same source explain is taken off both";
  attack.needs = "initial and trained parameters, architecture, one candidate with its label, public records";
  attack.does_not_apply = std::string(where_not) + "; fewer than 20 records beyond the control set";
  attack.options = declared_options();
  attack.configure = configured_by(parse, estimate_background, run_background);
  return attack;
}

}  // namespace afterimage
