// What an interrupted audit leaves in its output folder for `--resume`: the findings of the attacks that are done, and
// the state of the one that was running. Each has the fingerprint of everything that decides it, and is used only where
// that is the same.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "audit/context.h"
#include "models/state.h"
#include "reports/report.h"

namespace afterimage {

// The beginning of every fingerprint: program, seed, threads, and the attack or defence with its options.
std::string fingerprint_text(const Context& context, const std::string& name,
                             const std::map<std::string, std::string>& options);

// SHA-256 of its bytes.
std::string digest_of(const Tensor& tensor);

class Leftovers {
 public:
  explicit Leftovers(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // Prepares the folder for an audit: deletes half-written files of a program that was killed. Throws UsageError, and
  // deletes nothing, where the folder holds files that no audit writes, log files aside.
  void take_over() const;
  // Throws UsageError where the folder holds a finished report of other inputs: it is not this audit that was
  // interrupted there.
  void require_same_inputs(const std::vector<InputFile>& inputs) const;
  void keep_finding(const Finding& finding, const std::string& fingerprint) const;
  // The kept finding of an attack on `images` training images. Throws InputError where it is damaged, or has samples
  // outside these images.
  std::optional<Finding> finding(const std::string& attack, const std::string& fingerprint, std::int64_t images) const;
  std::filesystem::path state_file(const std::string& attack) const;
  // The audit is done: deletes everything kept, and half-written files.
  void clear() const;
  // Deletes half-written files of a program that was killed.
  void clear_half_written() const;

 private:
  std::filesystem::path finding_file(const std::string& attack) const;
  std::filesystem::path folder_;
};

// Keeps the state of an attack or a defence in a file, seldom enough that writing takes a small share of the time.
class FileStateStore final : public StateStore {
 public:
  // `take`: whether to continue from the state in the file, if it has this fingerprint. Throws InputError where the
  // file is damaged.
  FileStateStore(std::filesystem::path file, std::string fingerprint, bool take);
  State take() override { return std::exchange(kept_, {}); }
  bool due() const override { return std::chrono::steady_clock::now() >= next_; }
  void keep(const State& state) override;  // creates the file's folder if necessary

 private:
  std::filesystem::path file_;
  std::string fingerprint_;
  State kept_;
  std::chrono::steady_clock::time_point next_;
};

}  // namespace afterimage
