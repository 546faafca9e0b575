// The trained network of a subject, for tests that make and change subjects.
#pragma once

#include "attacks/subject.h"

namespace afterimage {

inline TrainedNetwork& released(Subject& subject) { return std::get<TrainedNetwork>(subject.released); }
inline const TrainedNetwork& released(const Subject& subject) { return std::get<TrainedNetwork>(subject.released); }

}  // namespace afterimage
