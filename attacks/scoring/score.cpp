#include "attacks/scoring/score.h"

#include <ATen/core/grad_mode.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <string>

#include "attacks/scoring/similarity.h"
#include "models/foundations/require.h"

namespace afterimage {
namespace {

bool finite(const Tensor& values) { return at::isfinite(values).all().item<bool>(); }

void check(const Truth& truth) {
  require(truth.training.dim() == 2 && truth.control.dim() == 2, "training and control images have to be [n, d]");
  const std::int64_t pixels = truth.training.size(1);
  require(truth.training.size(0) > 0, "scoring needs training images");
  require(truth.control.size(0) >= 2, "scoring needs at least two control images");
  require(truth.control.size(1) == pixels, "training and control images have to be of one size");
  const Tensor &mean = truth.space.mean, &scale = truth.space.scale;
  const auto& shape = truth.space.shape;
  require(mean.dim() == 1 && mean.size(0) == pixels, "the mean image has to be of the images' size");
  require(std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>()) == pixels,
          "the image shape has to hold as many pixels as an image");
  require(!scale.defined() || (scale.sizes() == mean.sizes() && finite(scale) && (scale > 0).all().item<bool>()),
          "the scale has to be of the images' size, finite and above zero");
  require(finite(truth.training) && finite(truth.control) && finite(mean),
          "training, control and mean images have to be finite");
}

void check(const Claim& claim, std::int64_t pixels) {
  const bool images = claim.images.defined(), confirmed = claim.confirmed.defined();
  require(!images || (claim.images.dim() == 2 && claim.images.size(1) == pixels),
          "claimed images have to be [M, d], d as in the training images");
  require(!confirmed || images, "only images can be confirmed");
  require(!confirmed || (claim.confirmed.dim() == 1 && claim.confirmed.size(0) == claim.images.size(0) &&
                         claim.confirmed.scalar_type() == at::kBool),
          "confirmed has to be one bool for each claimed image");
}

std::vector<double> values_of(const Tensor& values) {
  const Tensor flat = values.detach().to(at::kCPU, at::kDouble).contiguous();
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

std::span<const double> span_of(const Tensor& values) {
  return {values.data_ptr<double>(), static_cast<std::size_t>(values.numel())};
}

// Distances are those of pixels, whatever units the network saw.
Truth in_pixels(const Truth& truth) {
  const ImageSpace& space = truth.space;
  Truth pixels{space.times_scale(truth.training), space.times_scale(truth.control), {space.shape, space.mean}};
  pixels.space.named = space.named;
  return pixels;
}

struct Halves {
  Tensor calibration, counted;
};

Halves split(const Tensor& control, Generator& random) {
  const std::int64_t images = control.size(0);
  const Tensor order = at::randperm(images, random, at::kLong);
  const auto rows = [&](std::int64_t from, std::int64_t to) {
    return control.index_select(0, std::get<0>(at::sort(order.slice(0, from, to))));
  };
  return {rows(0, images / 2), rows(images / 2, images)};
}

// An image in the pixel range stays the same to the bit: it is clamped as an input, not after adding the mean.
Tensor clipped(const Tensor& images, const Tensor& mean) {
  const Tensor bounded = at::minimum(at::maximum(images, -mean), 1 - mean);
  return at::where(at::isfinite(images).all(1, true), bounded, at::zeros_like(bounded));
}

// Distances from a set of images to the candidates, both ways of measuring them.
struct Gap {
  Tensor absolute, relative;  // [n, M]
};

// An image that is all but the mean has no norm to speak of: its distances are relative to that of its pixels, or to a
// white image's where these are black.
Gap gap_between(const Tensor& images, const Tensor& candidates, const Tensor& mean) {
  constexpr double all_but_the_mean = 0.01;  // of the pixels' norm, or of a white image's
  const Tensor absolute = distances(images, candidates), precise = images.to(at::kDouble);
  const double white = std::sqrt(static_cast<double>(images.size(1)));
  const Tensor pixels = (precise + mean.to(at::kDouble)).norm(2, {1}, true), less_mean = precise.norm(2, {1}, true);
  const Tensor size = at::where(pixels > all_but_the_mean * white, pixels, at::full_like(pixels, white));
  return {absolute, absolute / at::where(less_mean > all_but_the_mean * size, less_mean, size)};
}

Tensor nearest(const Tensor& gaps) { return std::get<0>(gaps.min(1)); }

// The limits that half of the control set sets for a find.
struct Calibration {
  double threshold;  // relative L2
  Tensor rival;      // [M] L2 from each candidate to the nearest calibration image

  Tensor counts(const Gap& gap) const {
    return (gap.relative < threshold).logical_and(gap.absolute <= rival.unsqueeze(0));
  }
};

Calibration calibrate(const Gap& control) {
  return {std::min(recognisable, quantile(values_of(nearest(control.relative)), calibration_quantile)),
          std::get<0>(control.absolute.min(0))};
}

// Whether so many more training images than control images are among what is claimed that this is no chance, where
// distances cannot be told from zero: tables of few different rows.
bool tells_by_equality(const Gap& training, const Gap& control) {
  constexpr double certain = 1e-3;
  const auto equal = [](const Gap& gap) {
    return rate_of((nearest(gap.relative) < exact_distance).sum().item<std::int64_t>(), gap.relative.size(0));
  };
  return fisher_p_value(equal(training), equal(control)) < certain;
}

Tensor similarities(const Tensor& a, const Tensor& b, const Truth& truth) {
  std::vector<std::int64_t> shape = truth.space.shape;
  shape.insert(shape.begin(), a.size(0));
  return ssim((a + truth.space.mean).reshape(shape), (b + truth.space.mean).reshape(shape));
}

std::optional<double> mean_of(const std::vector<Match>& matches, std::optional<double> Match::*value) {
  double sum = 0;
  std::int64_t count = 0;
  for (const Match& match : matches) {
    if (!(match.*value)) continue;
    sum += *(match.*value);
    ++count;
  }
  return count > 0 ? std::optional(sum / static_cast<double>(count)) : std::nullopt;
}

// One-to-one partners. `rows` [m] are the rows of the claim that the gap's columns stand for.
std::vector<Match> match(const Gap& gap, const Tensor& counts, const Tensor& rows) {
  const auto columns = assign(span_of(gap.absolute), gap.absolute.size(0), gap.absolute.size(1));
  const auto closest = values_of(nearest(gap.relative));
  const auto absolute = gap.absolute.accessor<double, 2>(), relative = gap.relative.accessor<double, 2>();
  const auto counted = counts.accessor<bool, 2>();
  const auto row = rows.accessor<std::int64_t, 1>();
  std::vector<Match> matches(columns.size());
  for (std::size_t k = 0; k < columns.size(); ++k) {
    matches[k].nearest_relative_distance = closest[k];
    const auto image = static_cast<std::int64_t>(k), column = columns[k];
    if (column < 0) continue;
    matches[k].candidate = row[column];
    matches[k].distance = absolute[image][column];
    matches[k].relative_distance = relative[image][column];
    matches[k].reconstructed = counted[image][column];
  }
  return matches;
}

// For each image, the first that it is a copy of, itself where it is none: rounding and changes of half a grey level
// make no other image.
std::vector<std::size_t> originals(const Tensor& images, const Tensor& mean) {
  constexpr double same_image = 0.01;  // relative L2
  constexpr std::int64_t most = 4000;  // beyond, the first so many alone are compared: all distances take 128 MB
  if (images.size(0) > most) {
    std::vector<std::size_t> first = originals(images.narrow(0, 0, most), mean);
    for (std::int64_t k = most; k < images.size(0); ++k) first.push_back(static_cast<std::size_t>(k));
    return first;
  }
  const Tensor near = gap_between(images, images, mean).relative < same_image;
  const auto is_near = near.accessor<bool, 2>();
  std::vector<std::size_t> first(static_cast<std::size_t>(images.size(0)));
  for (std::size_t k = 0; k < first.size(); ++k) {
    first[k] = k;
    for (std::size_t i = 0; i < k && first[k] == k; ++i) {
      if (first[i] == i && is_near[static_cast<std::int64_t>(k)][static_cast<std::int64_t>(i)]) first[k] = i;
    }
  }
  return first;
}

// Copies of one training image share its partner: each of them is reconstructed.
void share_between_copies(std::vector<Match>& matches, const std::vector<std::size_t>& original) {
  std::map<std::size_t, std::size_t> found;
  for (std::size_t k = 0; k < matches.size(); ++k) {
    if (matches[k].reconstructed) found.emplace(original[k], k);
  }
  for (std::size_t k = 0; k < matches.size(); ++k) {
    if (matches[k].reconstructed) continue;
    if (const auto copy = found.find(original[k]); copy != found.end()) matches[k] = matches[copy->second];
  }
}

void add_similarity(std::vector<Match>& matches, const Tensor& candidates, const Truth& truth) {
  if (truth.space.shape.size() < 2 || truth.space.named) return;
  std::vector<std::int64_t> images, partners;
  for (std::size_t k = 0; k < matches.size(); ++k) {
    if (matches[k].candidate < 0) continue;
    images.push_back(static_cast<std::int64_t>(k));
    partners.push_back(matches[k].candidate);
  }
  const auto similarity = values_of(similarities(truth.training.index_select(0, at::tensor(images)),
                                                 candidates.index_select(0, at::tensor(partners)), truth));
  for (std::size_t k = 0; k < images.size(); ++k) matches[static_cast<std::size_t>(images[k])].ssim = similarity[k];
}

// Copies of one image are one trial: interval and p-value are those of different images.
void count(Score& result, const std::vector<std::size_t>& original, std::int64_t control_found, std::int64_t control) {
  std::int64_t found = 0, different = 0, different_found = 0;
  for (std::size_t k = 0; k < original.size(); ++k) {
    const bool reconstructed = k < result.matches.size() && result.matches[k].reconstructed, is_new = original[k] == k;
    found += reconstructed ? 1 : 0;
    different += is_new ? 1 : 0;
    different_found += reconstructed && is_new ? 1 : 0;
  }
  result.reconstructed = rate_of(found, static_cast<std::int64_t>(original.size()));
  result.control = rate_of(control_found, control);
  const Rate once = rate_of(different_found, different);
  result.reconstructed->ci95_low = once.ci95_low;
  result.reconstructed->ci95_high = once.ci95_high;
  result.p_value = fisher_p_value(once, *result.control);
}

// Everything that is measured on the images of a claim, of which `rows` [m >= 1] are finite.
void score_images(Score& result, const Truth& truth, const Halves& control, const Tensor& rows,
                  const Tensor& confirmed) {
  const Tensor candidates = result.clipped.index_select(0, rows);
  const Gap training = gap_between(truth.training, candidates, truth.space.mean),
            calibrating = gap_between(control.calibration, candidates, truth.space.mean),
            counted = gap_between(control.counted, candidates, truth.space.mean);
  Calibration calibration = calibrate(calibrating);
  if (calibration.threshold < exact_distance && tells_by_equality(training, counted)) {
    calibration.threshold = exact_distance;
  }
  const Tensor ours = calibration.counts(training), theirs = calibration.counts(counted).any(1);

  result.threshold = calibration.threshold;
  result.matches = match(training, ours, rows);
  const std::vector<std::size_t> original = originals(truth.training, truth.space.mean);
  share_between_copies(result.matches, original);
  add_similarity(result.matches, result.clipped, truth);
  count(result, original, theirs.sum().item<std::int64_t>(), theirs.size(0));
  result.mean_relative_distance = mean_of(result.matches, &Match::relative_distance);
  result.mean_ssim = mean_of(result.matches, &Match::ssim);
  result.member_distances = values_of(nearest(training.relative));
  result.control_distances = values_of(nearest(counted.relative));
  result.membership = membership_of(MembershipScores{
      -nearest(training.relative), -at::cat({nearest(calibrating.relative), nearest(counted.relative)})});
  if (confirmed.defined())
    result.confirmed_right = ours.logical_or(training.relative < exact_distance)
                                 .any(0)
                                 .logical_and(confirmed.index_select(0, rows))
                                 .sum()
                                 .item<std::int64_t>();
}

}  // namespace

MembershipScores membership_scores(const Claim& claim, const Truth& truth, Generator& random) {
  const std::int64_t members = truth.training.size(0), all = members + truth.control.size(0);
  const Tensor order = at::randperm(all, random, at::kLong);
  Candidates pool(at::cat({truth.training, truth.control}).index_select(0, order));
  if (truth.training_targets.defined()) {
    pool.targets = at::cat({truth.training_targets, truth.control_targets}).index_select(0, order);
  }
  const Tensor scores = claim.membership(pool);
  require(scores.dim() == 1 && scores.size(0) == all, "membership has to be one score for each image");
  const Tensor in_order = at::empty_like(scores).index_copy_(0, order, scores);
  return {in_order.narrow(0, 0, members).contiguous(), in_order.narrow(0, members, all - members).contiguous()};
}

Membership membership_of(const MembershipScores& scores) {
  return membership_of(values_of(scores.training), values_of(scores.control));
}

Score score(const Claim& claim, const Truth& truth, Generator& random) {
  check(truth);
  check(claim, truth.training.size(1));
  const c10::NoGradGuard no_gradients;
  const Truth pixels = in_pixels(truth);
  const Halves control = split(pixels.control, random);
  Score result;
  if (claim.images.defined()) {
    const Tensor rows = at::isfinite(claim.images).all(1).nonzero().flatten();
    result.candidates = rows.size(0);
    result.clipped = clipped(truth.space.times_scale(claim.images), truth.space.mean);
    if (claim.confirmed.defined()) {
      result.confirmed = claim.confirmed.sum().item<std::int64_t>();
      result.confirmed_right = 0;
    }
    if (result.candidates > 0)
      score_images(result, pixels, control, rows, claim.confirmed);
    else
      result.matches.resize(static_cast<std::size_t>(truth.training.size(0)));
    result.clipped = truth.space.over_scale(result.clipped);
    if (claim.images.size(0) == 0)
      count(result, originals(pixels.training, pixels.space.mean), 0, control.counted.size(0));
  }
  if (claim.membership) result.membership = membership_of(membership_scores(claim, truth, random));
  return result;
}

}  // namespace afterimage
