#include "attacks/solver/deflation.h"

#include <catch2/catch.hpp>

#include "tests/attacks/synthetic_pictures.h"

namespace afterimage {

using namespace synthetic;

namespace {

// The subject of these pictures; the loss is unknown, so that only the bounds can confirm.
Subject subject_of(const Pictures& pictures) {
  Subject subject;
  subject.space = pictures.space;
  return subject;
}

Tensor as_images(const Pictures& pictures) { return pictures.images.to(at::kFloat); }

}  // namespace

TEST_CASE("the last image is determined by all others, even where each is slightly inexact") {
  const Pictures pictures(false);
  const Subject subject = subject_of(pictures);
  Deflation deflation(subject, pictures.span);
  Generator random = seeded(3);
  Silent silent;
  deflation.accept(noisy(as_images(pictures).to(at::kDouble), 1e-4, random).narrow(0, 0, count - 1));
  REQUIRE(deflation.missing() == 1);
  deflation.sweep(40, random, silent);
  CHECK(deflation.missing() == 0);
  const Tensor last = deflation.known()[count - 1], truth = pictures.coordinates()[count - 1];
  CHECK((last - truth).norm().item<double>() < 1e-3 * truth.norm().item<double>());
}

TEST_CASE("two missing images are found beyond those that are known") {
  for (const std::uint64_t seed : {1, 2, 3}) {
    const Pictures pictures(false, seed);
    const Subject subject = subject_of(pictures);
    Deflation deflation(subject, pictures.span);
    Generator random = seeded(seed + 20);
    Silent silent;
    deflation.accept(as_images(pictures).narrow(0, 0, count - 2));
    deflation.sweep(400, random, silent);
    REQUIRE(deflation.found() == count);
    for (std::int64_t i = 0; i < count; ++i) CHECK(pictures.distance(deflation.known()[i]) < 1e-3);
  }
}

TEST_CASE("images that lie a few slacks outside the bounds are found as well") {
  Pictures pictures(false);
  const double slack = PixelPolytope(pictures.span, pictures.space).slack();
  pictures.space.low += 3 * slack;  // where black pixels are not allowed to be
  const Subject subject = subject_of(pictures);
  Deflation deflation(subject, pictures.span);
  Generator random = seeded(5);
  Silent silent;
  deflation.sweep(400, random, silent);
  REQUIRE(deflation.found() == count);
  for (std::int64_t i = 0; i < count; ++i) CHECK(pictures.distance(deflation.known()[i]) < 1e-3);
}

TEST_CASE("of two similar finds the one with more consistent bounds is kept") {
  const Pictures pictures(false);
  const Subject subject = subject_of(pictures);
  Deflation deflation(subject, pictures.span);
  Generator random = seeded(4);
  Silent silent;
  NullStore no_store;
  const Tensor truth = pictures.coordinates();
  // An image that is off by a fifth, as another attack may have confirmed it: its bounds are not consistent.
  const Tensor off = noisy(truth.narrow(0, 0, 1), 0.2, random);
  deflation.accept(at::mm(off, pictures.span.basis).to(at::kFloat));
  REQUIRE(pictures.distance(deflation.known()[0]) > 0.1);
  deflation.offer(noisy(truth, 0.6, random), silent, no_store);
  CHECK(deflation.found() <= count);
  CHECK(deflation.found() >= count - 1);
  for (std::int64_t i = 0; i < deflation.found(); ++i) CHECK(pictures.distance(deflation.known()[i]) < 1e-3);
}

TEST_CASE("an early find is dropped when later ones show that images are determined far more firmly") {
  const Pictures pictures(false);
  const Subject subject = subject_of(pictures);
  Deflation deflation(subject, pictures.span);
  Generator random = seeded(4);
  Silent silent;
  NullStore no_store;
  deflation.accept(as_images(pictures).narrow(0, 0, 6));
  // In place of one of them an image that is off by a fifth, with consistent bounds too, but a thousandth of the
  // firmness.
  const State before = deflation.state();
  const Tensor known = before.tensor("known"), firmness = before.tensor("known_firmness");
  known.select(0, 3).copy_(noisy(known.narrow(0, 3, 1), 0.2, random).squeeze(0));
  firmness.select(0, 3).mul_(1e-3);
  State changed = State().set("wide", std::int64_t{0}).set("likely_tried", std::int64_t{0});
  changed.set("known", known).set("known_firmness", firmness);
  for (const char* name : {"known_leverage", "known_active", "doubtful", "unfitted"})
    changed.set(name, before.tensor(name));
  deflation.restore(changed);
  REQUIRE(pictures.distance(deflation.known()[3]) > 0.1);
  deflation.offer(noisy(pictures.coordinates().narrow(0, 6, count - 6), 0.3, random), silent, no_store);
  CHECK(deflation.found() == count);  // the last is determined by the others
  for (std::int64_t i = 0; i < deflation.found(); ++i) CHECK(pictures.distance(deflation.known()[i]) < 1e-3);
}

TEST_CASE("drawings on white without a subtracted mean are told apart by their contrast") {
  Generator random = seeded(9);
  Pictures pictures(false);
  // A twentieth of the pixels is not white: all images have nearly the same norm, and distances of a quarter of it.
  const Tensor drawings =
      1 - at::rand({count, pixels}, random, at::kDouble).mul(at::rand({count, pixels}, random, at::kDouble) < 0.05);
  pictures.set_as_they_are(drawings);
  const double apart = (drawings[0] - drawings[1]).norm().item<double>() / drawings[0].norm().item<double>();
  REQUIRE(apart < 0.3);  // within which two finds would be one
  const Subject subject = subject_of(pictures);
  Deflation deflation(subject, pictures.span);
  Silent silent;
  NullStore no_store;
  deflation.offer(noisy(pictures.coordinates(), 0.01, random), silent, no_store);
  CHECK(deflation.found() >= count - 1);
  for (std::int64_t i = 0; i < deflation.found(); ++i) CHECK(pictures.distance(deflation.known()[i]) < 1e-3);
}

TEST_CASE("an image's size is the lesser of its norm and its contrast, in any coordinates and with any scale") {
  Generator random = seeded(10);
  const bool scaled = GENERATE(false, true);
  const Tensor scale = scaled ? at::rand({pixels}, random, at::kDouble) + 0.5 : Tensor();
  Pictures pictures(false, 3, scale);
  pictures.space.mean = pictures.space.mean.to(at::kDouble);
  const Tensor images = at::mm(pictures.coordinates(), pictures.span.basis);
  const Tensor seen = pictures.space.pixels(images), contrast = pictures.space.over_scale(seen - seen.mean(1, true));
  const Tensor expected = at::minimum(images.norm(2, 1), contrast.norm(2, 1));
  const ImageSize in_span(pictures.space, pictures.span.basis), in_pixels(pictures.space, {});
  CHECK((in_span(pictures.coordinates()) - expected).abs().max().item<double>() < 1e-10);
  CHECK((in_pixels(images) - expected).abs().max().item<double>() < 1e-10);
  const Tensor far = in_pixels.relative_distances(images, images[2]);
  CHECK(far[2].item<double>() == 0);
  CHECK(far[0].item<double>() == Approx((images[0] - images[2]).norm().item<double>() /
                                        std::max(expected[0].item<double>(), expected[2].item<double>())));
}

TEST_CASE("with a slack so wide that dim pixels count as black, only images that rounding explains are confirmed") {
  const bool dim = GENERATE(false, true);
  Pictures pictures(false);
  Generator random = seeded(7);
  constexpr double slack = 0.017;
  if (dim) {  // a third of the pixels lie within three slacks of black
    const Tensor all = pictures.images + pictures.mean;
    const Tensor dimmed = at::where(at::rand({count, pixels}, random, at::kDouble) < 1.0 / 3,
                                    3 * slack * at::rand({count, pixels}, random, at::kDouble), all);
    pictures.set(dimmed);
  }
  pictures.span.rounding *= slack / PixelPolytope(pictures.span, pictures.space).slack();
  const Subject subject = subject_of(pictures);
  const std::vector<Vertex> fits = PixelPolytope(pictures.span, pictures.space).refit(pictures.coordinates(), 3);
  Deflation deflation(subject, pictures.span);
  Silent silent;
  NullStore no_store;
  deflation.offer(noisy(pictures.coordinates(), 0.3, random), silent, no_store);
  std::int64_t agree = 0;
  for (const Vertex& fit : fits) {
    if (fit.leverage > largest_leverage) continue;
    ++agree;
    CHECK((fit.misfit > 0.8) == dim);
  }
  CHECK(agree > count / 2);
  CHECK(deflation.found() >= (dim ? 0 : count - 2));
  CHECK((deflation.doubtful_images().size(0) > 0) == dim);
  Deflation again(subject, pictures.span);
  again.restore(deflation.state());
  CHECK(at::equal(again.doubtful_images(), deflation.doubtful_images()));
  for (std::int64_t i = 0; i < deflation.found(); ++i) CHECK(pictures.distance(deflation.known()[i]) < 0.01);
}

TEST_CASE("with a widened slack, too, only images that rounding explains are confirmed") {
  const bool dim = GENERATE(false, true);
  Pictures pictures(false);
  Generator random = seeded(8);
  constexpr double narrow = 1.2e-4, wider = 5;
  if (dim) {  // a third of the pixels lie within three of the widened slacks of black
    const Tensor all = pictures.images + pictures.mean;
    pictures.set(at::where(at::rand({count, pixels}, random, at::kDouble) < 1.0 / 3,
                           3 * wider * narrow * at::rand({count, pixels}, random, at::kDouble), all));
  }
  pictures.span.rounding = 1e-5;  // large enough to determine the slack
  pictures.span.rounding *= narrow / PixelPolytope(pictures.span, pictures.space).slack();
  const Subject subject = subject_of(pictures);
  Deflation deflation(subject, pictures.span);
  const State before = deflation.state();
  State widened = State().set("wide", std::int64_t{1}).set("likely_tried", std::int64_t{0});
  for (const char* name : {"known", "known_leverage", "known_firmness", "known_active", "doubtful", "unfitted"}) {
    widened.set(name, before.tensor(name));
  }
  deflation.restore(widened);
  REQUIRE(deflation.polytope().slack() == Approx(wider * narrow));
  Silent silent;
  NullStore no_store;
  deflation.offer(noisy(pictures.coordinates(), 0.3, random), silent, no_store);
  CHECK((deflation.doubtful_images().size(0) > 0) == dim);
  CHECK(deflation.found() >= (dim ? 0 : count - 2));
  for (const Vertex& held : deflation.polytope().refit(deflation.known(), 3)) CHECK(held.misfit < 0.6);
  for (std::int64_t i = 0; i < deflation.found(); ++i) CHECK(pictures.distance(deflation.known()[i]) < 0.01);
}

TEST_CASE("with a large slack a vertex determined by single bounds is confirmed where rounding explains it") {
  const bool dim = GENERATE(false, true);
  Pictures pictures(true);
  Generator random = seeded(9);
  constexpr double slack = 5e-4;
  // Grey pictures with few black pixels; in dim ones, half of these are only nearly black.
  const Tensor black = at::rand({count, pixels}, random, at::kDouble) < 0.13;
  const Tensor nearly = at::rand({count, pixels}, random, at::kDouble) < (dim ? 0.5 : 0);
  const Tensor dark = 3 * slack * at::rand({count, pixels}, random, at::kDouble) * nearly;
  pictures.set(at::where(black, dark, pictures.images + pictures.mean));
  pictures.span.rounding = 1e-5;  // large enough to determine the slack
  pictures.span.rounding *= slack / PixelPolytope(pictures.span, pictures.space).slack();
  const Subject subject = subject_of(pictures);
  Deflation deflation(subject, pictures.span);
  REQUIRE(deflation.polytope().slack() == Approx(slack));
  std::int64_t weak = 0;
  for (const Vertex& vertex : deflation.polytope().refit(pictures.coordinates(), 3)) {
    weak += vertex.leverage > 0.9 && vertex.leverage < 0.97;
  }
  REQUIRE(weak > 0);
  Silent silent;
  NullStore no_store;
  deflation.offer(pictures.coordinates(), silent, no_store);
  CHECK((deflation.doubtful_images().size(0) > 0) == dim);
  for (const Vertex& held : deflation.polytope().refit(deflation.known(), 3)) {
    CHECK((held.leverage <= 0.9 || held.misfit <= 0.3));
  }
  for (std::int64_t i = 0; i < deflation.found(); ++i) CHECK(pictures.distance(deflation.known()[i]) < 0.01);
}

TEST_CASE("where another attack confirmed more images than the span has dimensions, none is missing") {
  const Pictures pictures(false);
  const Subject subject = subject_of(pictures);
  Deflation deflation(subject, pictures.span);
  Generator random = seeded(5);
  Silent silent;
  NullStore no_store;
  const Tensor images = as_images(pictures);
  deflation.accept(at::cat({images, (images.narrow(0, 0, 2) - images.narrow(0, 2, 2)) / 2}));
  REQUIRE(deflation.found() > deflation.rank() + 1);
  CHECK(deflation.missing() == 0);
  const std::int64_t held = deflation.found();
  CHECK(deflation.offer(noisy(pictures.coordinates(), 0.3, random), silent, no_store) == 0);
  CHECK(deflation.sweep(40, random, silent) == 0);
  CHECK(deflation.found() == held);
}

TEST_CASE("with one of two images known, the other is determined") {
  constexpr std::int64_t pair = 2;
  Pictures pictures(false);
  pictures.set((pictures.images + pictures.mean).narrow(0, 0, pair));
  const Subject subject = subject_of(pictures);
  Deflation deflation(subject, pictures.span);
  REQUIRE(deflation.rank() == 1);
  Generator random = seeded(6);
  Silent silent;
  deflation.accept(as_images(pictures).narrow(0, 0, 1));
  CHECK(deflation.sweep(40, random, silent) == 1);
  CHECK(pictures.distance(deflation.known()[1]) < 1e-3);
}

}  // namespace afterimage
