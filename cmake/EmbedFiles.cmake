# Writes OUTPUT, a C++ source with the bytes of each of FILES, looked up by file name through afterimage::page_file().
set(tables "")
set(entries "")
set(number 0)
foreach(file IN LISTS FILES)
  get_filename_component(name ${file} NAME)
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND tables "const unsigned char file_${number}[] = {${bytes}};\n")
  string(APPEND entries "  if (name == \"${name}\") return {reinterpret_cast<const char*>(file_${number}), sizeof(file_${number})};\n")
  math(EXPR number "${number} + 1")
endforeach()
file(WRITE ${OUTPUT} "// Generated from the page's files.
#include <stdexcept>
#include <string>
#include <string_view>

#include \"reports/page_files.h\"

namespace afterimage {
namespace {
${tables}}  // namespace

std::string_view page_file(std::string_view name) {
${entries}  throw std::logic_error(\"no such page file: \" + std::string(name));
}

}  // namespace afterimage
")
