// A store for tests: keeps all that it is given, and begins with one state of an earlier run.
#pragma once

#include <utility>
#include <vector>

#include "models/state.h"

namespace afterimage {

class Recorder final : public StateStore {
 public:
  explicit Recorder(State kept = {}) : kept_(std::move(kept)) {}
  State take() override { return std::exchange(kept_, {}); }
  bool due() const override { return true; }
  void keep(const State& state) override { states.push_back(state); }

  std::vector<State> states;

 private:
  State kept_;
};

}  // namespace afterimage
