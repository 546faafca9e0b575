#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <optional>

#include "audit/checkpoint_difference.h"
#include "audit/commands/commands.h"
#include "audit/report_file.h"
#include "audit/summary.h"
#include "models/data/labelled_images.h"
#include "models/dense_layers.h"
#include "models/formats/idx.h"
#include "models/formats/weight_file.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/text.h"
#include "models/tensor.h"
#include "models/weights.h"

namespace afterimage {
namespace {

void print_arrays(const NamedArrays& arrays) {
  std::int64_t total = 0;
  for (const auto& [name, array] : arrays) {
    const Tensor values = to_tensor(array).to(at::kDouble);
    const auto broken = (at::isfinite(values).logical_not()).sum().item<std::int64_t>();
    const bool any = values.numel() > 0;
    fmt::print("  {:<24} {:<9} [{}]  norm {:.5g}, from {:.4g} to {:.4g}{}\n", printable(name), name_of(array.dtype),
               fmt::join(array.shape, ", "), any ? values.norm().item<double>() : 0,
               any ? values.min().item<double>() : 0, any ? values.max().item<double>() : 0,
               broken > 0 ? fmt::format(", {} NaN or infinite", broken) : "");
    total += array.elements();
  }
  fmt::print("  {} arrays, {} numbers\n", arrays.size(), total);
}

// What an audit would take the weights for, or why it would refuse them.
void print_network(const WeightFile& read, const std::string& file) {
  const auto weights = [&]() -> std::optional<Weights> {
    try {
      return weights_of(read, file);
    } catch (const InputError& error) {
      fmt::print("  refused as weights: {}\n", on_one_line(error.what()));
      return std::nullopt;
    }
  }();
  if (!weights) return;
  const auto& known = read.content.notes;
  for (const auto& note : weights->notes) {
    if (std::find(known.begin(), known.end(), note) == known.end()) fmt::print("  for an audit: {}\n", note);
  }
  const auto dense = dense_layers(weights->parameters);
  if (!dense) return;
  fmt::print("  an audit would take it for {} on inputs of {}, {} output(s), with ReLUs\n", dense->architecture(),
             dense->sizes.front(), dense->sizes.back());
}

bool is_idx(const std::filesystem::path& path) {
  const auto name = path.filename().string();
  return name.find("ubyte") != std::string::npos || name.find(".idx") != std::string::npos;
}

// Each prints `heading` after the file is read, so that a file that is refused prints nothing.
void inspect_json(const std::filesystem::path& path, const std::string& heading) {
  const Json document = read_document(path.string());
  const std::string schema = document.is_object() && document.contains("schema") && document["schema"].is_string()
                                 ? document["schema"].get<std::string>()
                                 : "";
  if (is_report(document)) {
    const Report report = report_from_json(document, path.string());
    fmt::print("{}report by {} {}, seed {}\n", heading, printable(report.tool.name), printable(report.tool.version),
               report.tool.seed);
    print_summary(report, "");
    return;
  }
  fmt::print("{}JSON{}\n", heading, schema.empty() ? "" : ", schema " + printable(schema));
  if (!document.is_object()) return;
  for (const auto& [key, value] : document.items()) {
    fmt::print("  {}: {}\n", printable(key), printable(value.dump(-1, ' ', true, Json::error_handler_t::replace)));
  }
}

void inspect_weights(const std::filesystem::path& path, const std::string& key, const std::string& heading) {
  const WeightFile file = read_weight_file(path, key);
  fmt::print("{}{}\n", heading, file.kind);
  for (const auto& line : file.metadata) fmt::print("  metadata {}\n", line);
  for (const auto& note : file.content.notes) fmt::print("  {}\n", note);
  for (const auto& other : file.content.passed_over) {
    fmt::print("  {:<24} not read: {}\n", printable(other.name), printable(other.what));
  }
  if (!file.content.no_weights.empty()) fmt::print("  {}\n", file.content.no_weights);
  const bool data = find(file.content.arrays, "images") != nullptr && find(file.content.arrays, "labels") != nullptr;
  const bool weights = !data && !file.content.arrays.empty() && !file.is_script && file.content.no_weights.empty();
  if (weights) print_network(file, path.string());
  print_arrays(file.content.arrays);
}

int inspect(const std::string& file, const std::string& key) {
  const std::filesystem::path path(file);
  std::error_code ignored;
  const bool folder = std::filesystem::is_directory(path, ignored);
  const FileDigest digest = digest_of_weights(path);
  const std::string heading = fmt::format("{}: {} bytes, SHA-256 {}\n", on_one_line(file), digest.bytes, digest.sha256);
  const bool weights = folder || is_weight_file(path) || file.ends_with(".index.json");
  if (!key.empty() && !weights) {
    throw UsageError(fmt::format("--key {}: {} holds no weights; leave --key out", printable(key), on_one_line(file)));
  }
  if (!folder && path.extension() == ".json" && !file.ends_with(".index.json")) {
    inspect_json(path, heading);
  } else if (!folder && path.extension() == ".csv") {
    const LabelledImages table = load_images("csv:" + file);
    fmt::print("{}CSV\n", heading);
    for (const auto& note : table.notes) fmt::print("  {}\n", note);
  } else if (!folder && is_idx(path)) {
    const NamedArrays arrays = {{"data", read_idx(path)}};
    fmt::print("{}IDX\n", heading);
    print_arrays(arrays);
  } else if (is_weight_file(path)) {
    inspect_weights(path, key, heading);
  } else {
    throw InputError(file +
                     ": unknown kind of file; .safetensors, .pt, .npz, .csv, .json and IDX files can be inspected");
  }
  return done;
}

std::string change_text(const TensorChange& change) {
  if (change.only_in_first) return "only in the first file";
  if (!change.relative) return "only in the second file, or of another shape in the first";
  if (std::isinf(*change.relative)) return "changed, from zero";
  return *change.relative == 0 ? "unchanged" : fmt::format("changed by {:.3g} of its norm", *change.relative);
}

int compare(const std::string& first, const std::string& second, const std::string& key) {
  auto [before, after] = read_checkpoints(first, second, key, at::kDouble);
  agree_on_names(before, first, after, second);
  note_rounding(before);
  note_rounding(after);
  const CheckpointDifference difference = difference_of(before.parameters, first, after.parameters, second);
  fmt::print("from {}\n", first);
  for (const auto& note : before.notes) fmt::print("  {}\n", note);
  fmt::print("to   {}\n", second);
  for (const auto& note : after.notes) fmt::print("  {}\n", note);
  for (const auto& change : difference.tensors) {
    fmt::print("  {:<24} [{}]  {}\n", printable(change.name), fmt::join(change.shape, ", "), change_text(change));
  }
  for (const auto& finding : difference.findings) fmt::print("- {}\n", finding);
  return done;
}

}  // namespace

void add_inspect(CLI::App& app, Context&, Action& action) {
  auto file = std::make_shared<std::string>(), other = std::make_shared<std::string>(),
       key = std::make_shared<std::string>();
  CLI::App* command =
      app.add_subcommand("inspect",
                         "Say what a weight, data set or report file holds, without running anything in it; or how two "
                         "checkpoints differ and which attacks apply.\n"
                         "  Example: afterimage inspect runs/fashion/trained.safetensors\n"
                         "  Example: afterimage inspect runs/fashion/initial.safetensors "
                         "runs/fashion/trained.safetensors");
  command->add_option("FILE", *file, ".safetensors, .pt, .npz, .json or IDX file")->type_name("")->required();
  command->add_option("OTHER", *other, "weights after training, where FILE has those before")->type_name("FILE");
  command
      ->add_option(
          "--key", *key,
          "which state dict of a PyTorch checkpoint with several, e.g. model or ema.model; or what the names in "
          "one begin with, e.g. teacher")
      ->type_name("NAME");
  command->callback([file, other, key, &action] {
    action = [file, other, key] { return other->empty() ? inspect(*file, *key) : compare(*file, *other, *key); };
  });
}

}  // namespace afterimage
