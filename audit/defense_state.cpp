#include "audit/defense_state.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "audit/run_directory.h"
#include "models/foundations/files.h"

namespace afterimage {
namespace {

namespace fs = std::filesystem;

fs::path state_file(fs::path out) {
  if (!out.has_filename()) out = out.parent_path();  // as in "runs/one/"
  return out += ".state.safetensors";
}

}  // namespace

DefenseState::DefenseState(const fs::path& out, const std::string& fingerprint, bool take)
    : file_(state_file(out)), store_(file_, fingerprint, take) {}

bool DefenseState::has_state() const { return is_there(file_); }

void DefenseState::clear() const {
  fs::remove(file_);
  const fs::path folder = file_.has_parent_path() ? file_.parent_path() : ".";
  if (!fs::exists(folder)) return;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const bool own = entry.path().filename().string().starts_with(file_.filename().string());
    if (own && is_half_written(entry.path())) fs::remove(entry.path());
  }
}

std::string fingerprint_of(const Undefended& undefended, const std::string& architecture, const std::string& defense,
                           const std::map<std::string, std::string>& options, const Context& context) {
  const Recipe& recipe = undefended.recipe;
  std::string text = fingerprint_text(context, defense, options) + "|" + architecture;
  text += fmt::format("|{}|{}|{}", recipe.max_steps, recipe.until_loss, recipe.patience);
  text += fmt::format("|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}", name_of(recipe.loss), name_of(recipe.optimizer),
                      recipe.learning_rate, recipe.momentum, recipe.weight_decay, recipe.batch, recipe.over_loss,
                      recipe.augment, fmt::join(recipe.frozen, ","), fmt::join(undefended.space.shape, "x"));
  for (const auto& [name, tensor] : undefended.initial.entries()) text += "|" + digest_of(tensor);
  return sha256_of(text + "|" + digest_of(undefended.images) + "|" + digest_of(undefended.targets));
}

}  // namespace afterimage
