#include "models/formats/pytorch_archive.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/formats/pickle.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

constexpr std::size_t most_members = 1 << 17;
constexpr std::uint64_t largest_pickle = 16 << 20;
constexpr std::size_t tar_header = 512;

// Pickles without a zip around them: the format before 1.6 is five of them, and the first holds this number.
constexpr std::string_view magic_number("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);

// A name that no state dict has is refused by that name, in whichever of the first pickles it is.
[[noreturn]] void refuse_bare_pickle(const std::filesystem::path& path) {
  const std::string file = path.string();
  const std::string bytes = read_file(path, std::max<std::uint64_t>(largest_pickle, bytes_in(path)));
  std::string_view rest = bytes;
  bool before_zip = false;
  for (int i = 0; i < 4 && !rest.empty(); ++i) {
    const Pickle pickle = parse_leading_pickle(rest, file, PickleNames::state_dict);
    const PickleValue& root = pickle[pickle.root];
    if (i == 0) before_zip = root.kind == PickleKind::large_integer && root.text == magic_number;
    rest.remove_prefix(pickle.length);
  }
  throw InputError(file + (before_zip ? ": is in the format of PyTorch before 1.6, which is not read; load it and save "
                                        "it again with torch.save(state_dict, file)"
                                      : ": is a bare pickle, not a file of torch.save; write it with "
                                        "torch.save(model.state_dict(), ...)"));
}

// The path, when the file begins like a zip.
std::filesystem::path zip_path(const std::filesystem::path& path) {
  const std::string start = first_bytes(path, tar_header);
  if (start.starts_with("PK")) return path;
  if (start.size() == tar_header && start.compare(257, 5, "ustar") == 0) {
    throw InputError(path.string() +
                     ": is in the tar format of PyTorch 0.1, which is not read; load it and save it "
                     "again with torch.save(state_dict, file)");
  }
  if (start.starts_with('\x80') || start.starts_with('(') || start.starts_with('c')) refuse_bare_pickle(path);
  throw InputError(fmt::format("{}: not a file of torch.save; {}", path.string(), save_remedy));
}

}  // namespace

PytorchArchive::PytorchArchive(const std::filesystem::path& path)
    : file_(path.string()), zip_(zip_path(path), save_remedy, most_members) {
  for (const auto& member : zip_.members()) {
    if (member.name.ends_with("/data.pkl") && folder_.empty()) {
      folder_ = member.name.substr(0, member.name.size() - std::string_view("data.pkl").size());
    }
  }
  if (folder_.empty()) throw InputError(fmt::format("{}: is a zip archive without a data.pkl; {}", file_, save_remedy));
  for (const auto& member : zip_.members()) {
    if (!member.name.starts_with(folder_)) refuse_member(member);
    const auto name = member.name.substr(folder_.size());
    torchscript_ = torchscript_ || name == "constants.pkl" || name.starts_with("code/");
    members_.emplace(name, &member);
  }
  big_endian_ = is_big_endian();
}

void PytorchArchive::require_plain() const {
  if (torchscript_) {
    throw InputError(file_ + ": is a TorchScript archive, not a state dict; save model.state_dict() with torch.save");
  }
  for (const auto& [name, member] : members_) {
    const bool known = name == "data.pkl" || name == "version" || name == "byteorder" || name == ".format_version" ||
                       name == ".storage_alignment" || name == ".data/serialization_id" || name.starts_with("data/");
    if (!known) refuse_member(*member);
  }
}

std::string PytorchArchive::pickle() const {
  const ZipMember& member = stored("data.pkl");
  if (member.size > largest_pickle) {
    throw InputError(fmt::format("{} has {} bytes, more than the {} of any state dict; {}", zip_.where(member),
                                 member.size, largest_pickle, save_remedy));
  }
  return zip_.read(member);
}

std::string PytorchArchive::storage(const StorageView& view) const {
  const ZipMember& member = stored("data/" + view.storage);
  const std::uint64_t item = size_of(view.dtype);
  if (member.size % item != 0 || member.size / item != view.storage_elements) {
    throw InputError(fmt::format("{} has {} bytes, but is to hold {} elements of {}; copy the file again",
                                 zip_.where(member), member.size, view.storage_elements, name_of(view.dtype)));
  }
  std::string bytes = zip_.read(member);
  if (big_endian_ && item > 1) {
    for (std::size_t i = 0; i < bytes.size(); i += item) {
      std::reverse(bytes.begin() + static_cast<std::ptrdiff_t>(i),
                   bytes.begin() + static_cast<std::ptrdiff_t>(i + item));
    }
  }
  if (view.dtype == DType::boolean) {
    for (auto& c : bytes) c = c != 0 ? 1 : 0;
  }
  return bytes;
}

void PytorchArchive::refuse_member(const ZipMember& member) const {
  throw InputError(fmt::format("{}: is not what torch.save writes; {}", zip_.where(member), save_remedy));
}

const ZipMember& PytorchArchive::stored(const std::string& name) const {
  const auto at = members_.find(name);
  if (at == members_.end()) {
    throw InputError(fmt::format("{}: has no member \"{}\", which its pickle refers to; copy the file again", file_,
                                 printable(name)));
  }
  if (at->second->deflated) {
    throw InputError(zip_.where(*at->second) +
                     ": is compressed, which torch.save never does; load it and save it again");
  }
  return *at->second;
}

bool PytorchArchive::is_big_endian() const {
  if (!members_.contains("byteorder")) return false;
  const ZipMember& member = stored("byteorder");
  const std::string order = member.size <= 8 ? zip_.read(member) : "";
  if (order != "little" && order != "big") {
    throw InputError(zip_.where(member) + ": is neither \"little\" nor \"big\"; copy the file again");
  }
  return order == "big";
}

}  // namespace afterimage
