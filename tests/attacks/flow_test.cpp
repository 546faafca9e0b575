#include "attacks/flow.h"

#include <catch2/catch.hpp>
#include <map>

#include "attacks/scoring/score.h"
#include "attacks/solver/fit.h"
#include "models/foundations/error.h"
#include "models/mlp.h"
#include "models/tangent/flow.h"
#include "tests/attacks/recorder.h"
#include "tests/attacks/released.h"

namespace afterimage {
namespace {

constexpr std::int64_t pixels = 64, images_count = 6;

// A network trained on grey pictures with few pixels at a bound, and pictures that it was not trained on.
struct Trained {
  Subject subject;
  Tensor training, others;

  explicit Trained(std::int64_t outputs = 1) {
    Generator random = seeded(21);
    const auto network =
        std::make_shared<Mlp>(pixels, std::vector<std::int64_t>{256, 256}, outputs, Parameterization::standard);
    const Tensor pictures = at::rand({images_count + 40, pixels}, random, at::kFloat);
    const Tensor mean = pictures.slice(0, 0, images_count).mean(0);
    training = pictures.slice(0, 0, images_count) - mean;
    others = pictures.slice(0, images_count) - mean;
    const Tensor classes = at::arange(images_count);
    const Tensor targets = outputs == 1 ? (classes.remainder(2) * 2 - 1).to(at::kFloat).unsqueeze(1)
                                        : at::one_hot(classes.remainder(outputs), outputs).to(at::kFloat);
    Recipe recipe;
    recipe.learning_rate = 1e-3;  // at ten times that rate, momentum overshoots the gradient flow
    Silent silent;
    released(subject).network = network;
    released(subject).initial = network->draw_initial(random).value();
    released(subject).trained =
        train(*network, released(subject).initial, training, targets, recipe, random, silent).trained;
    subject.space = {{8, 8}, mean};
    subject.loss = LossKind::squared;
  }

  // Trained once for all tests that change nothing in it.
  static const Trained& once(std::int64_t outputs = 1) {
    static std::map<std::int64_t, Trained> networks;
    return networks.try_emplace(outputs, outputs).first->second;
  }

  // Training images mixed with others, with this relative error.
  Tensor blurred(double share) const {
    const Tensor noise = others.slice(0, 0, images_count);
    return training + share * noise * (training.norm(2, 1, true) / noise.norm(2, 1, true));
  }
  // Other pictures, moved inside the training images' span until the network fits them like training images.
  Tensor fitting_others() const {
    const Tensor basis = std::get<0>(at::linalg_qr(training.slice(0, 1).t())).t();
    Tensor images = at::mm(at::mm(others, basis.t()), basis);
    for (int step = 0; step < 50; ++step) {
      const auto [outputs, slope] =
          released(subject).network->input_gradient(released(subject).trained, images, at::ones({images.size(0), 1}));
      const Tensor along = at::mm(at::mm(slope, basis.t()), basis);
      images = images + (outputs.sign() - outputs) * along / along.square().sum(1, true);
    }
    constexpr double far = 0.5;  // from any training image: in so small a span some are near one
    return images.index_select(0, at::nonzero(errors(images) > far).squeeze(1)).slice(0, 0, 2 * images_count);
  }
  Reconstruction attack(const HandOver& hand_over, const std::map<std::string, std::string>& options,
                        StateStore& store) const {
    Generator random = seeded(1);
    Silent silent;
    Job job{random, silent, store};
    return attack_named("flow").configured(options).run(subject, hand_over, job);
  }
  Reconstruction attack(const HandOver& hand_over, const std::map<std::string, std::string>& options = {}) const {
    NullStore no_store;
    return attack(hand_over, options, no_store);
  }
  // Relative distance of each claimed image to the nearest training image.
  Tensor errors(const Tensor& images) const {
    return std::get<0>((at::cdist(images, training) / training.norm(2, 1)).min(1));
  }
};

}  // namespace

TEST_CASE("the flow attack brings candidates that are off by a quarter to their images, and confirms them") {
  const auto outputs = GENERATE(1, 3);
  const Trained& trained = Trained::once(outputs);
  const Tensor candidates = trained.blurred(0.25);
  REQUIRE(trained.errors(candidates).min().item<double>() > 0.2);
  const Reconstruction found = trained.attack({{}, candidates});
  CHECK(found.status == Status::ok);
  const Tensor errors = trained.errors(found.claim.images);
  CAPTURE(outputs, errors, *found.relative_loss, found.evidence.dump());
  CHECK(errors.mean().item<double>() < 0.1);
  CHECK(*found.loss_final < 0.2 * *found.loss_initial);
  CHECK(found.claim.confirmed.sum().item<std::int64_t>() >= images_count - 1);
  CHECK(errors.masked_select(found.claim.confirmed).max().item<double>() < 0.15);
}

TEST_CASE("exact images stay as they are while the others are polished") {
  const Trained& trained = Trained::once();
  const Tensor exact = trained.training.slice(0, 0, 3), candidates = trained.blurred(0.25).slice(0, 3);
  const Reconstruction found = trained.attack({exact, candidates});
  CHECK(found.evidence["exact"] == 3);
  CHECK((found.claim.images.slice(0, 0, 3).unsqueeze(1) - exact.unsqueeze(0)).norm(2, 2).amin(1).max().item<double>() <
        1e-3);
  CHECK(trained.errors(found.claim.images).max().item<double>() < 0.15);
}

TEST_CASE("pictures that were never trained on are not confirmed, whatever polishing makes of them") {
  const Trained& trained = Trained::once();
  const Tensor candidates = trained.fitting_others();
  REQUIRE(candidates.size(0) >= images_count);
  const Reconstruction found = trained.attack({{}, candidates});
  REQUIRE(found.evidence["followed"].get<std::int64_t>() > 0);
  const Tensor errors = trained.errors(found.claim.images);
  CAPTURE(errors, found.evidence.dump(), *found.relative_loss);
  CHECK_FALSE(found.claim.confirmed.any().item<bool>());
}

TEST_CASE("with some wrong candidates, only right ones are confirmed") {
  const Trained& trained = Trained::once();
  const Tensor candidates =
      at::cat({trained.blurred(0.2).slice(0, 0, images_count - 1), trained.others.slice(0, 10, 14)});
  const Reconstruction found = trained.attack({{}, candidates});
  const Tensor errors = trained.errors(found.claim.images).masked_select(found.claim.confirmed);
  CAPTURE(errors, found.evidence.dump(), *found.relative_loss);
  REQUIRE(errors.numel() >= 3);
  CHECK((errors < 0.3).all().item<bool>());
}

TEST_CASE("a candidate that only follows the flow is polished again in each round") {
  const Trained& trained = Trained::once();
  const Tensor candidate = trained.blurred(0.25).slice(0, 4, 5);
  const Reconstruction found = trained.attack({{}, candidate}, {{"flow-steps", "1"}, {"flow-rounds", "2"}});
  CHECK(found.iterations == 2);
  CHECK(found.claim.images.size(0) == 1);
  CHECK(found.evidence["followed"] == 1);
}

TEST_CASE("polishing ends with a round in which the network fits none of the images") {
  const Trained& trained = Trained::once();
  // Alone, it takes over the change by all images together: |f| becomes 1.6.
  const Tensor candidate = trained.blurred(0.25).slice(0, 3, 4);
  const Reconstruction found = trained.attack({{}, candidate}, {{"flow-steps", "12"}, {"flow-rounds", "3"}});
  const Tensor outputs =
      released(trained.subject).network->evaluate(released(trained.subject).trained, found.claim.images);
  REQUIRE((outputs.abs() > 1.4).all().item<bool>());
  CHECK(found.iterations == 12);
  CHECK(found.claim.images.size(0) == 1);
  CHECK(found.evidence["followed"] == 1);
}

TEST_CASE("where parameters are few, images that follow training are not confirmed for it") {
  // As many images as a network of one narrow layer can barely determine, with candidates that are far off.
  constexpr std::int64_t images = 20;
  Generator random = seeded(8);
  const auto network = std::make_shared<Mlp>(pixels, std::vector<std::int64_t>{32}, 1, Parameterization::standard);
  const Tensor all = at::rand({2 * images, pixels}, random, at::kFloat) - 0.5, training = all.slice(0, 0, images);
  Subject subject;
  released(subject).network = network;
  released(subject).initial = network->draw_initial(random).value();
  Recipe recipe;
  recipe.learning_rate = 0.02;
  recipe.max_steps = 4000;
  Silent silent;
  const Tensor targets = (at::arange(images).remainder(2) * 2 - 1).to(at::kFloat).unsqueeze(1);
  released(subject).trained =
      train(*network, released(subject).initial, training, targets, recipe, random, silent).trained;
  subject.space = {{8, 8}, at::full({pixels}, 0.5)};
  subject.loss = LossKind::squared;
  HandOver hand_over;
  hand_over.candidates = at::cat({training + 0.7 * all.slice(0, images), all.slice(0, images)});
  NullStore no_store;
  Job job{random, silent, no_store};
  const Reconstruction found = attack_named("flow").configured().run(subject, hand_over, job);
  REQUIRE(found.claim.images.defined());
  CHECK(found.evidence["equations_an_unknown"] < 5);
  const Tensor sure = found.claim.images.index_select(0, at::nonzero(found.claim.confirmed).squeeze(1));
  const Tensor errors = std::get<0>((at::cdist(sure, training) / training.norm(2, 1)).min(1));
  CHECK((errors < 0.3).all().item<bool>());
}

TEST_CASE("when only exact images are left, there is nothing to polish") {
  const Trained& trained = Trained::once();
  const Tensor exact = trained.training.slice(0, 0, images_count - 1);
  // The flow has a lower loss without the picture that was not trained on.
  const Reconstruction found = trained.attack({exact, trained.fitting_others().slice(0, 0, 1)}, {{"flow-steps", "1"}});
  CHECK(found.iterations == 1);
  CHECK(found.evidence["exact"] == images_count - 1);
  CHECK(found.evidence["followed"] == 0);
  CHECK(found.claim.images.size(0) == images_count - 1);
  CHECK(found.claim.confirmed.all().item<bool>());
  const Subject& subject = trained.subject;
  const FlowImages left{
      exact, fitted_targets(released(subject).network->evaluate(released(subject).trained, exact)), {}};
  const double mismatch = flow_mismatch(*released(subject).dense(), released(subject).initial,
                                        released(subject).trained, left, {8, 0.5, 1e-5}, {200});
  CHECK(*found.relative_loss == Approx(mismatch).epsilon(1e-2));
}

TEST_CASE("where the flow diverges, the attack says so and leaves candidates as they are") {
  Trained trained;
  released(trained.subject).initial = released(trained.subject).initial.clone();
  released(trained.subject).initial.at("fc2.weight").mul_(1e30);  // the kernel there overflows float32
  const Reconstruction found = trained.attack({{}, trained.blurred(0.25)});
  CHECK(found.status == Status::inconclusive);
  CHECK_THAT(found.reason, Catch::Contains("diverges"));
  CHECK(found.iterations == 0);
  CHECK_FALSE(found.relative_loss);
  CHECK(found.evidence["followed"] == images_count);
  CHECK(found.claim.images.size(0) == images_count);
  CHECK_FALSE(found.claim.confirmed.any().item<bool>());
  CHECK(trained.errors(found.claim.images).max().item<double>() < 0.25);
}

TEST_CASE("the same candidates are polished to the same images, bit for bit") {
  const Trained& trained = Trained::once();
  const HandOver hand_over{trained.training.slice(0, 0, 2), trained.blurred(0.3).slice(0, 2)};
  const std::map<std::string, std::string> options{{"flow-steps", "20"}, {"flow-rounds", "2"}};
  const Reconstruction once = trained.attack(hand_over, options), again = trained.attack(hand_over, options);
  CHECK(at::equal(once.claim.images, again.claim.images));
  CHECK(at::equal(once.claim.confirmed, again.claim.confirmed));
  CHECK(*once.relative_loss == *again.relative_loss);
}

TEST_CASE("interrupted polishing resumes to the same result") {
  const Trained& trained = Trained::once();
  const std::map<std::string, std::string> options{{"flow-steps", "20"}, {"flow-rounds", "2"}};
  const Tensor candidates = at::cat({trained.blurred(0.25), trained.blurred(0.9).slice(0, 0, 2)});
  Recorder recorder;
  const Reconstruction whole = trained.attack({{}, candidates}, options, recorder);
  REQUIRE(recorder.states.size() > 20);
  for (const std::size_t i : {std::size_t{3}, std::size_t{15}, recorder.states.size() - 2}) {
    Recorder from(recorder.states[i]);
    const Reconstruction resumed = trained.attack({{}, candidates}, options, from);
    CAPTURE(i);
    CHECK(at::equal(resumed.claim.images, whole.claim.images));
    CHECK(resumed.evidence == whole.evidence);
    CHECK(resumed.iterations == whole.iterations);
    CHECK(from.states.size() < recorder.states.size());
  }
}

TEST_CASE("the flow attack gives the reason where it has nothing to do") {
  Trained trained;
  const auto reason = [&](const HandOver& hand_over) {
    const Reconstruction found = trained.attack(hand_over);
    CHECK(found.status == Status::not_applicable);
    CHECK_FALSE(found.claim.images.defined());
    return found.reason;
  };
  const Tensor candidates = trained.blurred(0.2);
  CHECK_THAT(reason({}), Catch::Contains("after finite-width"));
  CHECK_THAT(reason({trained.training, {}}), Catch::Contains("after finite-width"));
  CHECK_THAT(reason({trained.training, candidates, true}), Catch::Contains("nothing is left to find"));
  CHECK_THAT(reason({{}, at::zeros_like(candidates)}), Catch::Contains("fits none"));
  const Parameters kept = released(trained.subject).trained;
  const auto with_bias = [&](const Tensor& before, const Tensor& after) {
    for (auto [all, bias] :
         {std::pair{&released(trained.subject).initial, before}, {&released(trained.subject).trained, after}}) {
      auto entries = all->entries();
      entries[1].second = bias;
      *all = Parameters(entries);
    }
    return reason({{}, candidates});
  };
  const Tensor none = at::zeros_like(kept[1]);
  CHECK_THAT(with_bias(none, none), Catch::Contains("has no biases") && !Catch::Contains("frozen"));
  CHECK_THAT(with_bias(none + 1, none + 1), Catch::Contains("frozen") && !Catch::Contains("has no biases"));
  trained.subject.loss = LossKind::logistic;
  CHECK_THAT(reason({{}, candidates}), Catch::Contains("squared loss"));
}

TEST_CASE("an invalid option of the flow attack is refused by name") {
  const Attack& flow = attack_named("flow");
  for (const auto& [name, value] : std::vector<std::pair<std::string, std::string>>{
           {"segments", "1"}, {"segments", "many"}, {"flow-steps", "0"}, {"flow-rounds", "0.5"}}) {
    CAPTURE(name, value);
    CHECK_THROWS_WITH(flow.configured({{name, value}}), Catch::Contains("--" + name));
  }
}

}  // namespace afterimage
