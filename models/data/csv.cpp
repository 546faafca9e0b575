#include "models/formats/csv.h"

#include <fmt/format.h>

#include "models/data/sources.h"
#include "models/foundations/error.h"

namespace afterimage {
namespace {

Tensor in_range(Tensor values, const std::string& file) {
  const float low = values.min().item<float>(), high = values.max().item<float>();
  if (low >= 0 && high <= 1) return values;
  if (low >= 0 && high <= 255 && at::equal(values, values.round())) return values.div_(255);
  throw InputError(
      fmt::format("{}: values go from {:.3g} to {:.3g}; scale each column to [0, 1], as by (x - min) / (max - min)",
                  file, low, high));
}

}  // namespace

LabelledImages load_csv(const std::string& file) {
  const CsvTable table = read_csv(file);
  const std::vector<std::int64_t> classes = classes_of(table.labels, file);
  std::vector<std::int64_t> labels;
  labels.reserve(table.label.size());
  for (const auto place : table.label) labels.push_back(classes[place]);
  LabelledImages loaded;
  loaded.files = {file};
  loaded.images = in_range(to_tensor(table.values), file);
  loaded.labels = at::tensor(labels, at::kLong);
  return loaded;
}

}  // namespace afterimage
