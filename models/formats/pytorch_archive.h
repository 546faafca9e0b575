// The zip archive that torch.save writes: its members, and whether it has any that torch.save does not write.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <unordered_map>
#include <vector>

#include "models/formats/zip_archive.h"
#include "models/foundations/array.h"

namespace afterimage {

// How messages on such a file end.
inline constexpr const char* save_remedy = "write it with torch.save(model.state_dict(), ...)";

// A tensor as the pickle describes it; sizes, strides and offset count elements.
struct StorageView {
  std::string storage;
  DType dtype = DType::f32;
  std::uint64_t storage_elements = 0;
  std::int64_t offset = 0;
  std::vector<std::int64_t> shape, strides;
};

class PytorchArchive {
 public:
  // Throws InputError when it is no zip, has no data.pkl or is of another program; for the formats before 1.6 with the
  // function that their pickles name, or the remedy.
  explicit PytorchArchive(const std::filesystem::path& path);

  const std::string& file() const { return file_; }
  bool torchscript() const { return torchscript_; }  // by its constants.pkl or code/
  std::uint64_t bytes() const { return zip_.bytes(); }
  bool has_checksums() const { return zip_.has_checksums(); }

  // Throws InputError where there is more than torch.save writes for a state dict.
  void require_plain() const;
  // Both throw InputError on a member that is missing, compressed, or of an impossible size.
  std::string pickle() const;
  std::string storage(const StorageView& view) const;  // little-endian, exactly as many elements as the pickle says

 private:
  [[noreturn]] void refuse_member(const ZipMember& member) const;
  // torch.save compresses nothing, so no member is larger than the file.
  const ZipMember& stored(const std::string& name) const;
  bool is_big_endian() const;

  std::string file_;
  ZipArchive zip_;
  std::string folder_;  // with its "/"
  std::unordered_map<std::string, const ZipMember*> members_;
  bool torchscript_ = false, big_endian_ = false;
};

}  // namespace afterimage
