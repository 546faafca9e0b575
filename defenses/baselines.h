// Defences that users would pick instead of distillation, and the sanity checks that every comparison should pass.
#pragma once

#include "defenses/defense.h"

namespace afterimage {

// Trains as if nothing were done: all others are compared with it.
Defense no_defense();
// Training ends at a higher loss.
Defense early_stopping_defense();
// L2 in training.
Defense weight_decay_defense();
// Gaussian noise on the weights that are released, in each parameter tensor in proportion to its change in training.
Defense release_noise_defense();
// The same number of images of each class, drawn at random, in place of all.
Defense random_subset_defense();
// The images with their labels at random: a network that learned nothing useful leaks as much.
Defense random_labels_defense();

// The option of all that distil: images of each class.
OptionSpec per_class_option(const std::string& fallback = "10");
std::int64_t per_class(const OptionValues& options);

// The class [n] int64 of each row of targets [n, C]: the sign of one (0 or 1), the largest of several.
Tensor classes_of(const Tensor& targets);
// Targets of `per_class` images of each class in turn, [classes per_class, C] float32: +-1, or one-hot.
Tensor class_targets(const Undefended& undefended, std::int64_t per_class);

}  // namespace afterimage
