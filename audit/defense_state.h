// What a defence under way leaves beside its output for `--resume`, should it be interrupted. Distillation can take
// hours.
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
    }
  }
  // The output is made, or will never be: nothing is left, nor what was being written when a program was killed.
  void clear() const;

 private:
  std::filesystem::path file_;
  FileStateStore store_;
};

// Of everything that decides what the defence makes of this.
std::string fingerprint_of(const Undefended& undefended, const std::string& architecture, const std::string& defense,
                           const std::map<std::string, std::string>& options, const Context& context);

}  // namespace afterimage
