#include "reports/sarif.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "models/foundations/files.h"
#include "reports/gated_weights.h"

namespace afterimage {
namespace {

namespace fs = std::filesystem;

constexpr const char* policy_folder = "POLICYFOLDER";

// A file name as a URI reference.
std::string uri_of(const std::string& file) {
  std::string uri;
  for (const char c : file) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("/._-~").find(c) != std::string_view::npos;
    uri += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return uri;
}

bool climbs(const fs::path& path) { return std::find(path.begin(), path.end(), "..") != path.end(); }

// `file` relative to `folder`; empty where it does not lie in it.
fs::path within(const fs::path& file, const fs::path& folder) {
  const fs::path relative = file.lexically_relative(folder);
  return climbs(relative) || relative == "." ? fs::path() : relative;
}

// `file` relative to `folder`, links resolved: code scanning shows no file by way of a link. A link that leads out of
// the folder is named itself. Empty where the file lies elsewhere.
fs::path place_within(const fs::path& file, const fs::path& folder) {
  std::error_code error;
  const fs::path whole = folder / file;
  const fs::path resolved = within(fs::weakly_canonical(whole, error), fs::weakly_canonical(folder, error));
  if (!resolved.empty() || climbs(file)) return resolved;
  return within(whole.lexically_normal(), folder.lexically_normal());
}

// What services show of a rule, the same in every run: no limit and no measured value.
struct RuleWords {
  std::string title, meaning, help;
};

// Rules are named LIMIT, ATTACK.LIMIT, require_attacks.ATTACK or minimum_control_samples.
RuleWords words_of(const std::string& rule) {
  const std::size_t dot = rule.find('.');
  const std::string head = rule.substr(0, dot), tail = dot == std::string::npos ? "" : rule.substr(dot + 1);
  const std::string limit = tail.empty() ? head : tail, attack = tail.empty() ? "any attack" : "the attack " + head;
  const std::string remedy =
      "Train with a defence: `afterimage compare` shows what each costs and protects. Or change the limit in the "
      "policy, with the reason under `reasons`.";
  if (head == "require_attacks") {
    return {fmt::format("The attack {} has to come to a result", tail),
            fmt::format("Inconclusive where {} was not run, does not apply, or came to no result.", tail),
            "The finding's `reason` in report.json says what was missing. Audit again with the attack, or with more "
            "steps or time for it."};
  }
  if (rule == "minimum_control_samples") {
    return {"There have to be enough control images",
            "Inconclusive where the report compares with fewer control images than the policy asks for.",
            "Audit again with more data that was not trained on: `afterimage audit --control`."};
  }
  if (limit == "max_reconstructed_rate") {
    return {
        fmt::format("Largest share of training images that {} may reconstruct", attack),
        "Fails where a larger share came back than the policy allows. Inconclusive where the share is not known, or "
        "the images are too few to distinguish the limit from zero.",
        "report.html shows the images that came back. " + remedy};
  }
  if (limit == "max_membership_tpr_at_1pct_fpr") {
    return {fmt::format("Largest share of training images that {} may tell from others", attack),
            "Fails where, at 1 % false positives, a larger share is told than the policy allows. Inconclusive where "
            "the share is not known, or the images are too few to distinguish the limit from zero.",
            remedy};
  }
  if (limit == "max_membership_advantage") {
    return {fmt::format("Largest membership advantage that {} may reach", attack),
            "Fails where the true positive rate exceeds the false positive rate by more than the policy allows, at the "
            "best threshold. Inconclusive where membership is not known.",
            remedy};
  }
  if (limit == "max_epsilon_lower_bound") {
    return {fmt::format("Largest lower bound on epsilon that {} may show", attack),
            "Fails where the network is shown to be less private than the policy allows. Inconclusive where there is "
            "no bound, or so few records could show none above the limit.",
            remedy};
  }
  return {"Rule " + rule, "A rule of the policy that `afterimage gate` was given.", remedy};
}

Json descriptor_of(const std::string& rule) {
  const RuleWords words = words_of(rule);
  return {{"id", "afterimage/" + rule},
          {"name", rule},
          {"shortDescription", {{"text", words.title}}},
          {"fullDescription", {{"text", words.meaning}}},
          {"help", {{"text", words.help}}},
          {"defaultConfiguration", {{"level", "error"}}}};
}

const char* level_of(Outcome outcome, Verdict inconclusive_as) {
  if (outcome == Outcome::fail || inconclusive_as == Verdict::fail) return "error";
  return inconclusive_as == Verdict::pass ? "note" : "warning";
}

// As the text of a message, in which braces have to be doubled (SARIF 2.1.0, 3.11.5); at most `longest` bytes, cut
// between characters.
std::string message_text(const std::string& text, std::size_t longest) {
  constexpr std::string_view cut_mark = "...";
  std::string escaped;
  std::size_t fitting = 0;  // the longest beginning that leaves room for the mark
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at + 1;
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) ++end;
    const std::string character = text.substr(at, end - at);
    escaped += character;
    if (character == "{" || character == "}") escaped += character;
    if (escaped.size() + cut_mark.size() <= longest) fitting = escaped.size();
    at = end;
  }
  if (escaped.size() <= longest) return escaped;
  return escaped.substr(0, fitting) + std::string(cut_mark);
}

// What is cut where services would, at 1024 characters, is the reason: the weights are always named.
std::string message_of(const RuleResult& rule, const GatedWeights& weights) {
  constexpr std::size_t longest = 1000, longest_name = 300;
  const std::string reason =
      message_text(fmt::format("{}{}{}", rule.outcome == Outcome::inconclusive ? "Inconclusive: " : "", rule.reason,
                               rule.reason.ends_with('.') ? "" : "."),
                   longest - longest_name - 50);
  return fmt::format("{} Weights: {}{}SHA-256 {}.", reason, message_text(weights.file, longest_name),
                     weights.file.empty() ? "" : ", ", weights.short_digest());
}

}  // namespace

Json to_sarif(const Report& report, const fs::path& policy_file, const fs::path& folder) {
  const fs::path place = place_within(policy_file, folder);
  Json artifact = {{"uri", uri_of((place.empty() ? policy_file.filename() : place).generic_string())}};
  if (place.empty()) artifact["uriBaseId"] = policy_folder;

  const GatedWeights weights = gated_weights(report);
  Json rules = Json::array(), results = Json::array();
  for (const auto& rule : report.gate ? report.gate->rules : std::vector<RuleResult>{}) {
    rules.push_back(descriptor_of(rule.rule));
    if (rule.outcome == Outcome::pass) continue;
    const std::string fingerprint = sha256_of(rule.rule + "\n" + weights.digest);
    // SARIF has no level but "none" for the kind "open", and services rank by level.
    results.push_back({{"ruleId", rules.back()["id"]},
                       {"ruleIndex", rules.size() - 1},
                       {"kind", "fail"},
                       {"level", level_of(rule.outcome, inconclusive_counts_as(*report.gate))},
                       {"message", {{"text", message_of(rule, weights)}}},
                       {"locations",
                        {{{"physicalLocation",
                           {{"artifactLocation", artifact},
                            {"region", {{"startLine", 1}, {"startColumn", 1}, {"endLine", 1}, {"endColumn", 2}}}}}}}},
                       // GitHub reads the second alone, and makes it of the policy's first line where it is missing.
                       {"partialFingerprints",
                        {{"afterimageRuleAndWeights/v1", fingerprint}, {"primaryLocationLineHash", fingerprint}}}});
  }

  Json run = {{"tool", {{"driver", {{"name", report.tool.name}, {"version", report.tool.version}, {"rules", rules}}}}}};
  if (place.empty()) {
    const char* where = "The folder of the policy, which lies outside the folder where the program ran";
    run["originalUriBaseIds"] = {{policy_folder, {{"description", {{"text", where}}}}}};
  }
  run["columnKind"] = "unicodeCodePoints";
  run["results"] = results;
  return {
      {"$schema", "https://json.schemastore.org/sarif-2.1.0.json"}, {"version", "2.1.0"}, {"runs", Json::array({run})}};
}

}  // namespace afterimage
