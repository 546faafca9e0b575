#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <stdexcept>

#include "audit/commands/commands.h"
#include "audit/report_file.h"
#include "audit/runner.h"
#include "audit/scored.h"
#include "models/formats/npz.h"
#include "models/formats/weight_file.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

namespace fs = std::filesystem;

// Parts of a report that cannot be recomputed from the files beside it.
constexpr const char* not_checked =
    "reasons, steps, losses, completeness and evidence of findings, model, training, threat model, deviation, "
    "exposure, limitations "
    "and timing";

// p-values may be tiny, and are compared by their ratio.
bool same_p_value(const Json& a, const Json& b) {
  if (!a.is_number() || !b.is_number()) return a == b;
  const double x = a.get<double>(), y = b.get<double>();
  return std::abs(x - y) <= 1e-6 * std::max(std::abs(x), std::abs(y));
}

// A recomputed number may differ in its last digits on another machine.
bool same(const Json& a, const Json& b) {
  if (a.is_number() && b.is_number()) {
    const double x = a.get<double>(), y = b.get<double>();
    return std::abs(x - y) <= 1e-6 * std::max({1.0, std::abs(x), std::abs(y)});
  }
  if (a.type() != b.type() || a.size() != b.size()) return false;
  if (a.is_array()) {
    for (std::size_t i = 0; i < a.size(); ++i) {
      if (!same(a[i], b[i])) return false;
    }
    return true;
  }
  if (a.is_object()) {
    for (const auto& [key, value] : a.items()) {
      if (!b.contains(key) || !same(value, b[key])) return false;
    }
    return true;
  }
  return a == b;
}

[[noreturn]] void reject(const std::string& file, const std::string& what) {
  throw InputError(fmt::format("{}: {}; the report does not match what lies beside it", file, what));
}

// Where an input of the report is now: under its name, or beside the report. It may be missing.
fs::path place_of(const InputFile& input, const fs::path& folder) {
  return is_there(input.name) ? fs::path(input.name) : folder / fs::path(input.name).filename();
}

// Hashes of the inputs that can be found. Returns how many could not.
int verify_inputs(const Report& report, const fs::path& folder, const std::string& file) {
  int missing = 0;
  for (const auto& input : report.inputs) {
    const fs::path path = place_of(input, folder);
    if (!is_there(path)) {
      fmt::print("input {}: not found, its hash was not checked\n", on_one_line(input.name));
      ++missing;
      continue;
    }
    if (digest_of_weights(path).sha256 != input.sha256)
      reject(file, fmt::format("input {} has another SHA-256", printable(input.name)));
    fmt::print("input {}: hash agrees\n", on_one_line(input.name));
  }
  return missing;
}

// Throws InputError where the scored images are not those of the training set, if that can be found.
void verify_training_images(const Report& report, const Tensor& scored, const fs::path& folder,
                            const std::string& file) {
  const bool by_coin = std::any_of(report.inputs.begin(), report.inputs.end(),
                                   [](const InputFile& input) { return input.role == "canaries"; });
  const std::string role = by_coin ? "canaries" : "training-set";
  for (const auto& input : report.inputs) {
    const fs::path path = place_of(input, folder);
    if (input.role != role || path.extension() != ".npz" || !is_there(path)) continue;
    const NamedArrays arrays = read_npz(path);
    const Array *images = find(arrays, "images"), *included = find(arrays, "included");
    Tensor expected = images == nullptr ? Tensor() : to_tensor(*images).to(at::kFloat).flatten(1);
    if (by_coin && expected.defined() && included != nullptr) {
      expected = expected.index_select(0, at::nonzero(to_tensor(*included)).squeeze(1));
    }
    if (!expected.defined() || !at::equal(expected, scored)) {
      reject(file, fmt::format("scoring.npz holds other images than the {}", by_coin ? "canaries" : "training set"));
    }
    fmt::print("training images: scored as the {} them\n", by_coin ? "canaries hold" : "training set holds");
  }
}

// The name of an attack is part of a file name, so it has to be a known one.
void require_known(const std::string& attack, const std::string& file) {
  try {
    attack_named(attack);
  } catch (const UsageError&) {
    reject(file, fmt::format("{} is no attack", printable(attack)));
  }
}

// As reports before 0.5 have none.
bool has_no_values(const Finding& finding) {
  return std::all_of(finding.samples.begin(), finding.samples.end(),
                     [](const Sample& sample) { return sample.original.empty() && sample.reconstruction.empty(); });
}

// Reports before 0.9 have no bound.
std::optional<BoundRequest> bound_asked_for(const Finding& finding) {
  if (!finding.membership || !finding.membership->epsilon_lower_bound) return std::nullopt;
  const EpsilonLowerBound& bound = *finding.membership->epsilon_lower_bound;
  return BoundRequest{bound.delta, bound.method == BoundMethod::one_run, bound.confidence};
}

Policy policy_of(const Gate& gate, const std::string& file) {
  try {
    return read_policy(gate.policy, file + ": gate.policy");
  } catch (const UsageError& error) {
    throw InputError(error.what());
  }
}

void verify_findings(const Report& report, const fs::path& folder, const std::string& file) {
  const auto [truth, labels] = read_truth(folder / "scoring.npz");
  if (truth.training.size(0) != report.data.samples || truth.control.size(0) != report.data.control_samples) {
    reject(file, "scoring.npz has another number of images");
  }
  verify_training_images(report, truth.training, folder, file);
  for (const auto& attack : all_attacks()) {
    const bool reported = std::any_of(report.findings.begin(), report.findings.end(),
                                      [&](const Finding& finding) { return finding.attack == attack.name; });
    if (!reported && fs::exists(folder / (attack.name + ".npz"))) {
      reject(file, fmt::format("{} has arrays but no finding", attack.name));
    }
  }
  for (const auto& finding : report.findings) {
    require_known(finding.attack, file);
    const fs::path arrays = folder / (finding.attack + ".npz");
    const StoredClaim claim = read_claim(arrays);
    require_fitting(claim, truth, arrays);
    if (claim.status && *claim.status != finding.status) {
      reject(file, fmt::format("the status of {} is {} but its arrays say {}", finding.attack, name_of(finding.status),
                               name_of(*claim.status)));
    }
    Finding again = finding;
    if (claim.images.defined() || claim.membership_training.defined()) {
      try {
        fill_scores(again, claim, truth, labels, report.tool.seed, bound_asked_for(finding));
      } catch (const std::invalid_argument& error) {
        reject(file, fmt::format("the arrays of {} cannot be scored ({})", finding.attack, error.what()));
      }
    } else if (finding.reconstructed || finding.membership) {
      reject(file, fmt::format("{} has scores but no stored claim", finding.attack));
    }
    if (has_no_values(finding)) {
      for (auto& sample : again.samples) sample.original = sample.reconstruction = {};
    }
    const Json reported = to_json(finding), recomputed = to_json(again);
    for (const auto& [key, value] : reported.items()) {
      const bool agrees = key == "p_value" ? same_p_value(value, recomputed[key]) : same(value, recomputed[key]);
      if (!agrees) reject(file, fmt::format("the {} of {} does not follow from its arrays", key, finding.attack));
    }
    fmt::print("finding {}: {}\n", finding.attack,
               claim.status ? "status and scores agree"
                            : "scores agree; its status was not checked, since its arrays do not hold it");
  }
}

void verify_verdict(const Report& report, const std::string& file) {
  Verdict verdict = ungated_verdict(report.findings);
  if (report.gate) {
    const Policy policy = policy_of(*report.gate, file);
    const Gate gate = apply(policy, report);
    Report again = report;
    again.gate = gate;
    if (!same(to_json(report)["gate"], to_json(again)["gate"]))
      reject(file, "the gate's rules do not follow from its policy");
    verdict = verdict_of(policy, gate);
  }
  if (verdict != report.verdict) {
    reject(file, fmt::format("the verdict is {} but should be {}", name_of(report.verdict), name_of(verdict)));
  }
  fmt::print("verdict {}: agrees\n", name_of(verdict));
}

}  // namespace

void add_verify(CLI::App& app, Context&, Action& action) {
  auto path = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand(
      "verify",
      "Recompute hashes, scores and verdict of a report from what lies beside it, without attacking again.\n"
      "  Exit 4 when anything differs; else the exit code of the verdict.\n"
      "  Not checked: inputs that are missing, the status of an attack whose arrays do not hold it, " +
          std::string(not_checked) +
          ".\n"
          "  Example: afterimage verify report/report.json");
  command->add_option("REPORT", *path, "report.json")->type_name("FILE")->required();
  command->callback([path, &action] {
    action = [path] {
      const Report report = read_report(*path);
      const fs::path folder = fs::path(*path).parent_path();
      const int missing = verify_inputs(report, folder, *path);
      verify_findings(report, folder, *path);
      verify_verdict(report, *path);
      fmt::print("not checked: {}\n", not_checked);
      fmt::print("verified{}\n",
                 missing > 0 ? fmt::format(", but for the hashes of {} inputs that were not found", missing) : "");
      return exit_code(report.verdict);
    };
  });
}

}  // namespace afterimage
