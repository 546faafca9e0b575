#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "models/data/sources.h"
#include "models/formats/image_file.h"
#include "models/foundations/error.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t most_files = 10'000'000;

bool is_within(const fs::path& path, const fs::path& folder) {
  const auto [end, rest] = std::mismatch(folder.begin(), folder.end(), path.begin(), path.end());
  return end == folder.end();
}

// The entries of a folder, sorted by name. `root` is canonical.
std::vector<fs::path> entries(const fs::path& folder, const fs::path& root) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const fs::path& path = entry->path();
    if (path.filename().string().starts_with('.')) continue;
    std::error_code dangling;
    const fs::path target = fs::canonical(path, dangling);
    if (dangling || !is_within(target, root)) {
      throw InputError(fmt::format("{}: is a link that is broken or leads out of {}; copy the file there",
                                   path.string(), root.string()));
    }
    found.push_back(path);
    if (found.size() > most_files) throw InputError(folder.string() + ": holds more than ten million files");
  }
  if (error) throw InputError(fmt::format("{}: cannot be read ({})", folder.string(), error.message()));
  std::sort(found.begin(), found.end());
  return found;
}

// [h, w] or [h, w, 3], float32.
Tensor picture_in(const fs::path& file, const Preprocessing& preprocessing) {
  return prepared(to_tensor(read_image(file)).to(at::kFloat).div_(255), preprocessing, file.string());
}

std::string shape_of(const Tensor& picture) {
  return fmt::format("{} x {} {}", picture.size(0), picture.size(1), picture.dim() == 3 ? "in colour" : "in grey");
}

void require_same_shape(const Tensor& first, const fs::path& first_file, const Tensor& other,
                        const fs::path& other_file) {
  if (first.sizes() == other.sizes()) return;
  throw InputError(fmt::format("{}: is {}, but {} is {}; give {}", other_file.string(), shape_of(other),
                               first_file.filename().string(), shape_of(first),
                               first.dim() == other.dim() ? "--resize HEIGHTxWIDTH" : "--grey, or colour them all"));
}

// Sub-folders with files in them.
struct ClassFolders {
  std::vector<std::string> names;
  std::vector<std::vector<fs::path>> files;
  std::int64_t count = 0;          // of files
  std::vector<std::string> empty;  // quoted, for a note
  bool has_leftovers = false;
};

ClassFolders class_folders(const std::string& folder, const fs::path& root) {
  constexpr const char* leftovers = "__MACOSX";
  ClassFolders found;
  for (const auto& entry : entries(folder, root)) {
    const std::string name = entry.filename().string();
    if (!fs::is_directory(entry)) {
      throw InputError(entry.string() + ": is not in the folder of a class; move it into one, or away");
    }
    if (name == leftovers) {
      found.has_leftovers = true;
      continue;
    }
    auto files = entries(entry, root);
    if (files.empty()) {
      found.empty.push_back(fmt::format("\"{}\"", printable(name)));
      continue;
    }
    found.count += static_cast<std::int64_t>(files.size());
    found.names.push_back(name);
    found.files.push_back(std::move(files));
  }
  return found;
}

}  // namespace

LabelledImages load_folder(const std::string& folder, const Preprocessing& preprocessing) {
  if (!fs::is_directory(folder))
    throw InputError(folder + ": no such folder; give one with a sub-folder for each class");
  const ClassFolders found = class_folders(folder, fs::canonical(folder));
  NamedClasses classes = classes_of(found.names, folder);
  LabelledImages loaded;
  loaded.files = {folder};
  loaded.class_names = std::move(classes.names);
  if (!found.empty.empty()) {
    loaded.notes.push_back(
        fmt::format("left out: folders without pictures, which are no classes: {}", listed(found.empty, most_listed)));
  }
  if (found.has_leftovers) loaded.notes.emplace_back("left out: __MACOSX, which archives leave");
  Tensor first;
  fs::path first_file;
  std::vector<std::int64_t> labels;
  for (std::size_t i = 0; i < found.files.size(); ++i) {
    for (const auto& file : found.files[i]) {
      if (!has_image_name(file) || fs::is_directory(file)) {
        throw InputError(file.string() + ": does not have the name of a PNG or JPEG file; convert it, or move it away");
      }
      const Tensor picture = picture_in(file, preprocessing);
      if (!first.defined()) {
        loaded.images = room_for(found.count, picture, folder);
        first = picture;
        first_file = file;
      }
      require_same_shape(first, first_file, picture, file);
      loaded.images.select(0, static_cast<std::int64_t>(labels.size())).copy_(picture);
      labels.push_back(classes.of[i]);
    }
  }
  if (labels.empty()) throw InputError(folder + ": holds no sub-folders with pictures; give one for each class");
  loaded.labels = at::tensor(labels, at::kLong);
  return loaded;
}

}  // namespace afterimage
