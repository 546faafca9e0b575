// Membership by the tangent functional: its closed forms against explicit features, and what it tells on networks whose
// members are known.
#include "attacks/tangent_membership.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "attacks/scoring/score.h"
#include "attacks/solver/tangent_regression.h"
#include "models/foundations/error.h"
#include "models/mlp.h"
#include "tests/attacks/released.h"

namespace afterimage {
namespace {

constexpr std::int64_t pixels = 36, outputs = 3;

// The same network with nothing but what every network has.
class Undressed final : public Network {
 public:
  explicit Undressed(std::shared_ptr<const Network> inside)
      : Network(inside->signature()), inside_(std::move(inside)) {}
  std::optional<Parameters> draw_initial(Generator& random) const override { return inside_->draw_initial(random); }
  Parameters arranged(const Parameters& parameters, const std::string&) const override { return parameters; }
  Tensor evaluate(const Parameters& parameters, const Tensor& images) const override {
    return inside_->evaluate(parameters, images);
  }
  Sloped input_gradient(const Parameters& parameters, const Tensor& images, const Tensor& cotangents) const override {
    return inside_->input_gradient(parameters, images, cotangents);
  }
  Parameters pullback(const Parameters& parameters, const Tensor& images,
                      const std::function<Tensor(const Tensor&)>& cotangents) const override {
    return inside_->pullback(parameters, images, cotangents);
  }
  Tensor pushforward(const Parameters& parameters, const Parameters& direction, const Tensor& images) const override {
    return inside_->pushforward(parameters, direction, images);
  }
  std::unique_ptr<TangentTarget> tangents_at(const std::vector<Parameters>& points,
                                             const Parameters& drift) const override {
    return inside_->tangents_at(points, drift);
  }

 private:
  std::shared_ptr<const Network> inside_;
};

struct Trained {
  Subject subject;
  Truth truth;
};

Candidates drawn(std::int64_t count, Generator& random) {
  return {at::randn({count, pixels}, random, at::kFloat),
          at::one_hot(at::randint(0, outputs, {count}, random, at::kLong), outputs).to(at::kFloat)};
}

Trained trained_mlp(std::uint64_t seed, Recipe recipe, std::int64_t members = 40, bool innocent = false) {
  Generator random = seeded(seed);
  const auto network =
      std::make_shared<Mlp>(pixels, std::vector<std::int64_t>{48}, outputs, Parameterization::standard);
  const Candidates trained_on = drawn(members, random), strangers = drawn(members, random), others = drawn(200, random);
  recipe.loss = LossKind::cross_entropy;
  Silent silent;
  Trained result;
  auto& weights = released(result.subject);
  weights.network = network;
  weights.initial = network->draw_initial(random).value();
  weights.trained =
      train(*network, weights.initial, trained_on.images, trained_on.targets, recipe, random, silent).trained;
  result.subject.space = {{pixels}, at::zeros({pixels})};
  result.subject.loss = recipe.loss;
  result.subject.background = drawn(100, random);
  const Candidates& asked = innocent ? strangers : trained_on;
  result.truth = {asked.images, others.images, result.subject.space, asked.targets, others.targets};
  return result;
}

Recipe few_steps(Optimizer optimizer) {
  Recipe recipe;
  recipe.optimizer = optimizer;
  recipe.learning_rate = optimizer == Optimizer::adam ? 3e-3 : 0.05;
  recipe.batch = 10;
  recipe.max_steps = 40;
  recipe.until_loss = 0;
  return recipe;
}

struct Found {
  Membership membership;
  nlohmann::ordered_json evidence;
};

Found found_by(const std::string& attack, const Trained& trained,
               const std::map<std::string, std::string>& options = {}) {
  Generator random = seeded(1);
  Silent silent;
  NullStore no_store;
  Job job{random, silent, no_store};
  Reconstruction found = attack_named(attack).configured(options).run(trained.subject, {}, job);
  REQUIRE(found.status == Status::ok);
  const Membership membership = membership_of(membership_scores(found.claim, trained.truth, random));
  if (found.scoring_evidence) found.evidence.update(*found.scoring_evidence);
  return {membership, found.evidence};
}

// Every feature as a row, scaled, from one gradient each: [n C, P].
Tensor explicit_rows(const TangentPath& path, const ParameterScale& scale, const Tensor& images) {
  std::vector<Tensor> rows;
  for (std::int64_t i = 0; i < images.size(0); ++i) {
    for (std::int64_t c = 0; c < path.network.outputs(); ++c) {
      const Tensor unit = at::eye(path.network.outputs(), at::kDouble).narrow(0, c, 1);
      const Parameters feature = scale.times(path.combined(images.narrow(0, i, 1), unit));
      std::vector<Tensor> parts;
      for (const auto& [name, tensor] : feature.entries()) parts.push_back(tensor.flatten());
      rows.push_back(at::cat(parts));
    }
  }
  return at::stack(rows);
}

Tensor flat(const Parameters& parameters) {
  std::vector<Tensor> parts;
  for (const auto& [name, tensor] : parameters.entries()) parts.push_back(tensor.flatten());
  return at::cat(parts);
}

double error(const Tensor& a, const Tensor& b) { return ((a - b).norm() / b.norm()).item<double>(); }

}  // namespace

TEST_CASE("the regression on a pool is ridge regression on explicit features, solved exactly and by steps") {
  Trained trained = trained_mlp(1, few_steps(Optimizer::adam), 12);
  const std::vector<double> along = GENERATE(std::vector<double>{0.5}, std::vector<double>{0.1, 0.9});
  const TangentPath path(released(trained.subject), along, at::kDouble);
  Generator random = seeded(2);
  Silent silent;
  const Candidates pool(trained.truth.training, trained.truth.training_targets);
  for (const auto& scale : {plain_scale(path), adam_scale(path, LossKind::cross_entropy, pool, random)}) {
    const TangentRegression exact = regress_exactly(path, scale, pool.images);
    const Tensor rows = explicit_rows(path, scale, pool.images), h = flat(scale.over(path.drift));
    Tensor kernel = at::mm(rows, rows.t());
    kernel.diagonal().add_(exact.ridge * kernel.diagonal().mean().item<double>());
    const Tensor expected = at::linalg_solve(kernel, at::mv(rows, h)).view_as(exact.coefficients);
    CHECK(error(exact.coefficients, expected) < 1e-8);
    const Tensor left = h - at::mv(rows.t(), expected.flatten());
    CHECK(exact.relative_residual == Approx((left.norm() / h.norm()).square().item<double>()).epsilon(1e-6));
    const TangentRegression stepped = regress_by_steps(path, scale, pool.images, 1000, exact.ridge, silent);
    // The ridge is relative to a mean diagonal that is estimated.
    CHECK(error(stepped.coefficients, expected) < 0.05);
    CHECK(stepped.relative_residual == Approx(exact.relative_residual).epsilon(0.05));
  }
}

TEST_CASE("the ridge is the one under which the change is most likely") {
  Trained trained = trained_mlp(3, few_steps(Optimizer::sgd), 8);
  const TangentPath path(released(trained.subject), {0.5}, at::kDouble);
  const ParameterScale scale = plain_scale(path);
  const Tensor rows = explicit_rows(path, scale, trained.truth.training), h = flat(scale.over(path.drift));
  const double diagonal = at::mm(rows, rows.t()).diagonal().mean().item<double>();
  // ln N(h; 0, v (1 + rows^T rows / r)) at the best v, with the covariance as it is: P by P.
  const auto evidence = [&](double ridge) {
    const Tensor covariance = at::eye(h.size(0), at::kDouble) + at::mm(rows.t(), rows) / (ridge * diagonal);
    const Tensor factor = at::linalg_cholesky(covariance);
    const double count = static_cast<double>(h.size(0));
    const double fit = at::linalg_solve_triangular(factor, h.unsqueeze(1), false).square().sum().item<double>();
    return -0.5 * (count * std::log(fit / count) + 2 * factor.diagonal().log().sum().item<double>());
  };
  const double chosen = regress_exactly(path, scale, trained.truth.training).ridge;
  for (double exponent = -1; exponent >= -7; exponent -= 1) CHECK(evidence(chosen) >= evidence(std::pow(10, exponent)));
}

TEST_CASE("t-values of candidates are those of explicit features less what the background explains") {
  Trained trained = trained_mlp(4, few_steps(Optimizer::sgd), 10);
  Silent silent;
  const Tensor background = trained.subject.background.images.narrow(0, 0, 20), images = trained.truth.training;
  Generator random = seeded(3);
  const Tensor weights = at::randn({images.size(0), outputs}, random, at::kDouble);
  const TangentPath path(released(trained.subject), {0.2, 0.7}, at::kDouble);
  const ParameterScale scale = adam_scale(path, {}, trained.subject.background, random);
  const TangentRegression regression = regress_exactly(path, scale, background);
  const Tensor values = partial_t_values(path, scale, background, regression, images, weights, silent);

  const Tensor known = explicit_rows(path, scale, background), h = flat(scale.over(path.drift));
  const Tensor rows = explicit_rows(path, scale, images).view({images.size(0), outputs, -1});
  const Tensor psi = (rows * weights.unsqueeze(2)).sum(1);
  Tensor kernel = at::mm(known, known.t());
  kernel.diagonal().add_(regression.ridge * kernel.diagonal().mean().item<double>());
  const auto left_of = [&](const Tensor& columns) {  // columns [P, k]
    return columns - at::mm(known.t(), at::linalg_solve(kernel, at::mm(known, columns)));
  };
  const Tensor left = left_of(psi.t());
  const Tensor expected = at::mv(psi, left_of(h.unsqueeze(1)).squeeze(1)) / (psi.t() * left).sum(0).sqrt();
  CHECK(error(values, expected) < 1e-7);
}

TEST_CASE("a network of which only the interface is known gets the same scores as a dense one") {
  const Trained dense = trained_mlp(5, few_steps(Optimizer::adam), 20);
  Trained other = dense;
  released(other.subject).network = std::make_shared<Undressed>(released(other.subject).network);
  for (const char* attack : {"tangent-membership", "tangent-background"}) {
    CHECK(found_by(attack, dense).membership.auc == found_by(attack, other).membership.auc);
  }
}

TEST_CASE(
    "members are told from others after a few steps of Adam and of SGD, each in its own metric, and by loss less") {
  for (const auto optimizer : {Optimizer::adam, Optimizer::sgd}) {
    double pool = 0, background = 0, loss = 0;
    constexpr int seeds = 3;
    for (std::uint64_t seed = 20; seed < 20 + seeds; ++seed) {
      const Trained trained = trained_mlp(seed, few_steps(optimizer));
      const Found by_pool = found_by("tangent-membership", trained);
      CHECK(by_pool.evidence["scaling"] == (optimizer == Optimizer::adam ? "adam" : "plain"));
      CHECK(by_pool.evidence["steps"] == 0);
      pool += by_pool.membership.auc / seeds;
      background += found_by("tangent-background", trained).membership.auc / seeds;
      loss += found_by("loss", trained).membership.auc / seeds;
    }
    CHECK(pool > 0.95);
    CHECK(background > 0.85);
    CHECK(pool > loss);
  }
}

TEST_CASE("strangers are not told from others: neither the order of the pool nor its labels tell them") {
  int outside = 0;
  double pool = 0, background = 0;
  constexpr int seeds = 12;
  for (std::uint64_t seed = 40; seed < 40 + seeds; ++seed) {
    const Trained trained = trained_mlp(seed, few_steps(Optimizer::adam), 40, /*innocent=*/true);
    for (const char* attack : {"tangent-membership", "tangent-background"}) {
      const double auc = found_by(attack, trained).membership.auc;
      // Two-sided 95 % of Mann and Whitney's statistic for 40 and 200: its deviation is 0.05.
      outside += std::abs(auc - 0.5) > 1.96 * std::sqrt(241.0 / (12 * 40 * 200)) ? 1 : 0;
      (std::string(attack) == "tangent-membership" ? pool : background) += auc / seeds;
    }
  }
  CHECK(outside <= 4);  // of 24, at 5 % each: more once in 75 times
  CHECK(std::abs(pool - 0.5) < 0.05);
  CHECK(std::abs(background - 0.5) < 0.05);
}

TEST_CASE("what was frozen is left out, and what carries no gradient does no harm") {
  Recipe recipe = few_steps(Optimizer::sgd);
  recipe.frozen = {"fc1"};
  const Trained trained = trained_mlp(6, recipe);
  const TangentPath path(*trained.subject.trained_network(), {0.5}, at::kDouble);
  const ParameterScale scale = plain_scale(path);
  CHECK_FALSE(scale.includes(0));
  CHECK_FALSE(scale.includes(1));
  CHECK(path.parameters == 48 * outputs + outputs);
  CHECK(found_by("tangent-background", trained).membership.auc > 0.6);
}

TEST_CASE("the tangent attacks say where they do not apply") {
  Trained trained = trained_mlp(7, few_steps(Optimizer::sgd));
  trained.subject.background = {};
  Generator random = seeded(1);
  Silent silent;
  NullStore no_store;
  Job job{random, silent, no_store};
  const Reconstruction without = tangent_background_attack().configured().run(trained.subject, {}, job);
  CHECK(without.status == Status::not_applicable);
  CHECK(without.reason.find("control-samples") != std::string::npos);
  const Reconstruction pool = tangent_membership_attack().configured().run(trained.subject, {}, job);
  CHECK_THROWS_AS(pool.claim.membership(trained.truth.training), NotApplicable);                       // no labels
  CHECK_THROWS_AS(pool.claim.membership({trained.truth.training, at::ones({40, 2})}), NotApplicable);  // 3 outputs
  CHECK_THROWS_AS(tangent_membership_attack().configured({{"membership-tangents", "2"}}), UsageError);
  CHECK_THROWS_AS(tangent_membership_attack().configured({{"membership-scaling", "best"}}), UsageError);
}

TEST_CASE("scores by loss, against the start, and by margin are what their names say") {
  const Trained trained = trained_mlp(8, few_steps(Optimizer::adam));
  const auto& weights = *trained.subject.trained_network();
  Generator random = seeded(1);
  Silent silent;
  NullStore no_store;
  Job job{random, silent, no_store};
  const Candidates one(trained.truth.training.narrow(0, 0, 1), trained.truth.training_targets.narrow(0, 0, 1));
  const auto score = [&](const char* name) {
    return attack_named("loss")
        .configured({{"loss-score", name}})
        .run(trained.subject, {}, job)
        .claim.membership(one)
        .item<double>();
  };
  const auto loss_at = [&](const Parameters& parameters) {
    return loss_of(LossKind::cross_entropy, weights.network->evaluate(parameters, one.images), one.targets);
  };
  CHECK(score("loss") == Approx(-loss_at(weights.trained)).epsilon(1e-5));
  CHECK(score("base") == Approx(loss_at(weights.initial) - loss_at(weights.trained)).epsilon(1e-4));
  const Tensor f = weights.network->evaluate(weights.trained, one.images)[0];
  const auto label = one.targets[0].argmax().item<std::int64_t>();
  double other = -1e30;
  for (std::int64_t c = 0; c < outputs; ++c) other = c == label ? other : std::max(other, f[c].item<double>());
  CHECK(score("margin") == Approx(f[label].item<double>() - other).epsilon(1e-5));
}

TEST_CASE("scores against references are those of their formulas") {
  Trained trained = trained_mlp(9, few_steps(Optimizer::adam));
  for (std::uint64_t seed = 60; seed < 63; ++seed) {
    trained.subject.references.push_back(released(trained_mlp(seed, few_steps(Optimizer::adam)).subject).trained);
  }
  const auto& weights = *trained.subject.trained_network();
  Generator random = seeded(1);
  Silent silent;
  NullStore no_store;
  Job job{random, silent, no_store};
  const Candidates pool(trained.truth.training.narrow(0, 0, 5), trained.truth.training_targets.narrow(0, 0, 5));
  const auto scores = [&](const char* name, const std::map<std::string, std::string>& options = {}) {
    return attack_named(name).configured(options).run(trained.subject, {}, job).claim.membership(pool);
  };
  const auto probability = [&](const Parameters& parameters, std::int64_t i) {
    const Tensor p = at::softmax(weights.network->evaluate(parameters, pool.images).to(at::kDouble), 1);
    return p[i][pool.targets[i].argmax()].item<double>();
  };
  const Tensor lira = scores("lira"), rmia = scores("rmia", {{"rmia-offline-a", "0.5"}});
  const auto log_odds = [](double p) { return std::log(p / (1 - p)); };
  double variance = 0;  // pooled
  std::vector<double> means(5), outs(5);
  for (std::int64_t i = 0; i < 5; ++i) {
    const auto k = static_cast<std::size_t>(i);
    for (const auto& reference : trained.subject.references) {
      means[k] += log_odds(probability(reference, i)) / 3;
      outs[k] += probability(reference, i) / 3;
    }
    for (const auto& reference : trained.subject.references) {
      variance += std::pow(log_odds(probability(reference, i)) - means[k], 2) / 2 / 5;
    }
  }
  for (std::int64_t i = 0; i < 5; ++i) {
    const auto k = static_cast<std::size_t>(i);
    const double p = probability(weights.trained, i);
    CHECK(lira[i].item<double>() == Approx((log_odds(p) - means[k]) / std::sqrt(variance)).epsilon(1e-4));
    CHECK(rmia[i].item<double>() == Approx(std::log(p / ((1.5 * outs[k] + 0.5) / 2))).epsilon(1e-4));
  }
  trained.subject.references.clear();
  CHECK(attack_named("lira").configured().run(trained.subject, {}, job).status == Status::not_applicable);
}

}  // namespace afterimage
