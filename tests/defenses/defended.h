// A defence by its name, as tests run it.
#pragma once

#include <map>
#include <string>

#include "defenses/defense.h"

namespace afterimage {

inline Release defended_by(const std::string& name, const Undefended& undefended,
                           const std::map<std::string, std::string>& given = {}) {
  Generator random = seeded(3);
  Silent progress;
  NullStore store;
  Job job{random, progress, store};
  return defense_named(name).configured(given).release(undefended, job);
}

}  // namespace afterimage
