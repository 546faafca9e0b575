// What students, and teachers that are to have subclasses, are trained by.
#pragma once

#include "models/training.h"

namespace afterimage {

// Towards distributions [n, K]: KL(wanted || softmax(outputs)), in the mean over images.
Objective divergence_from(const Tensor& wanted);

// The objective of a student: with t(T) = softmax(t / T) of the teacher's logits,
//   (1 - s) T^2 KL(t(T) || softmax(f / T)) + s CE(y, softmax(f)),
// in the mean over images, all [n, K]: `logits` t, labels y one-hot, T above zero, s from 0 to 1.
Objective student_objective(const Tensor& logits, const Tensor& labels, double temperature, double label_share);

// The objective of a teacher that is to have S subclasses in each of C classes, outputs [n, C S]: cross-entropy of the
// classes, and `weight` times Mueller et al.'s term for subclasses that differ from image to image,
//   1/T - 1/n sum_i log(e^(z_i.z_i / (K T)) / (1/n sum_j e^(z_i.z_j / (K T)))),  T = 1,
// with z the outputs of each image less their mean over the K = C S, over their standard deviation.
Objective subclass_objective(const Tensor& labels, std::int64_t subclasses, double weight);

// Of outputs [n, C + p]: `classes` of the first C = `count`, and `weight` times half the mean square of what the others
// miss `embeddings` [n, p] by.
Objective with_embeddings(const Objective& classes, const Tensor& embeddings, std::int64_t count, double weight);

}  // namespace afterimage
