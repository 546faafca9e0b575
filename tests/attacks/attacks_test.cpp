#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "attacks/attack.h"
#include "attacks/scoring/score.h"
#include "attacks/solver/capacity.h"
#include "attacks/solver/row_span.h"
#include "attacks/solver/search_history.h"
#include "models/foundations/error.h"
#include "models/mlp.h"
#include "tests/attacks/recorder.h"
#include "tests/attacks/released.h"

namespace afterimage {
namespace {

constexpr std::int64_t pixels = 36, images_count = 5;

// A network trained on a few random pictures, and pictures that it was not trained on.
struct Trained {
  Subject subject;
  Truth truth;
};

Trained trained_network(const Recipe& recipe, std::int64_t outputs = 1,
                        const std::vector<std::int64_t>& widths = {256, 256}, bool grey = false) {
  Generator random = seeded(11);
  const auto network = std::make_shared<Mlp>(pixels, widths, outputs, Parameterization::standard);
  const auto pictures = [&](std::int64_t count) {
    const Tensor all = at::rand({count, pixels}, random, at::kFloat);
    if (grey) return all.mul(0.8).add_(0.1);
    return all.mul(at::rand({count, pixels}, random, at::kFloat) > 0.5);  // half black, as pictures are
  };
  const Tensor training = pictures(images_count), mean = training.mean(0);
  const Tensor targets = outputs == 1
                             ? (at::arange(images_count).remainder(2) * 2 - 1).to(at::kFloat).unsqueeze(1)
                             : at::one_hot(at::arange(images_count).remainder(outputs), outputs).to(at::kFloat);
  Trained result;
  released(result.subject).network = network;
  released(result.subject).initial = network->draw_initial(random).value();
  Silent silent;
  released(result.subject).trained =
      train(*network, released(result.subject).initial, training - mean, targets, recipe, random, silent).trained;
  result.subject.space = {{6, 6}, mean};
  result.subject.loss = recipe.loss;
  result.truth = {training - mean, pictures(400) - mean, result.subject.space};
  return result;
}

Recipe squared_recipe() {
  Recipe recipe;
  recipe.learning_rate = 0.01;
  recipe.max_steps = 20000;
  return recipe;
}

Reconstruction attack(const std::string& name, const Subject& subject, std::map<std::string, std::string> options,
                      StateStore& store) {
  Generator random = seeded(1);
  Silent silent;
  Job job{random, silent, store};
  return attack_named(name).configured(options).run(subject, {}, job);
}

Reconstruction attack(const std::string& name, const Subject& subject,
                      std::map<std::string, std::string> options = {}) {
  NullStore no_store;
  return attack(name, subject, std::move(options), no_store);
}

double relative_error(const Tensor& a, const Tensor& b) { return ((a - b).norm() / b.norm()).item<double>(); }

Score scored(const Reconstruction& found, const Truth& truth) {
  Generator random = seeded(2);
  return score(found.claim, truth, random);
}

}  // namespace

TEST_CASE("the span probe counts the training images and tells all of them from others") {
  const Trained trained = trained_network(squared_recipe());
  const Reconstruction found = attack("span", trained.subject);
  CHECK(found.status == Status::ok);
  CHECK(found.evidence["rank"] == images_count - 1);
  CHECK(scored(found, trained.truth).membership->auc == 1.0);
}

TEST_CASE("the vertices attack finds training images exactly, and those that it confirms are right") {
  Recipe logistic = squared_recipe();
  logistic.loss = LossKind::logistic;
  logistic.batch = 2;
  logistic.max_steps = 300;
  for (const Recipe& recipe : {squared_recipe(), logistic}) {
    const Trained trained = trained_network(recipe);
    const Reconstruction found = attack("vertices", trained.subject);
    CHECK(found.status == Status::ok);
    const Score score = scored(found, trained.truth);
    CHECK(score.reconstructed->count >= images_count - 1);
    REQUIRE(score.confirmed);
    CHECK(*score.confirmed >= images_count - 1);
    CHECK(score.confirmed_right == score.confirmed);
    CHECK(*score.mean_relative_distance < 0.01);
  }
}

TEST_CASE("images that an earlier attack confirmed are not searched for again, in either precision") {
  const std::string dtype = GENERATE("float32", "float64");
  const Trained trained = trained_network(squared_recipe());
  const ConfiguredAttack finite = attack_named("finite-width").configured({{"steps", "200"}, {"dtype", dtype}});
  Generator random = seeded(1);
  Silent silent;
  NullStore no_store;
  Job job{random, silent, no_store};
  const HandOver hand_over{trained.truth.training.slice(0, 0, 3), {}};
  const auto found = finite.run(trained.subject, hand_over, job);
  CHECK(relative_error(found.claim.images.slice(0, 0, 3), hand_over.confirmed) < 1e-4);
  CHECK(found.claim.confirmed.slice(0, 0, 3).all().item<bool>());
}

TEST_CASE("as many images are determined as the changed parameters outnumber unknowns") {
  const Trained trained = trained_network(squared_recipe());
  const Capacity capacity = capacity_of(released(trained.subject));
  CHECK(capacity.equations <= released(trained.subject).trained.count());
  CHECK(capacity.equations >
        released(trained.subject).trained.count() / 2);  // units that no image activates stay as they were
  CHECK(capacity.unknowns == pixels + 1);
  CHECK_FALSE(capacity.last_layer_only);

  CHECK(capacity_of(released(trained_network(squared_recipe(), 1, {3}).subject)).images() < images_count);
}

TEST_CASE("where only the last layer was trained, tangent attacks say so and how many images it can determine") {
  Subject subject = trained_network(squared_recipe()).subject;
  Parameters trained = released(subject).initial.clone();
  trained.at("fc3.weight").add_(at::ones_like(trained.at("fc3.weight")), 0.1);
  released(subject).trained = trained;
  CHECK(capacity_of(released(subject)).last_layer_only);
  const Reconstruction found = attack("finite-width", subject);
  CHECK(found.status == Status::not_applicable);
  CHECK(found.reason.find("only the last layer") != std::string::npos);
}

TEST_CASE("an attack that is interrupted at any step resumes to the same result") {
  // A part of the wide layer's neurons is drawn again every few steps.
  const std::vector<std::int64_t> widths =
      GENERATE(std::vector<std::int64_t>{256, 256}, std::vector<std::int64_t>{32, 1024});
  // No grey image is confirmed, so the search after the rounds is interrupted too.
  const bool grey = GENERATE(false, true);
  const Trained trained = trained_network(squared_recipe(), 1, widths, grey);
  for (const std::map<std::string, std::string>& options :
       {std::map<std::string, std::string>{{"steps", "30"}, {"rounds", "2"}},
        {{"steps", "24"}, {"rounds", "0"}, {"restarts", "2"}},
        {{"steps", "24"}, {"space", "pixels"}}}) {
    Recorder recorder;
    const Reconstruction whole = attack("finite-width", trained.subject, options, recorder);
    REQUIRE(recorder.states.size() > 20);
    const bool has_rounds = options.contains("rounds") && options.at("rounds") != "0";
    CHECK(whole.evidence.contains("neurons_at_a_time") == (widths.back() == 1024 && has_rounds));
    for (std::size_t i = 1; i < recorder.states.size(); i += recorder.states.size() / 9) {
      Recorder from(recorder.states[i]);
      const Reconstruction resumed = attack("finite-width", trained.subject, options, from);
      CAPTURE(i);
      CHECK(at::equal(resumed.claim.images, whole.claim.images));
      CHECK(resumed.iterations == whole.iterations);
      CHECK(resumed.loss_initial == whole.loss_initial);
      CHECK(resumed.evidence == whole.evidence);
      CHECK(from.states.size() < recorder.states.size());
    }
  }
}

TEST_CASE("the row space is found whatever the loss, the batch order and the weight decay") {
  Recipe recipe = squared_recipe();
  recipe.batch = 2;
  recipe.weight_decay = 0.01;
  recipe.max_steps = 300;
  recipe.until_loss = 0;
  for (const auto loss : {LossKind::squared, LossKind::logistic}) {
    recipe.loss = loss;
    const Trained trained = trained_network(recipe);
    const Reconstruction found = attack("span", trained.subject);
    REQUIRE(found.status == Status::ok);
    CHECK(scored(found, trained.truth).membership->auc == 1.0);
    CHECK(found.evidence["weight_decay_factor"].get<double>() < 0.999);
  }
}

TEST_CASE("a planted row space and decay factor are recovered") {
  Generator random = seeded(4);
  const Tensor initial = at::randn({80, 60}, random, at::kDouble);
  const Tensor rows = at::randn({7, 60}, random, at::kDouble);
  for (const double decay : {1.0, 0.9, 0.5}) {
    const Tensor trained = decay * initial + at::mm(at::randn({80, 7}, random, at::kDouble), rows);
    const auto search = find_row_span(initial, trained);
    REQUIRE(search.span);
    CHECK(search.span->rank == 7);
    CHECK(search.span->decay == Approx(decay).epsilon(1e-8));
    CHECK(distance_to_span(*search.span, rows).max().item<double>() < 1e-6);
    CHECK(distance_to_span(*search.span, at::randn({50, 60}, random, at::kDouble)).min().item<double>() > 0.5);
  }
  CHECK_FALSE(find_row_span(initial, initial + at::randn({80, 60}, random, at::kDouble)).span);
  CHECK_FALSE(find_row_span(initial, initial).span);
}

TEST_CASE("one strong direction above a slowly falling spectrum is not a row space of one dimension") {
  Generator random = seeded(21);
  const Tensor initial = at::randn({120, 90}, random, at::kDouble);
  // As with bright images without a subtracted mean, after Adam: the mean is ten times as strong as any other
  // direction.
  const Tensor change = at::randn({120, 90}, random, at::kDouble) / 20 +
                        at::mm(at::ones({120, 1}, at::kDouble), at::rand({1, 90}, random, at::kDouble) + 0.5) / 10;
  const SpanSearch search = find_row_span(initial, initial + change);
  CHECK_FALSE(search.span);
  CHECK(search.directions.defined());
}

TEST_CASE("a diverged restart does not prevent later ones") {
  SearchHistory history;
  SearchResult diverged, good, worse;
  diverged.loss_final = std::numeric_limits<double>::quiet_NaN();
  good.loss_final = 1;
  worse.loss_final = 2;
  for (const auto& found : {diverged, good, worse}) history.keep_if_better(found);
  CHECK(history.best->loss_final == 1);
}

TEST_CASE(
    "where the network fits no image, images at consistent bounds are claimed, and confirmed by each other alone") {
  Recipe recipe = squared_recipe();
  recipe.until_loss = 0.35;
  const Trained trained = trained_network(recipe);
  const Tensor outputs =
      released(trained.subject).network->evaluate(released(trained.subject).trained, trained.truth.training);
  REQUIRE(((outputs.abs() - 1).abs() > 0.1).all().item<bool>());
  const Reconstruction found = attack("vertices", trained.subject);
  CHECK(found.status == Status::ok);
  const Score score = scored(found, trained.truth);
  CHECK(score.reconstructed->count >= images_count - 1);
  CHECK(score.confirmed.value() == images_count);
  CHECK(score.confirmed_right.value() == images_count);
}

TEST_CASE("a network with a singular kernel is not treated as one of infinite width, and the attack does not fail") {
  const Reconstruction found = attack("infinite-width", trained_network(squared_recipe(), 1, {1}).subject);
  CHECK(found.status == Status::not_applicable);
  CHECK(found.reason.find("singular") != std::string::npos);
}

TEST_CASE("after Adam the span probe counts no images, gives the reason, and still tells members from others") {
  Recipe recipe = squared_recipe();
  recipe.optimizer = Optimizer::adam;
  recipe.learning_rate = 1e-3;
  const Trained trained = trained_network(recipe);
  const Reconstruction found = attack("span", trained.subject);
  CHECK(found.status == Status::ok);
  CHECK(found.evidence["rank"].is_null());
  CHECK(found.evidence["no_rank"].get<std::string>().find("singular values") != std::string::npos);
  REQUIRE(found.claim.membership);
  CHECK(scored(found, trained.truth).membership->auc > 0.9);
}

TEST_CASE("the distance to leading directions is the mean logarithm of the residual over ranks") {
  Generator random = seeded(3);
  const Tensor q = std::get<0>(at::linalg_qr(at::randn({12, 10}, random, at::kDouble)));
  const Tensor directions = q.t().contiguous(), images = at::randn({4, 12}, random, at::kDouble);
  const Tensor found = distance_to_leading(directions, at::cat({images, at::zeros({1, 12}, at::kDouble)}));
  for (std::int64_t i = 0; i < 4; ++i) {
    double sum = 0;
    for (const std::int64_t rank : {5, 6, 7}) {
      const Tensor leading = directions.narrow(0, 0, rank);
      const Tensor rest = images[i] - at::mv(leading.t(), at::mv(leading, images[i]));
      sum += std::log((rest.norm() / images[i].norm()).item<double>());
    }
    CHECK(found[i].item<double>() == Approx(sum / 3).epsilon(1e-10));
  }
  CHECK(found[4].item<double>() == 0);
  // Vectors in the leading half have no residual but rounding in float64.
  CHECK(distance_to_leading(directions, directions.narrow(0, 0, 3)).max().item<double>() < -10);
}

TEST_CASE("the finite-width attack reconstructs the training images, with one output and with several") {
  for (const std::int64_t outputs : {1, 3}) {
    const Trained trained = trained_network(squared_recipe(), outputs);
    const Reconstruction found = attack("finite-width", trained.subject);
    const Score result = scored(found, trained.truth);
    CAPTURE(outputs, *found.relative_loss);
    CHECK(result.reconstructed->count >= 4);
    CHECK(result.control->rate <= 0.02);
    CHECK(*found.relative_loss < 0.1);
    CHECK(*found.loss_final < *found.loss_initial);
  }
}

TEST_CASE("images without pixels at a bound are reconstructed from a part of the neurons at a time") {
  const Trained trained = trained_network(squared_recipe(), 1, {32, 1024}, true);
  const Reconstruction found = attack("finite-width", trained.subject);
  CHECK(found.evidence.contains("neurons_at_a_time"));
  CHECK(found.evidence["confirmed_by_round"] == std::vector<int>{0});
  CHECK_FALSE(found.complete);
  CHECK(*found.relative_loss < 0.1);  // of all parameters
  const Score result = scored(found, trained.truth);
  CHECK(result.reconstructed->count == images_count);
  CHECK(result.control->rate <= 0.02);
}

TEST_CASE("weight decay is corrected for in trained parameters and not in frozen ones") {
  Recipe recipe = squared_recipe();
  recipe.weight_decay = 0.01;
  recipe.max_steps = 500;
  recipe.frozen = {"fc3"};
  const Trained trained = trained_network(recipe);
  const Reconstruction found = attack("finite-width", trained.subject, {{"rounds", "0"}});
  // If the frozen layer were corrected for decay as well, images would have to explain the difference.
  CHECK(*found.relative_loss < 0.05);
  CHECK(scored(found, trained.truth).reconstructed->count >= images_count - 1);
}

TEST_CASE("more tangent points explain more of the change, and --space pixels searches in pixels") {
  const Trained trained = trained_network(squared_recipe());
  const auto one = attack("finite-width", trained.subject, {{"tangents", "1"}, {"rounds", "0"}, {"steps", "400"}});
  const auto two = attack("finite-width", trained.subject, {{"tangents", "0,1"}, {"rounds", "0"}, {"steps", "400"}});
  CHECK(*two.relative_loss < *one.relative_loss);
  CHECK(two.coefficients.size(1) == 2);
  CHECK(attack("finite-width", trained.subject, {{"space", "pixels"}, {"steps", "50"}}).evidence["space"] == "pixels");
}

TEST_CASE("a change that is noise is not explained, and the attack is inconclusive") {
  Trained trained = trained_network(squared_recipe());
  Generator random = seeded(9);
  released(trained.subject).trained = released(trained.subject).trained.clone();
  for (const auto& [name, tensor] : released(trained.subject).trained.entries()) {
    tensor.add_(at::randn(tensor.sizes(), random, at::kFloat), 0.01);
  }
  const Reconstruction found =
      attack("finite-width", trained.subject, {{"space", "pixels"}, {"candidates", "10"}, {"steps", "300"}});
  CHECK(found.status == Status::inconclusive);
  CHECK(found.reason.find("unexplained") != std::string::npos);
}

TEST_CASE("a search that diverges is reported, and claims no images that are not finite") {
  Trained trained = trained_network(squared_recipe());
  released(trained.subject).trained =
      released(trained.subject).trained.times(1e15F);  // finite, but products of three layers are not
  const Reconstruction found =
      attack("finite-width", trained.subject, {{"space", "pixels"}, {"candidates", "4"}, {"steps", "20"}});
  CHECK(found.status == Status::inconclusive);
  CHECK(found.reason.find("diverged") != std::string::npos);
  CHECK_FALSE(found.loss_final);
  CHECK(at::isfinite(found.claim.images).all().item<bool>());
}

TEST_CASE("an invalid option of an attack is refused by name") {
  const Attack& chosen = attack_named("finite-width");
  for (const auto& [name, value] : std::vector<std::pair<std::string, std::string>>{{"tangents", "2"},
                                                                                    {"tangents", ""},
                                                                                    {"tangents", "0,x"},
                                                                                    {"space", "time"},
                                                                                    {"steps", "0"},
                                                                                    {"steps", "1.5"},
                                                                                    {"steps", "nan"},
                                                                                    {"candidates", "-1"},
                                                                                    {"restarts", "0"},
                                                                                    {"dtype", "float16"}}) {
    CAPTURE(name, value);
    CHECK_THROWS_WITH(chosen.configured({{name, value}}), Catch::Contains("--" + name));
  }
  CHECK_THROWS_AS(attack_named("nonsense"), UsageError);
}

}  // namespace afterimage
