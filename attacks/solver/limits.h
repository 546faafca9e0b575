// Limits that several attacks share.
#pragma once

#include <cstdint>

namespace afterimage {

// Candidates to search with where no row space counts the images, and candidates at most.
inline constexpr std::int64_t candidates_without_rank = 100, most_candidates = 20000;
// Rows of the kernel that the claimed images' coefficients are solved for with, at most: in float64 it takes 128 MB.
inline constexpr std::int64_t largest_projection = 4000;
// Where candidates leave a larger share unexplained of what they should add up to (the squared norm of the parameters'
// change, say), they say nothing of the training images. Those themselves leave 0.1 at a network near a KKT point.
inline constexpr double most_unexplained = 0.5;

}  // namespace afterimage
