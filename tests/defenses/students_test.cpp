#include <catch2/catch.hpp>

#include "defenses/baselines.h"
#include "defenses/pseudo_subclasses.h"
#include "defenses/student_objectives.h"
#include "models/architectures.h"
#include "models/foundations/error.h"
#include "models/mlp.h"
#include "tests/defenses/defended.h"
#include "tests/models/finite_differences.h"

namespace afterimage {
namespace {

// Two classes, of which each lies along directions of its own.
Undefended two_classes(Generator& random, std::int64_t images = 40) {
  Undefended undefended;
  undefended.network = make_network("mlp:32", "standard", 10, 1);
  undefended.initial = undefended.network->draw_initial(random).value();
  undefended.images = at::randn({images, 10}, random, at::kFloat);
  const Tensor classes = at::arange(images, at::kLong).remainder(2);
  undefended.images.select(1, 0).add_((classes * 2 - 1) * 2);
  undefended.targets = (classes * 2 - 1).to(at::kFloat).unsqueeze(1);
  undefended.space = {{10}, at::zeros({10}), -10, 10};
  undefended.recipe.loss = LossKind::logistic;
  undefended.recipe.learning_rate = 0.1;
  undefended.recipe.max_steps = 300;
  undefended.recipe.until_loss = 1e-3;
  undefended.others = at::randn({30, 10}, random, at::kFloat);
  return undefended;
}

void check_gradient(const Objective& objective, const Tensor& outputs) {
  const Tensor slopes = differences(outputs, 1e-6, [&](const Tensor& at) { return objective.loss(at); });
  CHECK(at::allclose(objective.cotangents(outputs, {}), slopes, 1e-6, 1e-8));
}

}  // namespace

TEST_CASE("a student's loss is zero at the teacher's outputs and has the gradient of finite differences") {
  Generator random = seeded(1);
  const Tensor logits = at::randn({5, 3}, random, at::kDouble) * 3;
  const Tensor labels = at::one_hot(at::tensor({0, 1, 2, 1, 0}, at::kLong), 3).to(at::kDouble);
  const Tensor outputs = at::randn({5, 3}, random, at::kDouble);
  for (const double temperature : {0.5, 1.0, 4.0}) {
    CHECK(student_objective(logits, labels, temperature, 0).loss(logits) == Approx(0).margin(1e-12));
    for (const double share : {0.0, 0.3, 1.0}) {
      check_gradient(student_objective(logits, labels, temperature, share), outputs);
    }
  }
  // Labels alone: cross-entropy, whatever the teacher says.
  CHECK(student_objective(logits, labels, 4, 1).loss(outputs) ==
        Approx(loss_of(LossKind::cross_entropy, outputs, labels)));
  // A batch has the cotangents of its rows, as shares of its own number.
  const Objective objective = student_objective(logits, labels, 2, 0.5);
  const Tensor rows = at::tensor({3, 1}, at::kLong);
  const Tensor of_rows = objective.cotangents(outputs.index_select(0, rows), rows);
  CHECK(at::allclose(of_rows * 2, objective.cotangents(outputs, {}).index_select(0, rows) * 5));
}

TEST_CASE("matching embeddings adds half their weighted mean square, with the gradient of finite differences") {
  Generator random = seeded(8);
  const Tensor logits = at::randn({5, 3}, random, at::kDouble),
               labels = at::one_hot(at::arange(5).remainder(3), 3).to(at::kDouble);
  const Tensor embeddings = at::randn({5, 4}, random, at::kDouble), outputs = at::randn({5, 7}, random, at::kDouble);
  const Objective classes = student_objective(logits, labels, 2, 0),
                  both = with_embeddings(classes, embeddings, 3, 0.7);
  check_gradient(both, outputs);
  CHECK(both.loss(at::cat({logits, embeddings}, 1)) == Approx(0).margin(1e-12));
  const double missed = (outputs.narrow(1, 3, 4) - embeddings).square().mean().item<double>();
  CHECK(both.loss(outputs) == Approx(classes.loss(outputs.narrow(1, 0, 3)) + 0.7 * missed / 2));
}

TEST_CASE("a teacher's subclass loss is that of its formula, with the gradient of finite differences") {
  Generator random = seeded(2);
  const Tensor outputs = at::randn({4, 6}, random, at::kDouble);
  const Tensor labels = at::one_hot(at::tensor({0, 1, 1, 0}, at::kLong), 2).to(at::kDouble);
  for (const double weight : {0.0, 1.0, 3.0}) check_gradient(subclass_objective(labels, 3, weight), outputs);
  // Term by term.
  const Tensor probabilities = at::softmax(outputs, 1);
  double expected = 2;  // the weight, over T = 1
  for (int i = 0; i < 4; ++i) {
    const int label = i == 0 || i == 3 ? 0 : 1;
    double own = 0;
    for (int s = 0; s < 3; ++s) own += probabilities[i][3 * label + s].item<double>();
    expected -= std::log(own) / 4;
    const auto normal = [&](int row) {
      const Tensor centred = outputs[row] - outputs[row].mean();
      return centred / centred.square().mean().sqrt();
    };
    double all = 0;
    for (int j = 0; j < 4; ++j) all += std::exp(at::dot(normal(i), normal(j)).item<double>() / 6) / 4;
    expected -= 2 * std::log(std::exp(at::dot(normal(i), normal(i)).item<double>() / 6) / all) / 4;
  }
  CHECK(subclass_objective(labels, 3, 2).loss(outputs) == Approx(expected));
}

TEST_CASE("a teacher's subclass loss is never below zero, so that it does not end training") {
  Generator random = seeded(9);
  const Tensor labels = at::one_hot(at::arange(12).remainder(2), 2).to(at::kDouble);
  for (const double size : {0.1, 1.0, 30.0}) {
    const Tensor outputs = at::randn({12, 6}, random, at::kDouble) * size;
    CHECK(subclass_objective(labels, 3, 100).loss(outputs) > 0);
    CHECK(subclass_objective(labels, 3, 100).loss(at::cat({outputs, -outputs}).narrow(0, 6, 12)) > 0);
  }
}

TEST_CASE("pseudo-subclasses split each class along its principal directions beside those that tell classes") {
  Generator random = seeded(3);
  const Tensor labels = at::arange(60, at::kLong).remainder(2), weights = at::randn({2, 8}, random, at::kDouble);
  const Tensor embeddings = at::mm(at::randn({60, 8}, random, at::kDouble), at::diag(at::arange(1, 9).to(at::kDouble)));
  const PseudoSubclasses made(embeddings, labels, 2, weights, {6, 0.7}, random);
  for (std::int64_t label = 0; label < 2; ++label) {
    const Tensor directions = made.directions()[static_cast<std::size_t>(label)];
    REQUIRE(directions.sizes() == at::IntArrayRef({3, 8}));
    CHECK(at::mm(directions, weights.t()).abs().max().item<double>() < 1e-10);
    const Tensor own = embeddings.index_select(0, at::nonzero(labels == label).squeeze(1));
    const Tensor centred = own - own.mean(0);
    CHECK(at::mm(centred, directions.t()).square().mean().item<double>() == Approx(1));
    // The same subspace as the leading eigenvectors of the covariance there, found another way.
    const Tensor basis = std::get<0>(at::linalg_qr(weights.t()));
    const Tensor left = centred - at::mm(at::mm(centred, basis), basis.t());
    const Tensor leading = std::get<1>(at::linalg_eigh(at::mm(left.t(), left))).slice(1, 5);
    const Tensor unit = directions / directions.norm(2, 1, /*keepdim=*/true);
    CHECK(at::allclose(at::mm(unit, leading).norm(2, 1), at::ones({3}, at::kDouble)));
    CHECK(at::allclose(at::mm(unit, unit.t()), at::eye(3, at::kDouble), 0, 1e-10));
  }
  const Tensor membership = made.membership(embeddings);
  CHECK(at::allclose(membership.sum(2), at::ones({60, 2}, at::kDouble)));
  // The image mirrored at the class mean has the opposite membership.
  const Tensor mean = embeddings.index_select(0, at::nonzero(labels == 1).squeeze(1)).mean(0);
  const Tensor mirrored = made.membership((mean * 2 - embeddings[0]).unsqueeze(0))[0][1];
  CHECK(at::allclose(mirrored, membership[0][1].roll(3)));
  // Summed over subclasses the targets are the teacher's.
  const Tensor probabilities = at::softmax(at::randn({60, 2}, random, at::kDouble), 1);
  CHECK(at::allclose(made.targets(probabilities, embeddings).view({60, 2, 6}).sum(2), probabilities));

  CHECK_THROWS_WITH(PseudoSubclasses(embeddings.narrow(0, 0, 6), labels.narrow(0, 0, 6), 2, weights, {6, 1}, random),
                    Catch::Contains("ask for fewer subclasses"));
}

TEST_CASE("class outputs are logarithms of sums over subclasses, and their difference where targets have one column") {
  const Tensor outputs = at::tensor({0.0, 1.0, 2.0, -1.0}, at::kDouble).view({1, 4});
  const double first = std::log(1 + std::exp(1.0)), second = std::log(std::exp(2.0) + std::exp(-1.0));
  CHECK(at::allclose(class_outputs(outputs, 2, 2), at::tensor({first, second}, at::kDouble).view({1, 2})));
  CHECK(class_outputs(outputs, 2, 1).item<double>() == Approx(second - first));
  CHECK(at::equal(class_outputs(outputs, 1, 4), outputs));
}

TEST_CASE("students of every kind learn the teacher's classes and have the outputs that they say") {
  Generator random = seeded(4);
  const Undefended undefended = two_classes(random);
  const auto check = [&](const std::string& name, std::map<std::string, std::string> given, std::int64_t subclasses) {
    CAPTURE(name, given);
    given.insert({{"student", "16"}, {"steps", "400"}});
    const Release released = defended_by(name, undefended, given);
    REQUIRE(released.student);
    CHECK(released.student->network->architecture() == "mlp:16");
    CHECK(released.student->subclasses == subclasses);
    CHECK(released.student->network->outputs() == 2 * subclasses);
    CHECK(released.student->initial.size() == released.training.trained.size());
    CHECK_FALSE(at::equal(released.student->initial[0], released.training.trained[0]));
    CHECK(released.evidence["agreement_with_teacher"].get<double>() > 0.9);
    const Tensor outputs = released.student->network->evaluate(released.training.trained, undefended.images);
    CHECK(accuracy(class_outputs(outputs, subclasses, 1), undefended.targets) > 0.9);
    CHECK_FALSE(released.support.images.defined());
  };
  check("lelp", {}, 4);
  check("lelp", {{"subclasses", "6"}}, 6);
  check("distilled-student", {}, 1);
  check("distilled-student", {{"learns", "labels"}}, 1);
  check("distilled-student", {{"learns", "embeddings"}}, 1);
  check("distilled-student", {{"learns", "subclasses"}, {"subclasses", "3"}}, 3);
}

TEST_CASE("a student of public or distilled images is trained on these and never sees the private ones") {
  Generator random = seeded(5);
  const Undefended undefended = two_classes(random);
  const Release of_public = defended_by("lelp", undefended, {{"images", "public"}, {"public-images", "20"}});
  CHECK(at::equal(of_public.support.images, undefended.others.narrow(0, 0, 20)));
  CHECK(of_public.support.targets.sizes() == at::IntArrayRef({20, 1}));
  // Every change of a student's first layer lies in the span of the public images.
  Undefended few = undefended;
  few.others = undefended.others.narrow(0, 0, 4);
  const Release of_four = defended_by("distilled-student", few, {{"images", "public"}, {"steps", "200"}});
  const Tensor moved = (of_four.training.trained[0] - of_four.student->initial[0]).to(at::kDouble);
  const Tensor basis = std::get<0>(at::linalg_qr(few.others.to(at::kDouble).t()));
  CHECK((moved - at::mm(at::mm(moved, basis), basis.t())).norm().item<double>() < 1e-4 * moved.norm().item<double>());
  CHECK(moved.norm().item<double>() > 0);

  const Release of_distilled =
      defended_by("lelp", undefended, {{"images", "distilled"}, {"per-class", "3"}, {"distillation-steps", "50"}});
  CHECK(of_distilled.support.images.size(0) == 6);
}

TEST_CASE("what a student cannot learn from is refused before any work") {
  struct Stages final : Progress {
    void stage(std::string_view) override { ++count; }
    void step(std::int64_t, std::int64_t, std::string_view) override {}
    int count = 0;
  };
  Generator random = seeded(6);
  const auto refused = [&](const std::string& name, const std::map<std::string, std::string>& given,
                           const Undefended& undefended, const std::string& why) {
    CAPTURE(name, given);
    Stages progress;
    NullStore store;
    Generator own = seeded(3);
    Job job{own, progress, store};
    const auto attempt = [&] { return defense_named(name).configured(given).release(undefended, job); };
    CHECK_THROWS_AS(attempt(), UsageError);
    CHECK_THROWS_WITH(attempt(), Catch::Contains(why));
    CHECK(progress.count == 0);
  };
  const Undefended plain = two_classes(random);
  refused("lelp", {{"subclasses", "3"}}, plain, "has to be even");
  refused("lelp", {{"student", "0"}}, plain, "0");
  refused("lelp", {{"subclasses", "64"}}, plain, "ask for fewer subclasses");
  Undefended squared = plain;
  squared.recipe.loss = LossKind::squared;
  refused("lelp", {}, squared, "--loss squared: lelp needs a teacher whose outputs are probabilities");
  refused("distilled-student", {}, squared, "logistic or cross-entropy");
  Undefended linear = plain;
  linear.network = make_network("linear", "standard", 10, 1);
  linear.initial = linear.network->draw_initial(random).value();
  refused("lelp", {}, linear, "learns from embeddings");
  refused("distilled-student", {{"learns", "embeddings"}}, linear, "learns from embeddings");
  refused("lelp", {{"student", "convnet:4"}}, plain, "reads pictures");
  refused("lelp", {{"student", "torchscript:network.pt"}}, plain, "comes with its weights");
  Undefended alone = plain;
  alone.others = Tensor();
  refused("distilled-student", {{"images", "public"}}, alone, "use training or distilled");
}

TEST_CASE("convolutional and recurrent teachers and students are taught by every way") {
  Generator random = seeded(5);
  Undefended pictures = two_classes(random);
  pictures.images = at::cat({pictures.images, at::randn({40, 26}, random, at::kFloat)}, 1);
  pictures.space = {{6, 6}, at::zeros({36}), -10, 10};
  pictures.recipe.learning_rate = 0.05;
  struct Case {
    std::string teacher, student, defense, learns;
  };
  const std::vector<Case> cases = {{"convnet:4,8", "convnet:2,4", "lelp", ""},
                                   {"convnet:4,8", "16", "distilled-student", "embeddings"},
                                   {"rnn:12", "cfc:6,rank=2", "lelp", ""},
                                   {"mlp:24", "convnet:4", "distilled-student", "subclasses"},
                                   {"gru:6", "low-rank-mlp:8,8,rank=2", "distilled-student", "probabilities"}};
  for (const auto& [teacher, student, defense, learns] : cases) {
    CAPTURE(teacher, student, defense);
    Undefended undefended = pictures;
    undefended.network = make_network_for(teacher, "standard", {6, 6}, 1);
    undefended.initial = undefended.network->draw_initial(random).value();
    std::map<std::string, std::string> given = {{"student", student}};
    if (!learns.empty()) given["learns"] = learns;
    Silent silent;
    NullStore store;
    Generator own = seeded(6);
    Job job{own, silent, store};
    const Release release = defense_named(defense).configured(given).release(undefended, job);
    REQUIRE(release.student);
    const Tensor outputs = class_outputs(release.student->network->evaluate(release.training.trained, pictures.images),
                                         release.student->subclasses, 1);
    CHECK(accuracy(outputs, pictures.targets) > 0.9);
    CHECK(release.evidence["teacher"]["architecture"] == teacher);
    const std::string named = student == "16" ? "mlp:16" : student;
    CHECK(release.student->network->architecture() == named);
  }
}

}  // namespace afterimage
