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

}  // namespace afterimage
