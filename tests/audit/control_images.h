// Control images for a run without a named source.
#pragma once

#include <string>

#include "audit/run_directory.h"
#include "models/data/split.h"
#include "models/formats/npz.h"

namespace afterimage::test {

// 100 images of Fashion-MNIST that the run, odd against even of them, was not trained on, as NPZ.
inline void write_control(const std::string& run_folder, const std::string& file) {
  const auto trained_on = read_training_set(run_folder + "/training-set.npz", read_model(run_folder + "/model.json"));
  Generator random = seeded(4);
  const auto control =
      draw_control(load_images("fashion-mnist"), Task::parse("odd-even"), trained_on.pixels(), 100, random);
  write_npz(file, {{"images", to_array(control.images)}, {"labels", to_array(control.labels)}});
}

}  // namespace afterimage::test
