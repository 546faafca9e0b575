#include "models/foundations/folder_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "models/foundations/error.h"
#include "models/foundations/files.h"

namespace afterimage {
namespace {

using namespace std::chrono_literals;

bool held_elsewhere(int descriptor) { return ::flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK; }

}  // namespace

FolderLock::FolderLock(const std::filesystem::path& folder, std::chrono::milliseconds patience)
    : descriptor_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  if (descriptor_ < 0) return;
  const auto end = std::chrono::steady_clock::now() + patience;
  while (held_elsewhere(descriptor_)) {
    if (std::chrono::steady_clock::now() >= end) {
      ::close(descriptor_);
      throw UsageError(fmt::format("--out {}: another run is writing there; wait until it ends, or name another folder",
                                   folder.string()));
    }
    std::this_thread::sleep_for(100ms);
  }
}

FolderLock::~FolderLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

OutputFolder::OutputFolder(const std::filesystem::path& folder, bool may_hold_files,
                           std::chrono::milliseconds patience) {
  prepare_output_folder(folder, may_hold_files);
  lock_ = std::make_unique<FolderLock>(folder, patience);
  prepare_output_folder(folder, may_hold_files);  // another run may have ended there meanwhile
}

}  // namespace afterimage
