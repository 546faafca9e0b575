#include "reports/gated_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "models/foundations/files.h"

namespace afterimage {

GatedWeights gated_weights(const Report& report) {
  std::string list;
  for (const auto& input : report.inputs) {
    const bool is_digest =
        input.sha256.size() == 64 && input.sha256.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (input.role == "trained" && is_digest) {
      const std::filesystem::path name = input.name;
      const std::string digest = input.key.empty() ? input.sha256 : sha256_of(input.sha256 + " " + input.key);
      return {digest, name.is_absolute() || std::find(name.begin(), name.end(), "..") != name.end()
                          ? name.filename().string()
                          : name.generic_string()};
    }
    list += fmt::format("{} {}\n", input.role, input.sha256);
  }
  return {sha256_of(list), ""};
}

Verdict inconclusive_counts_as(const Gate& gate) {
  const auto choice = gate.policy.is_object() ? gate.policy.find("on_inconclusive") : gate.policy.end();
  if (choice == gate.policy.end()) return Verdict::fail;
  return *choice == "pass" ? Verdict::pass : *choice == "inconclusive" ? Verdict::inconclusive : Verdict::fail;
}

}  // namespace afterimage
