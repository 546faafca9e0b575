// Scoring against a control (docs/methods.md, section 6): every distance is compared with the same distance for images
// that were never trained on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "attacks/scoring/claim.h"
#include "models/foundations/statistics.h"
#include "models/image_space.h"

namespace afterimage {

// The images that claims are compared with. Attacks never see it.
struct Truth {
  Tensor training;   // [N, d] float32, as the network saw it (mean subtracted, divided by the scale)
  Tensor control;    // [K, d], likewise
  ImageSpace space;  // pixels in [0, 1]
  Tensor training_targets = {}, control_targets = {};  // [N, C], [K, C]; undefined where they are not known
};

// The claim's scores of training and control images, which are handed over as one pool, in an order drawn by `random`.
// Throws std::invalid_argument where there is not one score for each, and what the claim throws.
struct MembershipScores {
  Tensor training, control;  // [N], [K]
};
MembershipScores membership_scores(const Claim& claim, const Truth& truth, Generator& random);
Membership membership_of(const MembershipScores& scores);

// One training image. Partners are one-to-one and have the least total L2 distance, so that an image that is claimed
// exactly does not lose its copy to another. Null without a partner, or where an image has no height and width.
struct Match {
  std::int64_t candidate = -1;                              // row of the claim, -1 without a partner
  std::optional<double> distance, relative_distance, ssim;  // to the partner, clipped to the pixel range
  std::optional<double> nearest_relative_distance;          // to the nearest candidate of all
  bool reconstructed = false;
};

struct Score {
  std::int64_t candidates = 0;  // images claimed, less those with a value that is not finite: they are no candidates
  std::optional<double> threshold;             // relative L2; null without candidates
  std::optional<Rate> reconstructed, control;  // null when the attack made no images, or none that is finite
  std::optional<std::int64_t> confirmed, confirmed_right;   // null where the attack cannot confirm
  std::optional<Membership> membership;                     // against the whole control set
  std::optional<double> p_value;                            // Fisher's, of `reconstructed` against `control`
  std::optional<double> mean_relative_distance, mean_ssim;  // over the images that have a partner
  // Relative L2 to the nearest candidate: of the training images, and of the counted half of the control set.
  std::vector<double> member_distances, control_distances;
  std::vector<Match> matches;  // one per training image; empty when no images were made
  Tensor clipped;  // [M, d] the claim's images, clipped to the pixel range; the mean image where they are not finite
};

// A candidate counts for an image when three things hold:
//  - it is nearer (relative L2, in units of pixels: distance over the norm of the image less the mean) than the 1 %
//    quantile of the distances from the images of half of the control set, drawn by `random`, to their nearest
//    candidates. Where that quantile is below `exact_distance`, since control images are among the candidates, but far
//    more training images than control images are (Fisher's p below 0.001), within `exact_distance`;
//  - it is within relative L2 0.5;
//  - it is specific: no image of that half is nearer to it (L2) than the image itself.
// The third condition halves the rate by chance: a claim of real images that were never trained on is credited with
// about one training image in two hundred, and with one in a hundred by the threshold alone.
//
// A training image is reconstructed when its partner counts for it. A counted control image, from the other half, needs
// no partner: any candidate that counts for it is enough. That favours the control set, so the p-value errs on the safe
// side.
//
// Membership needs no threshold, and so no calibration: all control images are held against all training images, by the
// attack's own scores, or else by minus the relative distance to the nearest candidate.
//
// A confirmed candidate is right when it counts for some training image, or is within `exact_distance` of one, whatever
// the control set holds: a table may have so few different rows that control rows equal training rows. A claim of zero
// images is a claim that there is nothing to find: 0 of N. Throws std::invalid_argument on shapes that do not fit, no
// training images, fewer than 2 control images, training or control images that are not finite, or membership scores
// that are NaN.
inline constexpr double recognisable = 0.5;
inline constexpr double exact_distance = 1e-3;
inline constexpr double calibration_quantile = 0.01;
Score score(const Claim& claim, const Truth& truth, Generator& random);

}  // namespace afterimage
