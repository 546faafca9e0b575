// What an audit leaves in its output folder for `--resume`, should it be interrupted: the findings of the attacks that
// are done, and how far the one under way is. Each with the fingerprint of all that decides it: it is used again only
// where that is the same.
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

// What every fingerprint begins with: program, seed, threads, and the attack or defence with its options.
std::string fingerprint_text(const Context& context, const std::string& name,
                             const std::map<std::string, std::string>& options);

// SHA-256 of its bytes.
std::string digest_of(const Tensor& tensor);

class Leftovers {
 public:
  explicit Leftovers(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // For an audit that goes on in the folder: what was being written when a program was killed is deleted. Throws
  // UsageError, and deletes nothing, where the folder holds what no audit writes, log files aside.
  void take_over() const;
  void keep_finding(const Finding& finding, const std::string& fingerprint) const;
  // Of an audit of `images` training images. Throws InputError where what was kept is damaged: as a finding, or with
  // samples that are no such images.
  std::optional<Finding> finding(const std::string& attack, const std::string& fingerprint, std::int64_t images) const;
  std::filesystem::path state_file(const std::string& attack) const;
  // The audit is done: nothing is left, nor any file that was being written.
  void clear() const;
  // Files that were being written when a program was killed.
  void clear_half_written() const;

 private:
  std::filesystem::path finding_file(const std::string& attack) const;
  std::filesystem::path folder_;
};

// The state of an attack or a defence in a file, at most once in some seconds and for no more than a small share of the
// time.
class FileStateStore final : public StateStore {
 public:
  // `take`: whether what the file holds is to be gone on from; it is, where its fingerprint is this one. Throws
  // InputError where it is damaged.
  FileStateStore(std::filesystem::path file, std::string fingerprint, bool take);
  State take() override { return std::exchange(kept_, {}); }
  bool due() const override { return std::chrono::steady_clock::now() >= next_; }
  void keep(const State& state) override;  // makes the file's folder where there is none

 private:
  std::filesystem::path file_;
  std::string fingerprint_;
  State kept_;
  std::chrono::steady_clock::time_point next_;
};

}  // namespace afterimage
