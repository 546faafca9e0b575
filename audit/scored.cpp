#include "audit/scored.h"

#include <algorithm>

#include "audit/context.h"
#include "audit/pictures.h"
#include "models/foundations/files.h"

namespace afterimage {
namespace {

constexpr std::size_t most_sample_pictures = 200;  // for each attack, so that a report stays small enough to open
constexpr std::size_t sheet_pictures = 50;
constexpr std::int64_t most_columns = 256;  // of records whose values are in the report

std::string png_of_image(const Tensor& image, const ImageSpace& space) {
  return png_of(space.pixels(image), space.shape);
}

// Values of a record, to as many digits as a page shows.
std::vector<double> values_of(const Tensor& record, const ImageSpace& space) {
  const Tensor values = at::round(space.pixels(record.to(at::kDouble)), /*decimals=*/4).contiguous();
  return {values.data_ptr<double>(), values.data_ptr<double>() + values.numel()};
}

// With the values of the most exposed records and of what they were matched with, where the columns are few.
std::vector<Sample> with_values(std::vector<Sample> samples, const Score& score, const Truth& truth) {
  if (truth.space.dimension() > most_columns) return samples;
  for (std::size_t k = 0; k < std::min(samples.size(), most_sample_pictures); ++k) {
    const auto candidate = score.matches[samples[k].index].candidate;
    samples[k].original = values_of(truth.training[samples[k].index], truth.space);
    if (candidate >= 0) samples[k].reconstruction = values_of(score.clipped[candidate], truth.space);
  }
  return samples;
}

std::vector<Sample> samples_of(const Score& score, const StoredClaim& claim, const Truth& truth,
                               const std::vector<std::string>& labels) {
  std::vector<Sample> samples;
  for (std::size_t i = 0; i < score.matches.size(); ++i) {
    const Match& match = score.matches[i];
    Sample sample{static_cast<std::int64_t>(i), labels[i],  match.distance,
                  match.relative_distance,      match.ssim, std::nullopt,
                  match.reconstructed,          "",         ""};
    if (claim.coefficients.defined() && match.candidate >= 0) {
      sample.coefficient = claim.coefficients[match.candidate].norm().item<double>();
    }
    samples.push_back(sample);
  }
  std::stable_sort(samples.begin(), samples.end(), [](const Sample& a, const Sample& b) {
    return a.relative_distance.value_or(1e300) < b.relative_distance.value_or(1e300);
  });
  if (!truth.space.is_picture()) return with_values(std::move(samples), score, truth);
  for (std::size_t k = 0; k < std::min(samples.size(), most_sample_pictures); ++k) {
    const Match& match = score.matches[samples[k].index];
    samples[k].original_png = png_of_image(truth.training[samples[k].index], truth.space);
    if (match.candidate >= 0) samples[k].reconstruction_png = png_of_image(score.clipped[match.candidate], truth.space);
  }
  return samples;
}

// A report holds no array of more than 10,000 numbers; in place of a longer one it has as many quantiles (the arrays
// beside the report hold all of it).
std::vector<double> thinned(std::vector<double> values) {
  constexpr std::size_t most = 10000;
  if (values.size() <= most) return values;
  std::sort(values.begin(), values.end());
  std::vector<double> quantiles;
  for (std::size_t i = 0; i < most; ++i) quantiles.push_back(values[i * (values.size() - 1) / (most - 1)]);
  return quantiles;
}

std::vector<double> negated(std::vector<double> values) {
  for (double& value : values) value = -value;
  return values;
}

// Which claimed image each training image is matched with. What scoring draws at random does not change that.
Score matched(const StoredClaim& claim, const Truth& truth) {
  Generator random = seeded(0);
  return score(Claim{claim.images, claim.confirmed, {}}, truth, random);
}

}  // namespace

void fill_scores(Finding& finding, const StoredClaim& stored, const Truth& truth,
                 const std::vector<std::string>& labels, std::int64_t seed, const std::optional<BoundRequest>& bound) {
  Generator random = seeded(stage_seed(seed, "scoring"));
  Score score = afterimage::score({stored.images, stored.confirmed, {}}, truth, random);
  MembershipScores scores{stored.membership_training, stored.membership_control};
  if (scores.training.defined()) score.membership = membership_of(scores);
  if (score.membership && bound) {
    const auto members = scores.training.defined() ? to_doubles(scores.training) : negated(score.member_distances);
    const auto others = scores.control.defined() ? to_doubles(scores.control) : negated(score.control_distances);
    score.membership->epsilon_lower_bound = epsilon_lower_bound(members, others, *bound, stage_seed(seed, "epsilon"));
  }
  finding.threshold = score.threshold;
  finding.reconstructed = score.reconstructed;
  finding.control = score.control;
  finding.confirmed.reset();
  if (score.confirmed) finding.confirmed = Confirmed{*score.confirmed, score.confirmed_right.value_or(0)};
  finding.membership = score.membership;
  finding.p_value = score.p_value;
  finding.mean_relative_distance = score.mean_relative_distance;
  finding.mean_ssim = score.mean_ssim;
  finding.member_distances = thinned(score.member_distances);
  finding.control_distances = thinned(score.control_distances);
  finding.samples = samples_of(score, stored, truth, labels);
}

Json compare_coefficients(const StoredClaim& claim, const Truth& truth, const Tensor& coefficients) {
  constexpr double found_within = 0.05, right_within = 0.05;
  std::vector<double> errors;
  if (claim.images.defined() && claim.images.size(0) > 0) {
    const Score score = matched(claim, truth);
    for (std::size_t i = 0; i < score.matches.size(); ++i) {
      const Match& match = score.matches[i];
      if (match.relative_distance.value_or(1) > found_within) continue;
      const Tensor claimed = claim.coefficients[match.candidate].to(at::kDouble),
                   right = coefficients[static_cast<std::int64_t>(i)].to(at::kDouble);
      errors.push_back(((claimed - right).norm() / right.norm()).item<double>());
    }
  }
  std::sort(errors.begin(), errors.end());
  const auto right = std::upper_bound(errors.begin(), errors.end(), right_within) - errors.begin();
  return {{"images_within_0_05", errors.size()},
          {"coefficients_within_5_percent", right},
          {"median_relative_error", errors.empty() ? Json(nullptr) : Json(errors[errors.size() / 2])}};
}

void write_sheet_of(const Finding& finding, const StoredClaim& claim, const Truth& truth,
                    const std::filesystem::path& out) {
  if (!finding.reconstructed || !truth.space.is_picture()) return;
  const Score score = matched(claim, truth);
  std::vector<std::pair<Picture, Picture>> pairs;
  for (const auto& sample : finding.samples) {
    const auto partner = score.matches.at(static_cast<std::size_t>(sample.index)).candidate;
    if (partner < 0 || pairs.size() == sheet_pictures) continue;
    const ImageSpace& space = truth.space;
    pairs.emplace_back(picture_of(space.pixels(truth.training[sample.index]), space.shape),
                       picture_of(space.pixels(score.clipped[partner]), space.shape));
  }
  if (!pairs.empty()) write_file(out / "contact-sheet.png", contact_sheet(pairs));
}

}  // namespace afterimage
