// Training a network to be audited, and its run directory.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "audit/context.h"
#include "audit/drawn_data.h"
#include "audit/run_directory.h"
#include "defenses/defense.h"
#include "models/training.h"

namespace afterimage {

struct TrainRequest {
  std::string data, task, architecture, parameterization = "standard", out;
  std::vector<std::string> tasks = {};  // in turn, in place of `task` (audit/task_sequence.h)
  std::int64_t samples = 0;
  InputRequest inputs;
  double first_layer_scale =
      1;  // times the first layer's initial weights; small ones leave a rich regime (docs/methods.md, section 4)
  bool allow_torchscript = false;  // whether code in a TorchScript archive may run
  Recipe recipe;
  std::string defense = "none";
  std::map<std::string, std::string> defense_options;  // as typed, by name
  std::int64_t references = 0;                         // further networks, trained on other images (audit/references.h)
  bool resume = false;                                 // continue the defence of an interrupted run of the same
};

ModelDescription model_of(const TrainRequest& request, const std::string& task, const DrawnData& data);

// training.json of a released network. `seconds`: that training took.
Json training_record(const TrainRequest& request, const Context& context, const Network& network,
                     const ModelDescription& model, const DrawnData& data, const Release& release, double seconds);

struct WrittenRun {
  ModelDescription model;
  Parameters initial;
  Release release;
  Json record;  // training_record()
};
// The files of a run directory, in the folder `out`, which exists.
void write_run(const std::filesystem::path& out, const WrittenRun& run, const DrawnData& data);

// Reads the data and makes the network, and trains nothing. Throws UsageError or InputError as train_run() does before
// its work begins.
void check_training(const TrainRequest& request, const Context& context);

// Trains and writes the run directory. Throws UsageError or InputError, and then leaves nothing behind; Interrupted,
// and leaves the state of the defence beside `out` (audit/defense_state.h).
void train_run(const TrainRequest& request, const Context& context);

}  // namespace afterimage
