// A lock on an output folder: one run of this program at a time writes to it.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>

namespace afterimage {

// Held as long as this object lives, by this process alone: not by programs that it starts, and never after the process
// has ended. On file systems without locks it does nothing. Throws UsageError where another run still holds it after
// `patience`, which allows a run that is being stopped to complete its step.
class FolderLock {
 public:
  explicit FolderLock(const std::filesystem::path& folder, std::chrono::milliseconds patience = {});
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_ = -1;
};

// An --out folder as prepare_output_folder() (models/foundations/files.h) makes it, held as long as this object lives.
// Throws UsageError as that does and as FolderLock does.
class OutputFolder {
 public:
  OutputFolder(const std::filesystem::path& folder, bool may_hold_files, std::chrono::milliseconds patience = {});

 private:
  std::unique_ptr<FolderLock> lock_;
};

}  // namespace afterimage
