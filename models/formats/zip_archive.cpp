#include "models/formats/zip_archive.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <set>

#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

constexpr std::uint64_t most_inflated = 1100;  // deflate reaches at most about 1032 to one
constexpr const char* corrupt_bytes = "is corrupt (its compressed bytes)";
constexpr std::uint64_t trusted_size = 1 << 24;  // inflated at once: a larger one is first inflated without being kept
constexpr std::size_t chunk = 1 << 16;
constexpr std::uint64_t end_length = 22, end64_length = 56, locator_length = 20;
constexpr std::uint32_t local_mark = 0x04034b50, central_mark = 0x02014b50, end_mark = 0x06054b50;
constexpr std::uint32_t end64_mark = 0x06064b50, locator_mark = 0x07064b50, descriptor_mark = 0x08074b50;
constexpr std::uint32_t in_extra = 0xffffffff;  // the size is in the extra field of zip64
constexpr unsigned encrypted = 1, descriptor_follows = 8, strongly_encrypted = 64, masked = 1 << 13;

// Little-endian numbers of a record, one after the other. The caller checks that the record is long enough.
class Fields {
 public:
  explicit Fields(std::string_view record) : rest_(record) {}
  std::uint64_t number(std::size_t bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = bytes; i-- > 0;) value = value << 8 | static_cast<unsigned char>(rest_.at(i));
    rest_.remove_prefix(bytes);
    return value;
  }
  std::uint16_t u16() { return static_cast<std::uint16_t>(number(2)); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(number(4)); }
  std::uint64_t u64() { return number(8); }
  void skip(std::size_t bytes) { rest_.remove_prefix(bytes); }
  std::string_view text(std::size_t bytes) {
    const auto taken = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return taken;
  }
  std::size_t left() const { return rest_.size(); }

 private:
  std::string_view rest_;
};

// The fields that both descriptions of a member have.
struct Header {
  unsigned flags = 0, method = 0;
  std::uint32_t checksum = 0;
  std::uint64_t packed = 0, size = 0;
  std::string name;
};

struct Central {
  Header header;
  std::uint64_t offset = 0;  // of the local header
};

struct Directory {
  std::uint64_t entries = 0, offset = 0, bytes = 0;
};

class ZipReader {
 public:
  ZipReader(const std::filesystem::path& path, const std::string& remedy)
      : file_(path.string()), remedy_(remedy), size_(bytes_in(path)), in_(path, std::ios::binary) {
    if (!in_) throw InputError(file_ + ": cannot be opened; give a readable file");
  }

  std::uint64_t size() const { return size_; }

  std::vector<ZipMember> members(std::size_t most) {
    if (size_ < end_length) fail("not a zip archive");
    const Directory directory = find_directory();
    if (directory.entries > most) fail(fmt::format("has {} members, more than {}", directory.entries, most));
    const auto entries = central_entries(directory);
    check_names(entries);
    return placed(entries, directory.offset);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw InputError(fmt::format("{}: {}; {}", file_, what, remedy_));
  }
  [[noreturn]] void fail(const std::string& name, const std::string& what) const {
    throw InputError(fmt::format("{}: member \"{}\" {}; {}", file_, printable(name), what, remedy_));
  }

  std::string at(std::uint64_t offset, std::uint64_t length) {
    if (offset > size_ || length > size_ - offset) fail("is a zip archive that ends early");
    std::string bytes(length, '\0');
    in_.clear();
    in_.seekg(static_cast<std::streamoff>(offset));
    if (!in_.read(bytes.data(), static_cast<std::streamsize>(length))) fail("cannot be read");
    return bytes;
  }

  // The directory ends where its end record begins, and that ends the file.
  Directory find_directory() {
    const std::string record = at(size_ - end_length, end_length);
    Fields fields(record);
    if (fields.u32() != end_mark) {
      const bool zip = size_ >= 4 && at(0, 2) == "PK";
      fail(zip ? "is a zip archive that is cut off or has a comment or other bytes after its end"
               : "not a zip archive");
    }
    const auto disk = fields.u16(), first_disk = fields.u16(), here = fields.u16(), entries = fields.u16();
    const auto bytes = fields.u32(), offset = fields.u32();
    if (fields.u16() != 0) fail("is a zip archive with a comment");
    Directory directory{entries, offset, bytes};
    std::uint64_t end = size_ - end_length;
    if (const auto large = zip64_directory(end)) {
      const bool same = (entries == 0xffff || entries == large->entries) &&
                        (bytes == in_extra || bytes == large->bytes) && (offset == in_extra || offset == large->offset);
      if (!same) fail("is a zip archive with two directories that differ");
      directory = *large;
      end -= end64_length + locator_length;
    } else if (entries != here) {
      fail("is a part of a zip archive of several disks");
    }
    if ((disk != 0 && disk != 0xffff) || (first_disk != 0 && first_disk != 0xffff)) {
      fail("is a part of a zip archive of several disks");
    }
    if (directory.offset > end || directory.bytes != end - directory.offset) {
      fail("is a zip archive with bytes before it or between its directory and its end");
    }
    return directory;
  }

  std::optional<Directory> zip64_directory(std::uint64_t end) {
    if (end < locator_length + end64_length) return std::nullopt;
    const std::string locator = at(end - locator_length, locator_length);
    Fields place(locator);
    if (place.u32() != locator_mark) return std::nullopt;
    const auto disk = place.u32();
    const auto offset = place.u64();
    const auto disks = place.u32();
    if (disk != 0 || disks > 1 || offset != end - locator_length - end64_length) {
      fail("is a zip archive whose zip64 record is not where its locator says");
    }
    const std::string record = at(offset, end64_length);
    Fields fields(record);
    if (fields.u32() != end64_mark || fields.u64() != end64_length - 12)
      fail("is a zip archive with a broken zip64 record");
    fields.skip(4);
    if (fields.u32() != 0 || fields.u32() != 0) fail("is a part of a zip archive of several disks");
    const auto here = fields.u64(), entries = fields.u64();
    if (here != entries) fail("is a part of a zip archive of several disks");
    const auto bytes = fields.u64(), directory = fields.u64();
    return Directory{entries, directory, bytes};
  }

  std::vector<Central> central_entries(const Directory& directory) {
    constexpr std::size_t fixed = 46;
    const std::string bytes = at(directory.offset, directory.bytes);
    Fields fields(bytes);
    std::vector<Central> entries;
    for (std::uint64_t i = 0; i < directory.entries; ++i) {
      if (fields.left() < fixed || fields.u32() != central_mark) fail("is a zip archive with a broken directory");
      fields.skip(4);  // versions
      Central entry;
      entry.header.flags = fields.u16();
      entry.header.method = fields.u16();
      fields.skip(4);  // time
      entry.header.checksum = fields.u32();
      entry.header.packed = fields.u32();
      entry.header.size = fields.u32();
      const std::size_t name = fields.u16(), extra = fields.u16(), comment = fields.u16();
      const auto disk = fields.u16();
      fields.skip(6);  // attributes
      entry.offset = fields.u32();
      if (fields.left() < name + extra + comment) fail("is a zip archive with a broken directory");
      entry.header.name = fields.text(name);
      const bool far = entry.offset == in_extra;
      read_zip64(fields.text(extra), entry.header, far ? &entry.offset : nullptr);
      if (comment != 0) fail(entry.header.name, "has a comment");
      if (disk != 0) fail("is a part of a zip archive of several disks");
      entries.push_back(std::move(entry));
    }
    if (fields.left() != 0) fail("is a zip archive whose directory has more members than its end record says");
    return entries;
  }

  // Sizes that do not fit 32 bits, in this order; only those that the record leaves to zip64.
  void read_zip64(std::string_view extra, Header& header, std::uint64_t* offset) const {
    const bool packed = header.packed == in_extra, size = header.size == in_extra;
    const std::size_t needed = 8 * (std::size_t{size} + std::size_t{packed} + std::size_t{offset != nullptr});
    bool seen = false;
    Fields fields(extra);
    while (fields.left() >= 4) {
      const auto kind = fields.u16();
      const std::size_t length = fields.u16();
      if (length > fields.left()) break;
      Fields field(fields.text(length));
      if (kind != 1) continue;
      if (seen) fail(header.name, "has two zip64 sizes");
      seen = true;
      if (length < needed) fail(header.name, "has zip64 sizes that are cut off");
      if (size) header.size = field.u64();
      if (packed) header.packed = field.u64();
      if (offset != nullptr) *offset = field.u64();
    }
    if (needed > 0 && !seen) fail(header.name, "lacks its zip64 sizes");
  }

  void check_names(const std::vector<Central>& entries) const {
    std::set<std::string_view> names;
    for (const auto& entry : entries) {
      const std::string& name = entry.header.name;
      if (!names.insert(name).second) fail(name, "is there twice");
      const auto bad = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '\\'; };
      const bool drive = name.size() > 1 && name[1] == ':';  // Keras names variables "kernel:0"
      if (name.empty() || drive || std::any_of(name.begin(), name.end(), bad)) fail(name, "has an invalid name");
      std::size_t from = 0;
      while (from <= name.size()) {
        const auto to = std::min(name.find('/', from), name.size());
        const auto part = std::string_view(name).substr(from, to - from);
        if (part.empty() || part == "." || part == "..")
          fail(name, "has a path that leaves the archive or is a folder");
        from = to + 1;
      }
    }
  }

  // Checks each member against its local header, and that all of them fill the bytes before the directory.
  std::vector<ZipMember> placed(const std::vector<Central>& entries, std::uint64_t end) {
    std::vector<std::size_t> order(entries.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return entries[a].offset < entries[b].offset; });
    std::vector<ZipMember> members(entries.size());
    std::uint64_t from = 0, total = 0;
    for (std::size_t i = 0; i < order.size(); ++i) {
      const Central& entry = entries[order[i]];
      if (entry.offset != from) {
        fail(entry.header.name, "overlaps another or leaves a hole before it");
      }
      const std::uint64_t to = i + 1 < order.size() ? entries[order[i + 1]].offset : end;
      members[order[i]] = member(entry, to);
      total += members[order[i]].size;
      if (total > size_ * most_inflated) fail("declares more bytes than it can hold");
      from = to;
    }
    if (from != end) fail("is a zip archive with bytes that belong to no member");
    return members;
  }

  ZipMember member(const Central& entry, std::uint64_t to) {
    constexpr std::size_t fixed = 30;
    const Header& central = entry.header;
    const std::string bytes = at(entry.offset, fixed);
    Fields fields(bytes);
    if (fields.u32() != local_mark) fail(central.name, "is not where the directory says");
    fields.skip(2);
    Header local;
    local.flags = fields.u16();
    local.method = fields.u16();
    fields.skip(4);
    local.checksum = fields.u32();
    local.packed = fields.u32();
    local.size = fields.u32();
    const std::size_t name = fields.u16(), extra = fields.u16();
    const std::string variable = at(entry.offset + fixed, name + extra);
    local.name = variable.substr(0, name);
    read_zip64(std::string_view(variable).substr(name), local, nullptr);

    if (((central.flags | local.flags) & (encrypted | strongly_encrypted | masked)) != 0) {
      fail(central.name, "is encrypted, which is not supported");
    }
    const bool described = (central.flags & descriptor_follows) != 0;
    const auto agrees = [&](std::uint64_t here, std::uint64_t there) {
      return here == there || (described && here == 0);
    };
    if (local.name != central.name || local.method != central.method || local.flags != central.flags ||
        !agrees(local.checksum, central.checksum) || !agrees(local.packed, central.packed) ||
        !agrees(local.size, central.size)) {
      fail(central.name, "is described in one way in the directory and in another before its bytes");
    }
    if (central.method != 0 && central.method != Z_DEFLATED) fail(central.name, "has an unknown compression");
    const bool deflated = central.method == Z_DEFLATED;
    check_sizes(central, deflated);

    const std::uint64_t data = entry.offset + fixed + name + extra;
    if (data > to || central.packed > to - data) fail(central.name, "overlaps another or is cut off");
    check_descriptor(central, data + central.packed, to, described);
    return {central.name, central.size, central.packed, data, central.checksum, deflated};
  }

  void check_sizes(const Header& header, bool deflated) const {
    const bool possible = header.packed <= size_ &&
                          (deflated ? header.size <= header.packed * most_inflated : header.size == header.packed);
    if (!possible) {
      fail(header.name,
           fmt::format("declares {} bytes, which its {} packed bytes cannot hold", header.size, header.packed));
    }
  }

  // Between the bytes of a member and the next there is nothing, or checksum and sizes once more.
  void check_descriptor(const Header& header, std::uint64_t from, std::uint64_t to, bool described) {
    const std::uint64_t length = to - from;
    if (length == 0 && !described) return;
    const bool marked = length == 16 || length == 24, wide = length == 20 || length == 24;
    if (!described || (!marked && !wide && length != 12)) {
      fail(header.name, "is followed by bytes that belong to no member");
    }
    const std::string bytes = at(from, length);
    Fields fields(bytes);
    const bool right_mark = !marked || fields.u32() == descriptor_mark;
    const auto checksum = fields.u32();
    const auto packed = fields.number(wide ? 8 : 4), size = fields.number(wide ? 8 : 4);
    if (!right_mark || checksum != header.checksum || packed != header.packed || size != header.size) {
      fail(header.name, "is described in one way in the directory and in another after its bytes");
    }
  }

  std::string file_;
  const std::string& remedy_;
  std::uint64_t size_;
  std::ifstream in_;
};

// The content of one member, piece by piece.
class MemberStream {
 public:
  MemberStream(const std::filesystem::path& path, const ZipMember& member)
      : in_(path, std::ios::binary), left_(member.packed), deflated_(member.deflated) {
    in_.seekg(static_cast<std::streamoff>(member.offset));
    if (deflated_ && inflateInit2(&stream_, -MAX_WBITS) != Z_OK) throw std::bad_alloc();
  }
  ~MemberStream() {
    if (deflated_) inflateEnd(&stream_);
  }
  MemberStream(const MemberStream&) = delete;
  MemberStream& operator=(const MemberStream&) = delete;

  // Fills up to `room` bytes and returns how many; null when the member is corrupt.
  std::optional<std::size_t> read(char* to, std::size_t room) {
    if (!deflated_) {
      const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(left_, room));
      if (!in_.read(to, static_cast<std::streamsize>(count))) return std::nullopt;
      left_ -= count;
      return count;
    }
    room = std::min<std::size_t>(room, 1 << 30);
    stream_.next_out = reinterpret_cast<Bytef*>(to);
    stream_.avail_out = static_cast<uInt>(room);
    while (stream_.avail_out > 0 && !ended_) {
      if (stream_.avail_in == 0 && !fill()) return std::nullopt;
      const int state = ::inflate(&stream_, Z_NO_FLUSH);
      if (state != Z_OK && state != Z_STREAM_END) return std::nullopt;
      ended_ = state == Z_STREAM_END;
    }
    return room - stream_.avail_out;
  }
  // Whether all packed bytes were used.
  bool used_up() const { return left_ == 0 && stream_.avail_in == 0; }

 private:
  bool fill() {
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(left_, chunk));
    packed_.resize(chunk);
    if (count == 0 || !in_.read(packed_.data(), static_cast<std::streamsize>(count))) return false;
    left_ -= count;
    stream_.next_in = reinterpret_cast<Bytef*>(packed_.data());
    stream_.avail_in = static_cast<uInt>(count);
    return true;
  }

  std::ifstream in_;
  std::uint64_t left_;
  bool deflated_, ended_ = false;
  z_stream stream_{};
  std::string packed_;
};

}  // namespace

ZipArchive::ZipArchive(std::filesystem::path path, std::string remedy, std::size_t most_members)
    : path_(std::move(path)), remedy_(std::move(remedy)) {
  ZipReader reader(path_, remedy_);
  bytes_ = reader.size();
  members_ = reader.members(most_members);
  has_checksums_ = std::any_of(members_.begin(), members_.end(), [](const auto& m) { return m.checksum != 0; });
}

const ZipMember* ZipArchive::find(const std::string& name) const {
  const auto at =
      std::find_if(members_.begin(), members_.end(), [&](const auto& member) { return member.name == name; });
  return at == members_.end() ? nullptr : &*at;
}

std::string ZipArchive::where(const ZipMember& member) const {
  return fmt::format("{}: member \"{}\"", path_.string(), printable(member.name));
}

void ZipArchive::refuse(const ZipMember& member, const char* what) const {
  throw InputError(fmt::format("{}: {}; copy the file again", where(member), what));
}

std::string ZipArchive::read(const ZipMember& member) const {
  require_whole(member);
  std::string content(member.size, '\0');
  unpack(member, content.data());
  return content;
}

std::vector<std::byte> ZipArchive::read_bytes(const ZipMember& member) const {
  require_whole(member);
  std::vector<std::byte> content(member.size);
  unpack(member, reinterpret_cast<char*>(content.data()));
  return content;
}

std::string ZipArchive::start_of(const ZipMember& member, std::size_t count) const {
  MemberStream stream(path_, member);
  std::string start(std::min<std::uint64_t>(count, member.size), '\0');
  const auto read = stream.read(start.data(), start.size());
  if (!read) refuse(member, corrupt_bytes);
  start.resize(*read);
  return start;
}

// A large member is first unpacked without being kept, so that a broken one takes no memory.
void ZipArchive::require_whole(const ZipMember& member) const {
  if (!member.deflated || member.size <= trusted_size) return;
  std::string piece(chunk, '\0');
  unpack_to(member, [&](std::uint64_t) { return piece.data(); });
}

void ZipArchive::unpack(const ZipMember& member, char* content) const {
  unpack_to(member, [=](std::uint64_t at) { return content + at; });
}

void ZipArchive::unpack_to(const ZipMember& member, const std::function<char*(std::uint64_t)>& place) const {
  MemberStream stream(path_, member);
  std::uint64_t total = 0;
  auto checksum = crc32(0, nullptr, 0);
  while (total < member.size) {
    char* piece = place(total);
    const auto count = stream.read(piece, std::min<std::uint64_t>(member.size - total, chunk));
    if (!count) refuse(member, corrupt_bytes);
    if (*count == 0) break;
    checksum = crc32(checksum, reinterpret_cast<const Bytef*>(piece), static_cast<uInt>(*count));
    total += *count;
  }
  char more = 0;
  const auto rest = stream.read(&more, 1);
  if (total != member.size || !rest || *rest != 0 || !stream.used_up()) {
    refuse(member, "does not unpack to the size that the archive declares");
  }
  if (has_checksums_ && checksum != member.checksum) refuse(member, "is corrupt (its checksum)");
}

}  // namespace afterimage
