// Distilled sets for ridge regression on random Fourier features (Maalouf et al., NeurIPS 2023, arXiv 2305.14113).
//
// Few points with labels that are solved for, so that ridge regression on them has the same weights as ridge regression
// on all training images (feature_ridge.h: what is exact, and when). That predictor is then the same everywhere, and
// its distance from kernel ridge regression on all images is bounded. None of this holds
// for a network that is trained on the set: release() measures how much of the predictor it learned.
//
// The points may be anything of full rank, such as noise: then no training image is in the set. Its labels still carry
// the weights, which are a weighted sum of features of the training images, like the drift of a trained network.
#pragma once

#include "defenses/defense.h"

namespace afterimage {

// Its distill() gives as evidence: rank and condition of the system that the labels solve, how far the weights are
// apart (as solved, and with labels rounded to float32 as they are kept), degrees of freedom, bounds and what was
// measured against them on the training images, and in words what is wrong or not protected. What takes the full kernel
// is null above 4000 images. It throws UsageError where more images are to be chosen than there are, and where they
// have no median distance.
//
// Its release() trains the recipe's network on the set. It throws UsageError unless the recipe's loss is squared: the
// labels are real numbers.
Defense random_features_defense();

// `count` different rows of images [n, d], count <= n, [count] int64: the first at random, each further one with
// probability in proportion to the squared distance to the nearest that is chosen (Arthur & Vassilvitskii 2007). Rows
// equal to chosen ones come last.
Tensor kmeans_plus_plus(const Tensor& images, std::int64_t count, Generator& random);

// `count` images [count, d] float32: Gaussian noise about the mean image, of standard deviation `spread` times the
// range of the pixels, cut off at the bounds. They depend on nothing but the bounds.
Tensor noise_images(const ImageSpace& space, double spread, std::int64_t count, Generator& random);

}  // namespace afterimage
