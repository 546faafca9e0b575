// Reference models of an audit: networks that were trained in the same way on other records of the same source.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "attacks/subject.h"
#include "audit/drawn_data.h"
#include "models/training.h"

namespace afterimage {

// Weights of the released network's layout. Throws InputError, with the file: another layout, or the weights of the
// network itself, whose training set a reference must not have seen.
std::vector<Parameters> read_references(const std::vector<std::string>& files, const std::string& key,
                                        const TrainedNetwork& released);

// Of a run directory: the weights of its references, and the inputs [P, d] that they were trained on; none where it has
// no such folder.
struct RunReferences {
  std::vector<std::string> files;
  Tensor trained_on;
};
RunReferences references_of_run(const std::filesystem::path& run);

// Trains `count` networks by the recipe from the same initial weights, each on as many images as the training set has,
// drawn from those that are in neither set, and writes them into the run directory. Throws UsageError where there are
// too few.
void train_references(const std::filesystem::path& run, std::int64_t count, const Network& network,
                      const Parameters& initial, const DrawnData& data, const Recipe& recipe, Generator& random,
                      Progress& progress);
// Throws UsageError where the data do not suffice.
void require_references(std::int64_t count, const DrawnData& data);

}  // namespace afterimage
