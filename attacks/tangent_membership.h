// Membership by the reconstruction functional with the images given (attacks/solver/tangent_regression.h): for every
// network, whatever its layers and its optimiser. Two threat models, an attack each.
#pragma once

#include "attacks/attack.h"

namespace afterimage {

// The attacker holds a pool in which all training records are, among others, and their labels: the pool's features
// share the change of the parameters, and the coefficients tell members.
Attack tangent_membership_attack();

// The attacker holds one candidate at a time, with its label, and other records of the source that nobody trained on:
// what these explain is taken off the change and off the candidate's feature.
Attack tangent_background_attack();

}  // namespace afterimage
