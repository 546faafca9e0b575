// The `train` command, which the demo uses too.
#pragma once

#include <map>
#include <string>

#include "audit/context.h"
#include "audit/drawn_data.h"
#include "models/training.h"

namespace afterimage {

struct TrainRequest {
  std::string data, task, architecture, parameterization = "standard", out;
  std::int64_t samples = 0;
  InputRequest inputs;
  double first_layer_scale =
      1;  // times the first layer's initial weights; small ones leave a rich regime (docs/methods.md, section 4)
  bool allow_torchscript = false;  // whether code in a TorchScript archive may run
  Recipe recipe;
  std::string defense = "none";
  std::map<std::string, std::string> defense_options;  // as typed, by name
  bool resume = false;                                 // continue the defence of an interrupted run of the same
};

// Trains and writes the run directory. Throws UsageError or InputError, and then leaves nothing behind; Interrupted,
// and leaves the state of the defence beside `out` (audit/defense_state.h).
void train_run(const TrainRequest& request, const Context& context);

}  // namespace afterimage
