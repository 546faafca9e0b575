// Students: a smaller network learns from the outputs or embeddings of one that was trained on the private images (the
// teacher), and is released in its place.
#pragma once

#include "defenses/defense.h"

namespace afterimage {

// Learns the teacher's class probabilities (Hinton et al. 2015, arXiv 1503.02531), its labels alone, the subclasses of
// a teacher that was trained to have some (Müller et al. 2020, arXiv 2002.03936), or its embeddings (Romero et al.
// 2015, arXiv 1412.6550, with one linear projector).
Defense distilled_student_defense();
// Learns pseudo-subclasses (defenses/pseudo_subclasses.h).
Defense lelp_defense();

// The objective of a student: with t(T) = softmax(t / T) of the teacher's logits,
//   (1 - s) T^2 KL(t(T) || softmax(f / T)) + s CE(y, softmax(f)),
// in the mean over images, all [n, K]: `logits` t, labels y one-hot, T above zero, s from 0 to 1.
Objective student_objective(const Tensor& logits, const Tensor& labels, double temperature, double label_share);

// The objective of a teacher that is to have S subclasses in each of C classes, outputs [n, C S]: cross-entropy of the
// classes, and `weight` times Mueller et al.'s term for subclasses that differ from image to image,
//   -1/n sum_i log(e^(z_i.z_i / (K T)) / (1/n sum_j e^(z_i.z_j / (K T)))),  T = 1,
// with z the outputs of each image less their mean over the K = C S, over their standard deviation.
Objective subclass_objective(const Tensor& labels, std::int64_t subclasses, double weight);

}  // namespace afterimage
