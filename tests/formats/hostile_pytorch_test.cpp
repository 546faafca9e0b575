// Hostile PyTorch files: published tricks against scanners of pickles and zips, and tricks against this reader.
#include <catch2/catch.hpp>
#include <fstream>
#include <functional>

#include "models/formats/pytorch.h"
#include "models/foundations/files.h"
#include "tests/folder.h"
#include "tests/formats/hostile.h"

namespace afterimage {
namespace {

namespace fs = std::filesystem;

using test::bytes_of;
using test::check_refused;
using test::Folder;
using test::little_endian;
using test::Member;
using test::raw_zip;
using test::repeated;

std::string short_text(const std::string& text) { return bytes_of({'X'}) + little_endian(text.size(), 4) + text; }
std::string global(const std::string& module, const std::string& name) { return "c" + module + "\n" + name + "\n"; }
std::string integer(std::int64_t value) {
  return bytes_of({0x8a, 8}) + little_endian(static_cast<std::uint64_t>(value), 8);
}
std::string tuple(const std::string& items) { return "(" + items + "t"; }

struct Tensor {
  std::string storage = "0", type = "FloatStorage";
  std::int64_t elements = 4, offset = 0;
  std::vector<std::int64_t> sizes = {2, 2}, strides = {2, 1};

  std::string pickled() const {
    const auto numbers = [](const std::vector<std::int64_t>& values) {
      std::string items;
      for (const auto value : values) items += integer(value);
      return tuple(items);
    };
    const std::string where = tuple(short_text("storage") + global("torch", type) + short_text(storage) +
                                    short_text("cpu") + integer(elements));
    return global("torch._utils", "_rebuild_tensor_v2") +
           tuple(where + "Q" + integer(offset) + numbers(sizes) + numbers(strides) + "\x89" +
                 global("collections", "OrderedDict") + ")R") +
           "R";
  }
};

std::string dict_of(const std::string& items) { return "\x80\x02}(" + items + "u."; }
std::string dict_of(const Tensor& tensor) { return dict_of(short_text("w") + tensor.pickled()); }

Member stored(const std::string& name, const std::string& bytes) { return {name, bytes, bytes.size()}; }

// Four numbers in storage 0, and the pickle given.
std::vector<Member> members_with(const std::string& pickle) {
  return {stored("a/data.pkl", pickle), stored("a/data/0", std::string(16, '\x3f')), stored("a/version", "3\n")};
}

struct Hostile {
  std::string what, bytes;
  std::string named = "";  // what the message has to contain
};

class Corpus {
 public:
  void check(const Hostile& hostile) {
    CAPTURE(hostile.what);
    const fs::path file = folder_.write("model.pt", hostile.bytes);
    check_refused(
        hostile.what, file, [](const fs::path& path) { read_pytorch(path); }, hostile.named);
    CHECK_FALSE(fs::exists(canary()));
    CHECK(folder_.entries() == 1);
    ++count_;
  }
  void check_pickle(const Hostile& hostile) {
    check({hostile.what, raw_zip(members_with(hostile.bytes)), hostile.named});
  }
  std::string canary() const { return folder_.at("canary").string(); }
  int count() const { return count_; }

 private:
  Folder folder_;
  int count_ = 0;
};

}  // namespace

TEST_CASE("a PyTorch file that is put together by hand is read, and bytes inside it are no pickle") {
  const Folder folder;
  const auto read = [&](const std::string& bytes) { return read_pytorch(folder.write("model.pt", bytes)).arrays; };
  const auto arrays = read(raw_zip(members_with(dict_of(Tensor{}))));
  REQUIRE(arrays.size() == 1);
  CHECK(arrays[0].second.shape == std::vector<std::int64_t>{2, 2});
  // A pickle inside of bytes is bytes.
  const std::string inner = "cos\nsystem\n(S'true'\ntR.";
  const std::string nested =
      dict_of(short_text("w") + Tensor{}.pickled() + short_text("x") + "B" + little_endian(inner.size(), 4) + inner);
  CHECK(read(raw_zip(members_with(nested))).size() == 1);
}

TEST_CASE("a pickle that names anything a state dict does not need is refused by that name, and nothing is run") {
  Corpus corpus;
  const std::string shell = "touch " + corpus.canary();
  const std::pair<const char*, const char*> functions[] = {{"os", "system"},
                                                           {"posix", "system"},
                                                           {"nt", "system"},
                                                           {"os", "popen"},
                                                           {"os", "execv"},
                                                           {"subprocess", "Popen"},
                                                           {"subprocess", "check_output"},
                                                           {"builtins", "eval"},
                                                           {"builtins", "exec"},
                                                           {"builtins", "compile"},
                                                           {"builtins", "getattr"},
                                                           {"builtins", "open"},
                                                           {"builtins", "__import__"},
                                                           {"__builtin__", "eval"},
                                                           {"__builtin__", "apply"},
                                                           {"importlib", "import_module"},
                                                           {"runpy", "_run_code"},
                                                           {"pickle", "loads"},
                                                           {"_pickle", "loads"},
                                                           {"marshal", "loads"},
                                                           {"torch", "load"},
                                                           {"torch.hub", "load"},
                                                           {"torch.storage", "_load_from_bytes"},
                                                           {"torch._utils", "_rebuild_tensor"},
                                                           {"torch", "ComplexFloatStorage"},
                                                           {"torch.jit.unsupported_tensor_ops", "execWrapper"},
                                                           {"torch._dynamo.guards.GuardBuilder", "get"},
                                                           {"torch.nn.modules.linear", "Linear"},
                                                           {"__main__", "Net"},
                                                           {"numpy.core.multiarray", "_reconstruct"},
                                                           {"numpy.testing._private.utils", "runstring"},
                                                           {"numpy.f2py.crackfortran", "myeval"},
                                                           {"operator", "attrgetter"},
                                                           {"operator", "methodcaller"},
                                                           {"functools", "partial"},
                                                           {"types", "CodeType"},
                                                           {"types", "FunctionType"},
                                                           {"codecs", "decode"},
                                                           {"_codecs", "encode"},
                                                           {"sys", "modules"},
                                                           {"ctypes", "CDLL"},
                                                           {"socket", "socket"},
                                                           {"shutil", "rmtree"},
                                                           {"pty", "spawn"},
                                                           {"code", "InteractiveInterpreter.runsource"},
                                                           {"bdb", "Bdb.run"},
                                                           {"cProfile", "run"},
                                                           {"profile", "run"},
                                                           {"timeit", "timeit"},
                                                           {"trace", "Trace.run"},
                                                           {"pdb", "run"},
                                                           {"doctest", "debug_script"},
                                                           {"pydoc", "pipepager"},
                                                           {"venv", "create"},
                                                           {"ensurepip", "_run_pip"},
                                                           {"pip", "main"},
                                                           {"distutils.file_util", "write_file"},
                                                           {"lib2to3.pgen2.grammar", "Grammar.loads"},
                                                           {"idlelib.pyshell", "ModifiedInterpreter.runcommand"},
                                                           {"asyncio.unix_events", "_UnixSubprocessTransport._start"},
                                                           {"io", "FileIO"},
                                                           {"urllib.request", "urlopen"},
                                                           {"ssl", "get_server_certificate"},
                                                           {"http.client", "HTTPSConnection"},
                                                           {"webbrowser", "open"},
                                                           {"linecache", "getline"},
                                                           {"collections", "namedtuple"},
                                                           {"copyreg", "add_extension"},
                                                           {"logging.config", "_resolve"},
                                                           {"uuid", "_get_command_stdout"},
                                                           {"site", "main"},
                                                           {"aiohttp.client", "ClientSession"}};
  for (const auto& [module, name] : functions) {
    const std::string full = std::string(module) + "." + name, call = tuple(short_text(shell)) + "R.";
    corpus.check_pickle({"GLOBAL " + full, "\x80\x02" + global(module, name) + call, full});
    corpus.check_pickle(
        {"STACK_GLOBAL " + full, "\x80\x04" + short_text(module) + short_text(name) + bytes_of({0x93}) + call, full});
  }
  const std::string line = "S'" + shell + "'\n";
  for (const auto& hostile : std::vector<Hostile>{
           {"protocol 0", "cos\nsystem\n(" + line + "tR.", "os.system"},
           {"INST", "(" + line + "ios\nsystem\n.", "os.system"},
           {"INST of what is allowed", "(ncollections\nOrderedDict\n.", "opcode"},
           {"INST of an OrderedDict", "(icollections\nOrderedDict\n.", "INST"},
           {"OBJ", "(cos\nsystem\n" + line + "o.", "os.system"},
           {"OBJ of an OrderedDict", "(ccollections\nOrderedDict\no.", "OBJ"},
           {"NEWOBJ", "\x80\x02" + global("subprocess", "Popen") + tuple(line) + "\x81.", "subprocess.Popen"},
           {"NEWOBJ of an OrderedDict", "\x80\x02" + global("collections", "OrderedDict") + ")\x81.", "NEWOBJ"},
           {"NEWOBJ_EX", "\x80\x04" + global("collections", "OrderedDict") + ")}\x92.", "NEWOBJ_EX"},
           {"STACK_GLOBAL of memos",
            "\x80\x04" + short_text("os") +
                "q\x01"
                "0" +
                short_text("system") +
                "q\x02"
                "0"
                "h\x01h\x02\x93.",
            "os.system"},
           {"STACK_GLOBAL of numbers", "\x80\x04K\x01K\x02\x93.", "import"},
           {"a name in pieces", "\x80\x04" + short_text("torch") + short_text("hub.load") + "\x93.", "torch.hub.load"},
           {"an allowed name with more", "\x80\x02" + global("collections", "OrderedDict.__init__") + ".",
            "collections.OrderedDict.__init__"},
           {"a Cyrillic letter in an allowed name", "\x80\x02" + global("t\xd0\xberch", "Size") + ".", "rch.Size"},
           {"a call among the weights",
            dict_of(short_text("w") + Tensor{}.pickled() + short_text("x") + global("os", "system") + tuple(line) +
                    "R"),
            "os.system"},
           {"a call that is thrown away",
            "\x80\x02" + global("os", "system") + tuple(line) + "R0" + dict_of(Tensor{}).substr(2), "os.system"},
           {"a name that is not called", "\x80\x02" + global("os", "system") + ".", "os.system"},
           {"a call as a storage",
            "\x80\x02" + tuple(short_text("storage") + global("os", "system") + short_text("0")) + "Q.", "os.system"},
           {"EXT1", "\x80\x02\x82\x01)R.", "EXT"},
           {"EXT2", "\x80\x02\x83\x01\x01)R.", "EXT"},
           {"EXT4", bytes_of({0x80, 2, 0x84, 1, 1, 0, 0, ')', 'R', '.'}), "EXT"},
           {"a second pickle behind the first", dict_of(Tensor{}) + "cos\nsystem\n(" + line + "tR.", "followed by"},
           {"BUILD of a tensor", dict_of(short_text("w") + Tensor{}.pickled() + "}b"), "BUILD"},
           {"BUILD of a name", "\x80\x02" + global("torch", "Size") + "}(" + short_text("__call__") + "NubN.", "BUILD"},
           {"BUILD of a dict with no dict",
            "\x80\x02}K\x01"
            "b.",
            "BUILD"},
           {"a call of a text", "\x80\x02" + short_text("os.system") + tuple(line) + "R.", "no function"},
           {"a call of a storage", "\x80\x02" + global("torch", "FloatStorage") + ")R.", "no function"},
           {"a call of a call", "\x80\x02" + global("torch", "Size") + ")R)R.", "no function"},
           {"a call without a tuple", "\x80\x02" + global("torch", "Size") + "K\x01R.", "tuple"},
           {"an OrderedDict of something", "\x80\x02" + global("collections", "OrderedDict") + tuple(line) + "R.",
            "OrderedDict"},
           {"a name that writes to the terminal", "\x80\x02" + global("\x1b[2J", "\r\x1b]0;x\x07") + ".", "\\x1b"},
           {"a name of a megabyte", "\x80\x02" + global("os", std::string(1 << 20, 'a')) + ".", "os.aaa"},
           {"an object of TorchScript", "\x80\x02" + global("__torch__", "Net") + ")\x81}b.", "__torch__.Net"},
       }) {
    corpus.check_pickle(hostile);
  }
  CHECK(corpus.count() > 150);
}

TEST_CASE("what a pickle would build beside the weights is named and not built, and other hostile values are refused") {
  const Folder folder;
  const auto read = [&](const std::string& items) {
    return read_pytorch(
        folder.write("model.pt", raw_zip(members_with(dict_of(short_text("w") + Tensor{}.pickled() + items)))));
  };
  const std::string name = global("mine.config", "Config"), state = "}" + short_text("path") + short_text("x") + "sb";
  const std::pair<const char*, std::string> kinds[] = {{"a name", name},
                                                       {"a call", name + tuple(short_text("x")) + "R"},
                                                       {"an object", name + ")\x81" + state},
                                                       {"an object with named arguments", name + ")}\x92" + state},
                                                       {"an old object", "(" + name + "o" + state},
                                                       {"an instance", "(imine.config\nConfig\n" + state},
                                                       {"a list of its own class", name + ")\x81(K\x01K\x02" + "e"},
                                                       {"a dict of its own class", name + ")\x81(K\x01K\x02" + "u"},
                                                       {"a call of what a call made", name + ")R)R"}};
  for (const auto& [what, pickled] : kinds) {
    CAPTURE(what);
    const ArrayFile content = read(short_text("config") + pickled);
    CHECK(content.arrays.size() == 1);
    REQUIRE(content.passed_over.size() == 1);
    CHECK(content.passed_over[0].what == "mine.config.Config");
    CHECK(content.notes == std::vector<std::string>{"not built: mine.config.Config"});
  }
  for (const auto& [module, value] : std::vector<std::pair<const char*, const char*>>{
           {"uuid", "UUID"}, {"builtins", "Ellipsis"}, {"types", "SimpleNamespace"}, {"logging", "getLogger"}}) {
    CHECK(read(short_text("id") + global(module, value)).passed_over.at(0).what == std::string(module) + "." + value);
  }
  Corpus corpus;
  std::string many;
  for (int i = 0; i < 20'000; ++i) many += global("m" + std::to_string(i), std::string(100, 'x')) + "0";
  corpus.check_pickle({"two megabytes of names", "\x80\x02" + many + dict_of(Tensor{}).substr(2), "too many"});
  for (const auto* function : {"_rebuild_from_type_v2", "_rebuild_parameter_with_state", "_rebuild_tensor_v3"}) {
    const std::string module = std::string(function) == "_rebuild_from_type_v2" ? "torch._tensor" : "torch._utils";
    for (const std::string& arguments :
         {std::string(")"), tuple("NNNN"), tuple("NNNNNNNN"), tuple(global("torch", "Size") + name + "K\x01N")}) {
      corpus.check_pickle({std::string(function) + " of other arguments",
                           dict_of(short_text("w") + global(module, function) + arguments + "R")});
    }
  }
  std::string nested = Tensor{}.pickled();
  for (int i = 0; i < 6; ++i) nested = global("torch._utils", "_rebuild_parameter") + tuple(nested + "\x89N") + "R";
  corpus.check_pickle({"a parameter of parameters", dict_of(short_text("w") + nested), "parameter of parameters"});
}

TEST_CASE("a pickle that is broken or made to take memory or time is refused") {
  Corpus corpus;
  const std::string good = dict_of(Tensor{});
  for (std::size_t i = 0; i < good.size(); i += 3) corpus.check_pickle({"cut off", good.substr(0, i)});
  const std::string doubled = [] {
    std::string pickle = "\x80\x02]";
    for (int i = 0; i < 200; ++i) pickle += bytes_of({'q', i, '0', ']', 'h', i, 'a', 'h', i, 'a'});
    return pickle + ".";
  }();
  for (const auto& hostile : std::vector<Hostile>{
           {"nothing but an end", "."},
           {"protocol 255", "\x80\xff."},
           {"an unknown opcode", "\x80\x02\xf0."},
           {"several values", "\x80\x02NN."},
           {"an open mark", "\x80\x02(N."},
           {"no mark", "\x80\x02Nt."},
           {"a value below the mark", "\x80\x02N(0a."},
           {"a pop of nothing",
            "\x80\x02"
            "0."},
           {"a key without a value", "\x80\x02}(Nu."},
           {"items for a tuple", "\x80\x02)Na."},
           {"items for a tensor", dict_of(short_text("w") + Tensor{}.pickled() + "NNs")},
           {"a memo that is not there", "\x80\x02h\x07."},
           {"a memo far away", "\x80\x02Nr" + little_endian(0x7fffffff, 4) + "."},
           {"a memo of protocol 0 far away", "Np99999999999999999999\n."},
           {"a memo of nothing", "\x80\x02q\x01."},
           {"a text of 2^63 bytes", "\x80\x04\x8d" + little_endian(1ULL << 63, 8) + "abc."},
           {"bytes of 4 GiB",
            "\x80\x03"
            "B" +
                little_endian(0xffffffff, 4) + "abc."},
           {"an integer of 2 GiB", "\x80\x02\x8b" + little_endian(0x7fffffff, 4) + "abc."},
           {"an integer of a negative size", "\x80\x02\x8b" + little_endian(0xffffffff, 4) + "abc."},
           {"a long integer that is there", "\x80\x02\x8b" + little_endian(300, 4) + std::string(300, '\1') + "."},
           {"an integer of letters", "Iabc\n."},
           {"a million digits", "L" + std::string(1'000'000, '9') + "L\n."},
           {"a float of letters", "Fabc\n."},
           {"a text with escapes", "S'\\x41'\n."},
           {"a text without quotes", "Sabc\n."},
           {"a frame longer than the pickle", "\x80\x04\x95" + little_endian(1000, 8) + "N."},
           {"a frame of 2^64 - 1", "\x80\x04\x95" + std::string(8, '\xff') + "N."},
           {"a frame that cuts a value",
            "\x80\x04\x95" + little_endian(3, 8) + "X\x05" + std::string(3, '\0') + "hello."},
           {"a frame in a frame",
            "\x80\x04\x95" + little_endian(20, 8) + "\x95" + little_endian(1, 8) + "NNNNNNNNNNNNN."},
           {"an end inside a frame", "\x80\x04\x95" + little_endian(5, 8) + "N...."},
           {"a storage in text", "\x80\x02P0\n."},
           {"a storage of no tuple", "\x80\x02NQ."},
           {"a buffer outside", "\x80\x05\x97."},
           {"a read-only buffer", "\x80\x05N\x98."},
           {"a list of itself",
            "\x80\x02]q\x01h\x01"
            "a."},
           {"a dict of itself", "\x80\x02}q\x01" + short_text("a") + "h\x01s."},
           {"a dict of itself as its key", "\x80\x02}q\x01h\x01h\x01s."},
           {"a tuple that is doubled 200 times", doubled},
           {"dicts that are doubled 200 times",
            [] {
              std::string pickle = "\x80\x02}";
              for (int i = 0; i < 200; ++i) {
                pickle += bytes_of({'q', i, '0', '}', '('}) + short_text("a") + bytes_of({'h', i}) + short_text("b") +
                          bytes_of({'h', i, 'u'});
              }
              return pickle + ".";
            }()},
           {"tuples 300,000 deep", "\x80\x02)" + repeated("\x85", 300'000) + "."},
           {"lists a million deep", "\x80\x02" + repeated("]", 1'000'000) + repeated("a", 999'999) + "."},
           {"a million marks", repeated("(", 1'000'000) + "."},
           {"a million integers", "\x80\x02(" + repeated("K\x01", 1'000'000) + "l."},
           {"a million empty dicts", "\x80\x02(" + repeated("}", 1'000'000) + "l."},
           {"ten million copies of one value", "\x80\x02(N" + repeated("2", 10'000'000) + "l."},
           {"five million values of none", "\x80\x02(" + repeated("N", 5'000'000) + "l."},
           {"a million memos", "\x80\x04(" + repeated("N\x94", 1'200'000) + "l."},
           {"a hundred thousand calls of one tuple", "\x80\x02" + global("torch", "Size") +
                                                         "q\x01"
                                                         "0(" +
                                                         repeated("N", 100'000) +
                                                         "tq\x02"
                                                         "0(" +
                                                         repeated("h\x01h\x02R", 500'000) + "l."},
           {"a tuple that is appended to itself",
            "\x80\x02]q\x01"
            "0" +
                repeated("h\x01(" + repeated("N", 1000) + "e0", 2000) + "h\x01."},
           {"a pickle of 17 MiB",
            "\x80\x02"
            "B" +
                little_endian(17 << 20, 4) + std::string(17 << 20, 'a') + "."},
       }) {
    corpus.check_pickle(hostile);
  }
}

TEST_CASE("a tensor that does not fit its storage is refused") {
  Corpus corpus;
  const auto tensor = [](auto change) {
    Tensor made;
    change(made);
    return dict_of(made);
  };
  const std::int64_t huge = std::int64_t{1} << 62;
  const auto names = [](int count, auto name, const Tensor& each) {
    std::string items = short_text(name(0)) + each.pickled() + "q\x01";
    for (int i = 1; i < count; ++i) items += short_text(name(i)) + "h\x01";
    return dict_of(items);
  };
  Tensor half;
  half.type = "HalfStorage";
  half.elements = 8;
  for (const auto& hostile : std::vector<Hostile>{
           {"an offset past the end", tensor([](Tensor& t) { t.offset = 1; }), "storage"},
           {"a negative offset", tensor([](Tensor& t) { t.offset = -1; }), "no whole number"},
           {"an offset of 2^62", tensor([&](Tensor& t) { t.offset = huge; }), "storage"},
           {"sizes past the end", tensor([](Tensor& t) {
              t.sizes = {3, 2};
            }),
            "storage"},
           {"sizes that overflow", tensor([&](Tensor& t) {
              t.sizes = {huge, huge};
            }),
            "storage"},
           {"a negative size", tensor([](Tensor& t) {
              t.sizes = {-2, 2};
            }),
            "no whole number"},
           {"a negative stride", tensor([](Tensor& t) {
              t.strides = {-2, 1};
            }),
            "no whole number"},
           {"strides that overflow", tensor([&](Tensor& t) {
              t.strides = {huge, huge};
            }),
            "storage"},
           {"a stride too few", tensor([](Tensor& t) { t.strides = {1}; }), "stride"},
           {"17 dimensions", tensor([](Tensor& t) { t.sizes = t.strides = std::vector<std::int64_t>(17, 1); }),
            "dimensions"},
           {"a billion repeats", tensor([](Tensor& t) { t.sizes = {1 << 30}, t.strides = {0}; }), "repeat"},
           {"2^62 repeats", tensor([&](Tensor& t) { t.sizes = {huge / 4}, t.strides = {0}; }), "repeat"},
           {"repeats that overflow", tensor([&](Tensor& t) { t.sizes = {huge}, t.strides = {0}; }), "storage"},
           {"more elements than the storage", tensor([](Tensor& t) { t.elements = 8; }), "8 elements"},
           {"fewer elements than the storage",
            tensor([](Tensor& t) { t.elements = 2, t.sizes = {1}, t.strides = {1}; }), "2 elements"},
           {"2^62 elements in the storage", tensor([&](Tensor& t) { t.elements = huge; }), "elements"},
           {"another type than the storage", tensor([](Tensor& t) { t.type = "DoubleStorage"; }), "elements"},
           {"a storage that is not there", tensor([](Tensor& t) { t.storage = "1"; }), "no member"},
           {"a storage outside of the archive", tensor([](Tensor& t) { t.storage = "../../../etc/passwd"; }),
            "no member"},
           {"the version as a storage", tensor([](Tensor& t) { t.storage = "../version"; }), "no member"},
           {"a storage whose name writes to the terminal", tensor([](Tensor& t) { t.storage = "\x1b[2J\n"; }), "\\x1b"},
           {"a type that is no storage", tensor([](Tensor& t) { t.type = "float32"; }), "torch.float32"},
           {"two types of one storage",
            dict_of(short_text("v") + half.pickled() + short_text("w") + Tensor{}.pickled()), "differently"},
           {"a name twice", dict_of(short_text("w") + Tensor{}.pickled() + short_text("w") + Tensor{}.pickled()),
            "twice"},
           {"a name of a megabyte", dict_of(short_text(std::string(1'000'000, 'w')) + Tensor{}.pickled()), "name"},
           {"two names that are one without prefix",
            dict_of(short_text("module.w") + Tensor{}.pickled() + short_text("module.module.w") + Tensor{}.pickled() +
                    short_text("module.w") + Tensor{}.pickled()),
            "twice"},
           {"seventy thousand names of one tensor",
            names(
                70'000, [](int i) { return std::to_string(i); }, Tensor{}),
            "more than 65536 tensors"},
           {"ten thousand repeats of one tensor",
            names(
                10'000, [](int i) { return std::to_string(i); },
                [] {
                  Tensor t;
                  t.sizes = {1 << 20}, t.strides = {0};
                  return t;
                }()),
            "repeat"},
           {"a tensor without arguments",
            dict_of(short_text("w") + global("torch._utils", "_rebuild_tensor_v2") + ")R"), "arguments"},
           {"a tensor of other arguments",
            dict_of(short_text("w") + global("torch._utils", "_rebuild_tensor_v2") + "(NNNNNNtR"), "no storage"},
           {"a parameter of nothing",
            dict_of(short_text("w") + global("torch._utils", "_rebuild_parameter") + "(NNNtR"), "no tensor"},
           {"a storage of other things",
            dict_of(short_text("w") + global("torch._utils", "_rebuild_tensor_v2") + "((NNtQNNNNNtR"), "storage"},
           {"no tensors", dict_of(short_text("w") + "N"), "no state dict"},
           {"an empty dict", "\x80\x02}.", "no state dict"},
           {"a list of tensors", "\x80\x02](" + Tensor{}.pickled() + "e.", "not a state dict"},
       }) {
    corpus.check_pickle(hostile);
  }
}

TEST_CASE("a zip that is ambiguous or holds other members is refused") {
  Corpus corpus;
  const std::string pickle = dict_of(Tensor{}), evil = "cos\nsystem\n(S'true'\ntR.";
  const std::vector<Member> good = members_with(pickle);
  const std::string valid = raw_zip(good);
  const auto with = [&](const Member& more) {
    auto members = good;
    members.push_back(more);
    return raw_zip(members);
  };
  const auto first = [&](auto change) {
    auto members = good;
    change(members[0]);
    return raw_zip(members);
  };
  const auto at_end = [&](std::size_t offset, const std::string& bytes) {
    std::string changed = valid;
    return changed.replace(changed.size() - 22 + offset, bytes.size(), bytes);
  };
  const auto parts = test::raw_zip_parts(good), other = test::raw_zip_parts(members_with(evil));
  const auto deflated = [](const std::string& bytes) { return test::deflated(bytes, -15); };
  const std::string bomb = deflated(std::string(200'000'000, '\0'));
  const std::string tar = [] {
    std::string block(1024, '\0');
    return block.replace(0, 6, "pickle").replace(257, 5, "ustar");
  }();
  for (const auto& hostile : std::vector<Hostile>{
           {"empty", ""},
           {"two letters", "PK"},
           {"text", "hello, this is no zip archive", "not a file of torch.save"},
           {"an end record alone", bytes_of({'P', 'K', 5, 6}) + std::string(18, '\0'), "data.pkl"},
           {"a bare pickle", evil, "os.system"},
           {"a bare pickle of protocol 2", "\x80\x02" + evil, "os.system"},
           {"a bare pickle of nothing bad", pickle, "bare pickle"},
           {"the format before 1.6 with a call in it",
            bytes_of({0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.'}) +
                "\x80\x02M\xe9\x03." + "\x80\x02}." + "\x80\x02" + evil,
            "os.system"},
           {"a tar", tar, "tar"},
           {"cut off", valid.substr(0, valid.size() - 5), "cut off"},
           {"trailing bytes", valid + "hello"},
           {"a pickle before the zip", evil + valid, "os.system"},
           {"bytes before the zip", "PK" + valid, "before it"},
           {"a zip behind the zip", valid + raw_zip(members_with(evil))},
           {"a zip behind the zip that knows of it",
            valid + other.files + other.directory + other.end(valid.size())},
           {"two directories", parts.files + other.directory + parts.directory + parts.end()},
           {"two directories and one end that skips the other",
            parts.files + other.directory + parts.directory + parts.end(other.directory.size())},
           {"a zip as a comment", at_end(20, little_endian(raw_zip(members_with(evil)).size(), 2)) + raw_zip(members_with(evil))},
           {"a comment", at_end(20, little_endian(5, 2)) + "hello"},
           {"a comment that is not there", at_end(20, little_endian(5, 2)), "comment"},
           {"a member too few in the end record", at_end(8, little_endian(2, 2) + little_endian(2, 2))},
           {"a member too many in the end record", at_end(8, little_endian(4, 2) + little_endian(4, 2))},
           {"several disks", at_end(4, little_endian(1, 2)), "disks"},
           {"members on another disk", at_end(8, little_endian(1, 2)), "disks"},
           {"a directory that begins elsewhere", at_end(16, little_endian(4, 4))},
           {"a directory of 4 GiB", at_end(12, little_endian(0xfffffffe, 4))},
           {"a name twice", with(stored("a/data.pkl", evil)), "twice"},
           {"a path out of the archive", with(stored("a/../../x", "x")), "leaves the archive"},
           {"an absolute path", with(stored("/etc/x", "x")), "leaves the archive"},
           {"a Windows path", with(stored("a\\..\\x", "x")), "name"},
           {"a drive", with(stored("C:x", "x")), "name"},
           {"a name with a zero byte", with(stored(std::string("a/data/1\0.txt", 13), "x")), "name"},
           {"a name that writes to the terminal", with(stored("a/\x1b[2J", "x")), "\\x1b"},
           {"a folder", with(stored("a/data/", "")), "folder"},
           {"no name", with(stored("", "x")), "name"},
           {"a second folder", with(stored("b/data.pkl", evil)), "not what torch.save writes"},
           {"another member", with(stored("a/evil.py", "import os")), "not what torch.save writes"},
           {"TorchScript", with(stored("a/constants.pkl", ")."))},
           {"code", with(stored("a/code/__torch__.py", "x")), "TorchScript"},
           {"no pickle", raw_zip({stored("a/data/0", "x")}), "data.pkl"},
           {"a pickle without a folder", raw_zip({stored("data.pkl", pickle)}), "data.pkl"},
           {"an array of NumPy", raw_zip({stored("a.npy", "x")}), "data.pkl"},
           {"another name before the member", first([](Member& m) { m.local_name = "a/data.pkx"; }), "in another"},
           {"a longer name before the member", first([](Member& m) { m.local_name = "a/data.pkl.txt"; }), "in another"},
           {"another compression before the member", first([](Member& m) { m.local_method = 8; }), "in another"},
           {"another compression in the directory", first([](Member& m) { m.method = 8, m.local_method = 0; }), "in another"},
           {"other flags before the member", first([](Member& m) { m.local_flags = 2; }), "in another"},
           {"another checksum before the member", first([](Member& m) { m.wrong_bits = 1; }), "in another"},
           {"encrypted in the directory", first([](Member& m) { m.flags = 1, m.local_flags = 0; }), "encrypted"},
           {"encrypted before the member", first([](Member& m) { m.local_flags = 1; }), "encrypted"},
           {"strongly encrypted", first([](Member& m) { m.flags = 65; }), "encrypted"},
           {"bzip2", first([](Member& m) { m.method = 12; }), "unknown compression"},
           {"a size of 1 GiB, stored", first([](Member& m) { m.declared = 1 << 30; }), "declares"},
           {"a size of nothing, stored", first([](Member& m) { m.declared = 0; }), "declares"},
           {"a size of zip64 without one", first([](Member& m) { m.declared = 0xffffffff; }), "zip64"},
           {"a descriptor that is not there", first([](Member& m) { m.flags = 8; }), "belong"},
           {"a compressed pickle", first([&](Member& m) {
              m.bytes = deflated(pickle);
              m.declared = pickle.size();
              m.method = 8;
            }),
            "compressed"},
           {"a bomb for a pickle", first([&](Member& m) {
              m.bytes = bomb;
              m.declared = 200'000'000;
              m.method = 8;
            }),
            "compressed"},
           {"a bomb that says it is small", first([&](Member& m) {
              m.bytes = bomb;
              m.declared = 100;
              m.method = 8;
            })},
           {"a size beyond any deflation", first([&](Member& m) {
              m.bytes = deflated("x");
              m.declared = 1 << 30;
              m.method = 8;
            }),
            "declares"},
           {"a bit of the pickle flipped", [&] {
              std::string flipped = valid;
              flipped[45] ^= 1;
              return flipped;
            }(),
            "checksum"},
           {"a third byte order", with(stored("a/byteorder", "middle")), "neither"},
           {"a byte order of a gigabyte's name", with(stored("a/byteorder", std::string(1000, 'b'))), "neither"},
           {"two hundred thousand members", at_end(8, little_endian(0xfffe, 2) + little_endian(0xfffe, 2))},
       }) {
    corpus.check(hostile);
  }
}

}  // namespace afterimage
