// One run of this program at a time writes to an output folder in which runs may go on with what others left.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>

namespace afterimage {

// Held as long as this object lives, by this process alone: not by programs that it starts, and not after its end,
// whatever ended it. On file systems without locks it holds nothing. Throws UsageError where another run holds it and
// still does after `patience`: one that is being ended may have a step in flight.
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
