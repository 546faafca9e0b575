// Generalized variational continual learning as a defence: what is released is the mean of a distribution of weights,
// or a sample.
#pragma once

#include "defenses/continual_learner.h"
#include "defenses/defense.h"

namespace afterimage {

Defense gvcl_defense();
// The settings among the defence's options. Throws UsageError.
GvclSettings gvcl_settings(const OptionValues& options);
// The network as one that GVCL can learn. Throws UsageError.
const Mlp& gvcl_network(const Network& network);
// Throws UsageError on options of a recipe that GVCL does not use.
void require_gvcl_recipe(const Recipe& recipe);
// What is released of these weights: a draw, where a sample is asked for and they are not certain, or the mean.
Parameters gvcl_released(const DiagonalGaussian& weights, bool sample, Generator& random);
// What training with these settings follows.
Recipe gvcl_recipe(const GvclSettings& settings, LossKind loss);
// The settings, what is released, and how uncertain the weights are: the root of the mean variance of each tensor.
nlohmann::ordered_json gvcl_evidence(const GvclSettings& settings, const DiagonalGaussian& weights, bool sample);

}  // namespace afterimage
