// What an interrupted defence leaves beside its output for `--resume`: distillation can take hours.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "audit/context.h"
#include "audit/interrupted.h"
#include "defenses/defense.h"
#include "models/foundations/error.h"

namespace afterimage {

class DefenseState {
 public:
  // For the file or folder `out` that is being made: OUT.state.safetensors. `take`: whether what lies there is gone on
  // from; it is, where everything that decides the outcome is the same. Throws InputError where it is damaged.
  DefenseState(const std::filesystem::path& out, const std::string& fingerprint, bool take);

  // The result of `work`, which is given the store. Where `work` throws UsageError nothing is left; where it is
  // interrupted its state is left.
  template <typename Work>
  auto run(Work&& work) {
    try {
      return work(static_cast<StateStore&>(store_));
    } catch (const UsageError&) {
      clear();
      throw;
    } catch (const Interrupted&) {
      throw Interrupted(has_state());
    }
  }
  // The output is complete, or can never be: deletes the state and half-written files.
  void clear() const;

 private:
  bool has_state() const;

  std::filesystem::path file_;
  FileStateStore store_;
};

// A hash of everything that decides the defence's result.
std::string fingerprint_of(const Undefended& undefended, const std::string& architecture, const std::string& defense,
                           const std::map<std::string, std::string>& options, const Context& context);

}  // namespace afterimage
