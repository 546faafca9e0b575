// Rows of one-hot columns by exchange of levels, and the flow attack that begins and ends with it.
#include "attacks/solver/row_exchange.h"

#include <catch2/catch.hpp>

#include "attacks/attack.h"
#include "attacks/solver/one_hot_rows.h"
#include "models/mlp.h"
#include "tests/attacks/released.h"

namespace afterimage {
namespace {

constexpr std::int64_t groups = 8, levels = 3, count = 12, columns = groups * levels;

Tensor rows_of(const Tensor& values) {
  return at::one_hot(values, levels).view({values.size(0), columns}).to(at::kFloat);
}

Tensor random_values(std::int64_t rows, std::uint64_t seed) {
  Generator random = seeded(seed);
  return at::randint(levels, {rows, groups}, random, at::kLong);
}

// Values that go with one another, as in most tables: the rank is smaller than levels allow.
Tensor related_values(std::int64_t rows, std::uint64_t seed) {
  Generator random = seeded(seed);
  const Tensor common = at::rand({rows, 1}, random, at::kFloat),
               own = at::randn({rows, groups}, random, at::kFloat).mul(0.07);
  return at::floor((common + own) * levels).clamp(0, levels - 1).to(at::kLong);
}

// A network with two hidden layers trained on the rows of `values` [n, groups], of two classes in turn.
Subject trained_by(const Recipe& recipe, const Tensor& values, std::int64_t width) {
  Subject subject;
  Generator random = seeded(5);
  const auto network =
      std::make_shared<Mlp>(columns, std::vector<std::int64_t>{width, width}, 1, Parameterization::standard);
  released(subject).network = network;
  released(subject).initial = network->draw_initial(random).value();
  const Tensor targets = (at::arange(values.size(0)).remainder(2) * 2 - 1).to(at::kFloat).unsqueeze(1);
  Silent silent;
  released(subject).trained =
      train(*network, released(subject).initial, rows_of(values), targets, recipe, random, silent).trained;
  subject.space = {{columns}, at::zeros({columns})};
  subject.space.one_hot.assign(groups, levels);
  subject.loss = recipe.loss;
  return subject;
}

Subject trained_on(const Tensor& values) {
  Recipe recipe;
  recipe.learning_rate = 5e-3;
  recipe.max_steps = 3000;
  return trained_by(recipe, values, 128);
}

Subject logistic_on(const Tensor& values) {
  Recipe recipe;
  recipe.loss = LossKind::logistic;
  recipe.learning_rate = 0.02;
  recipe.max_steps = 600;
  recipe.batch = 10;
  return trained_by(recipe, values, 96);
}

// The same rows with three of eight values changed.
Tensor changed(const Tensor& values) {
  Generator random = seeded(6);
  const Tensor moved = values.clone();
  for (std::int64_t row = 0; row < values.size(0); ++row) {
    const Tensor which = at::randperm(groups, random, at::kLong).slice(0, 0, 3);
    moved[row].index_put_({which}, (values[row].index_select(0, which) + 1).remainder(levels));
  }
  return moved;
}

std::int64_t exact(const Tensor& rows, const Tensor& training) {
  return (at::cdist(rows.to(at::kDouble), training.to(at::kDouble)) < 1e-4).any(1).sum().item<std::int64_t>();
}

Reconstruction flow_from(const Subject& subject, const Tensor& candidates) {
  Generator random = seeded(7);
  Silent silent;
  NullStore no_store;
  Job job{random, silent, no_store};
  HandOver hand_over;
  hand_over.candidates = candidates;
  // A few gradient steps, so that the exchange has the work to do.
  return attack_named("flow")
      .configured({{"flow-steps", "5"}, {"flow-rounds", "2"}, {"segments", "4"}})
      .run(subject, hand_over, job);
}

Tensor sure_of(const Reconstruction& found) {
  return found.claim.images.index_select(0, at::nonzero(found.claim.confirmed).squeeze(1));
}

}  // namespace

TEST_CASE("rows with three of eight values wrong come back exactly, and those confirmed are right") {
  const Tensor values = random_values(count, 1), rows = rows_of(values);
  const Subject subject = trained_on(values);
  // The wrong ones are no training rows, nor any row of another table.
  const Tensor start = rows_of(changed(values));
  REQUIRE(exact(start, rows) == 0);
  const Reconstruction found = flow_from(subject, start);
  CHECK(found.status == Status::ok);
  CHECK(exact(found.claim.images, rows) >= count - 2);
  const Tensor sure = sure_of(found);
  CHECK(sure.size(0) >= count / 2);
  CHECK(exact(sure, rows) == sure.size(0));
}

TEST_CASE("a row that the network was not trained on is not confirmed, whatever candidates are given") {
  const Tensor values = random_values(count, 1), others = random_values(count, 2), rows = rows_of(values);
  const Subject subject = trained_on(values);
  const Tensor sure = sure_of(flow_from(subject, rows_of(others)));
  CHECK(exact(sure, rows) == sure.size(0));
}

TEST_CASE("rows that are sure stay as they are") {
  const Tensor values = random_values(count, 1), rows = rows_of(values);
  const Subject subject = trained_on(values);
  Generator random = seeded(7);
  Silent silent;
  NullStore no_store;
  Job job{random, silent, no_store};
  RowExchange exchange(subject, released(subject).initial, released(subject).trained, 50, job);
  const Tensor wrong = rows_of(random_values(2, 3));
  const auto result = exchange.run(wrong, rows_of(changed(values)), 2);
  REQUIRE(result.sure == 2);
  CHECK((result.rows.slice(0, 0, 2) - wrong.to(at::kDouble)).abs().max().item<double>() < 1e-6);
  CHECK(exact(result.rows.slice(0, 2), rows) >= count / 2);
}

TEST_CASE("what vertices confirms of a table are its rows, one level of each value") {
  std::int64_t confirmed = 0;
  for (const std::uint64_t seed : {1, 3, 4, 5}) {
    const Tensor values = related_values(30, seed), rows = rows_of(values);
    const Subject subject = logistic_on(values);
    Generator random = seeded(7);
    Silent silent;
    NullStore no_store;
    Job job{random, silent, no_store};
    const Reconstruction found = attack_named("vertices").configured().run(subject, {}, job);
    if (!found.claim.confirmed.defined()) continue;
    const Tensor sure = sure_of(found);
    confirmed += sure.size(0);
    CHECK(are_rows(subject.space, sure).all().item<bool>());
    CHECK(exact(sure, rows) == sure.size(0));
  }
  CHECK(confirmed > 4);
}

TEST_CASE("a row with two levels of a value, or half of two, is none") {
  ImageSpace space{{5}, at::zeros({5})};
  space.one_hot = {2, 3};
  const std::vector<double> values = {1, 0, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 0, 0.5, 0.5, 1, 0, 0, 1.001, 0};
  const Tensor inputs = at::tensor(values, at::kDouble).view({4, 5});
  CHECK(at::equal(are_rows(space, inputs).to(at::kLong), at::tensor({1, 0, 0, 1}, at::kLong)));
}

TEST_CASE("rows near one in a row space are those that trying all rows finds") {
  // Every row of six values with two or three levels; those in the span of a few.
  const std::vector<std::int64_t> sizes = {2, 3, 2, 3, 2, 2};
  ImageSpace space{{14}, at::full({14}, 0.25)};
  space.one_hot = sizes;
  std::vector<Tensor> all{at::zeros({14})};
  for (std::size_t group = 0, first = 0; group < sizes.size(); first += static_cast<std::size_t>(sizes[group++])) {
    std::vector<Tensor> longer;
    for (const auto& row : all) {
      for (std::int64_t level = 0; level < sizes[group]; ++level) {
        longer.push_back(row.clone());
        longer.back()[static_cast<std::int64_t>(first) + level] = 1;
      }
    }
    all = longer;
  }
  const Tensor rows = space.inputs(at::stack(all).to(at::kDouble));
  REQUIRE(rows.size(0) == 144);
  Generator random = seeded(8);
  std::int64_t found = 0;
  for (int trial = 0; trial < 20; ++trial) {
    const Tensor some = rows.index_select(0, at::randperm(144, random, at::kLong).narrow(0, 0, 6));
    const Tensor basis = std::get<0>(at::linalg_qr(some.t())).t().contiguous();
    const Tensor off = (rows - at::mm(at::mm(rows, basis.t()), basis)).norm(2, 1);
    const Tensor changed = (rows - some[0]).abs().gt(0.5).sum(1) / 2;
    const Tensor wanted =
        rows.index_select(0, at::nonzero((off < 1e-9).logical_and(changed > 0).logical_and(changed <= 3)).squeeze(1));
    const Tensor near = rows_near(space, basis, some[0] + 1e-4);
    REQUIRE(near.size(0) == wanted.size(0));
    found += near.size(0);
    if (near.size(0) == 0) continue;
    CHECK((at::cdist(near, wanted) < 1e-6).sum().item<std::int64_t>() == wanted.size(0));
  }
  CHECK(found > 10);
}

TEST_CASE("images with many pixels between the values that pixels have are none") {
  ImageSpace space{{40}, at::full({40}, 0.5)};
  const Tensor binary = (at::rand({1, 40}) > 0.5).to(at::kFloat);
  CHECK(levels_of(binary) == std::vector<double>{0, 1});
  CHECK(levels_of(at::rand({3, 40})).empty());
  CHECK(levels_of(at::ones({3, 40})).empty());
  Tensor blend = binary.clone(), grain = binary.clone();
  blend.slice(1, 0, 5).fill_(0.5);
  grain.slice(1, 0, 2).fill_(0.5);
  const Tensor inputs = space.inputs(at::cat({binary, binary * 0.9 + 0.05, blend, grain}));
  CHECK(are_possible(space, inputs).all().item<bool>());  // nothing is known
  space.levels = {0, 1};
  CHECK(at::equal(are_possible(space, inputs).to(at::kLong), at::tensor({1, 1, 0, 1}, at::kLong)));
}

TEST_CASE("inputs are taken as the row of the largest level of each group, in pixels") {
  ImageSpace space{{5}, at::tensor({0.5, 0.5, 0.5, 0.5, 0.5})};
  space.one_hot = {2, 3};
  const Tensor inputs = at::tensor({0.1, 0.2, -0.4, 0.3, 0.2}).unsqueeze(0);
  const Tensor expected = at::tensor({-0.5, 0.5, -0.5, 0.5, -0.5}).to(at::kDouble);
  CHECK((nearest_rows(space, inputs)[0] - expected).abs().max().item<double>() < 1e-6);
}

TEST_CASE("groups of one-hot columns are seen where every row has exactly one level of each") {
  const Tensor rows = rows_of(random_values(60, 4));
  CHECK(one_hot_groups(rows) == std::vector<std::int64_t>(groups, levels));
  const Tensor counts = rows.clone();
  counts[3][0] = 2;
  CHECK(one_hot_groups(counts).empty());
  const Tensor two = rows.clone();
  two[3].slice(0, 0, 2).fill_(1);
  CHECK(one_hot_groups(two).empty());
  CHECK(one_hot_groups(rows.slice(1, 0, columns - 1)).empty());
  CHECK(one_hot_groups(at::rand({60, 6})).empty());
  CHECK(one_hot_groups(at::ones({60, 6})).empty());
}

}  // namespace afterimage
