// What outputs say of the candidates' labels, in float64.
#pragma once

#include "attacks/scoring/claim.h"
#include "models/network.h"
#include "models/training.h"

namespace afterimage {

// The outputs [n, C] of the targets' classes, C as in the targets: those of groups that stand for a class each are
// joined (class_outputs()). Throws NotApplicable where the candidates have no targets, or the outputs do not fit them.
Tensor outputs_of_classes(const Network& network, const Parameters& parameters, const Candidates& candidates);

// log(p / (1 - p)) of the label's probability p, [n]: the label's output less the logarithm of the others' summed
// exponentials, or with one output that times the target. Throws as above.
Tensor label_log_odds(const Network& network, const Parameters& parameters, const Candidates& candidates);

// Each image's own loss of outputs towards targets [n, C]: [n].
Tensor losses(LossKind loss, const Tensor& outputs, const Tensor& targets);

// How far the label's output is above the largest other, or with one output that times the target: [n].
Tensor margins(const Tensor& outputs, const Tensor& targets);

}  // namespace afterimage
