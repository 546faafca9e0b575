// What the parts of attacks take in time and memory, counted.
#pragma once

#include <cstdint>
#include <vector>

#include "attacks/subject.h"

namespace afterimage {

// What an attack takes at most, as far as this can be said before it begins.
struct Estimate {
  double products = 0;           // multiplications in matrix products
  double programme_seconds = 0;  // of linear programmes and splitting, on one core of some 2020 machine
  double bytes = 0;              // at its peak, beside the subject itself
  double seconds = 0;            // of work that was tried on this machine, with the threads that there are
};

// Sizes that costs follow from.
struct Sizes {
  double parameters = 0;  // P
  double first = 0;       // of the first layer's weights
  double units = 0;       // outputs of all layers together
  double pixels = 0;
};
Sizes sizes_of(const TrainedNetwork& released);

// The singular values and rows of the first layer's change, float64, several times.
Estimate cost_of_span(const Sizes& sizes);
// `steps` of a search with so many candidates, each with `unknowns` coordinates and features at `points` points.
Estimate cost_of_search(const Sizes& sizes, double candidates, double points, double unknowns, double steps);
// The same of a search over pixels for a network whose derivatives only autograd takes, so that its layers do not show
// the cost of an image: by trying steps with one image and with a few. With the candidates' kernel after it, where that
// has no more than `largest_kernel` rows.
Estimate cost_of_search_by_autograd(const Subject& subject, const std::vector<double>& points, std::int64_t candidates,
                                    double steps, std::int64_t largest_kernel);
// So many linear programmes along directions in so many dimensions.
double seconds_of_programmes(double count, double rank);
// So many candidates led to vertices by splitting, in so many dimensions.
double seconds_of_snaps(double count, double rank);
// Gradient flow of so many images, forwards, with `copies` tensors of the parameters' size alive at a time.
Estimate cost_of_path(const Sizes& sizes, double images, double segments, double copies);

// One after the other: times add up, and the larger memory counts.
Estimate operator+(const Estimate& a, const Estimate& b);

}  // namespace afterimage
