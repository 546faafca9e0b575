#include "models/formats/pickle_names.h"

namespace afterimage {
namespace {

// Each is a list of names between spaces.
constexpr std::string_view functions =
    " collections.OrderedDict collections.Counter torch.Size torch.device torch._utils._rebuild_tensor_v2"
    " torch._utils._rebuild_tensor_v3 torch._utils._rebuild_parameter torch._utils._rebuild_parameter_with_state"
    " torch._utils._rebuild_qtensor torch._tensor._rebuild_from_type_v2 ";
constexpr std::string_view types =
    " torch.DoubleStorage torch.FloatStorage torch.HalfStorage torch.BFloat16Storage torch.LongStorage"
    " torch.IntStorage torch.ShortStorage torch.CharStorage torch.ByteStorage torch.BoolStorage"
    " torch.ComplexFloatStorage torch.ComplexDoubleStorage torch.QInt8Storage torch.QUInt8Storage torch.QInt32Storage"
    " torch.UntypedStorage torch.storage.UntypedStorage torch.float64 torch.double torch.float32 torch.float"
    " torch.float16 torch.half torch.bfloat16 torch.int64 torch.long torch.int32 torch.int torch.int16 torch.short"
    " torch.int8 torch.uint8 torch.bool torch.uint16 torch.uint32 torch.uint64 torch.float8_e4m3fn"
    " torch.float8_e4m3fnuz torch.float8_e5m2 torch.float8_e5m2fnuz torch.qint8 torch.quint8 torch.qint32"
    " torch.complex64 torch.complex128 torch.Tensor torch.nn.parameter.Parameter torch.nn.parameter.Buffer"
    " torch.per_tensor_affine torch.per_channel_affine ";
constexpr std::string_view script_functions =
    " torch.jit._pickle.build_intlist torch.jit._pickle.build_tensorlist torch.jit._pickle.build_doublelist"
    " torch.jit._pickle.build_boollist torch.jit._pickle.restore_type_tag ";

// Modules and functions; of a module all that it holds.
constexpr std::string_view dangerous =
    " os posix nt subprocess builtins __builtin__ importlib runpy pickle _pickle cPickle dill cloudpickle joblib "
    "marshal"
    " sys ctypes _ctypes socket shutil pty code codeop bdb pdb cProfile profile timeit trace doctest pydoc venv "
    "ensurepip"
    " pip setuptools pkg_resources distutils lib2to3 idlelib asyncio io _io urllib ssl http ftplib smtplib telnetlib"
    " xmlrpc webbrowser linecache copyreg logging uuid site aiohttp requests operator _operator functools types inspect"
    " commands platform multiprocessing threading concurrent signal gc ast tempfile fileinput zipimport torch.hub"
    " torch.load torch.jit torch.package torch._dynamo torch._inductor torch.utils torch.storage._load_from_bytes"
    " numpy.testing numpy.f2py numpy.load ";
// Of these: plain values, and what holds values without doing anything by itself; and getattr, by which a pickle names
// a method of a class. What they hold or name is named too.
constexpr std::string_view harmless =
    " builtins.set builtins.frozenset builtins.complex builtins.slice builtins.range builtins.bytearray builtins.list"
    " builtins.dict builtins.tuple builtins.int builtins.float builtins.str builtins.bool builtins.object"
    " builtins.getattr builtins.bytes __builtin__.getattr __builtin__.long __builtin__.unicode __builtin__.str"
    " __builtin__.int __builtin__.float __builtin__.list __builtin__.dict __builtin__.tuple __builtin__.xrange"
    " __builtin__.slice __builtin__.range __builtin__.set __builtin__.frozenset __builtin__.complex "
    "__builtin__.bytearray __builtin__.object"
    " builtins.Ellipsis builtins.NotImplemented builtins.type __builtin__.Ellipsis __builtin__.NotImplemented"
    " copyreg._reconstructor types.SimpleNamespace types.MappingProxyType uuid.UUID uuid.SafeUUID"
    " logging.getLogger ";

std::optional<std::string_view> found(std::string_view list, std::string_view name) {
  if (name.empty() || name.find(' ') != std::string_view::npos) return std::nullopt;
  for (std::size_t at = list.find(name); at != std::string_view::npos; at = list.find(name, at + 1)) {
    if (list[at - 1] == ' ' && list[at + name.size()] == ' ') return list.substr(at, name.size());
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string_view> known_function(std::string_view name) { return found(functions, name); }
std::optional<std::string_view> known_type(std::string_view name) { return found(types, name); }
std::optional<std::string_view> known_script_function(std::string_view name) { return found(script_functions, name); }

bool runs_code(std::string_view name) {
  if (found(harmless, name)) return false;
  for (std::size_t end = name.find('.');; end = name.find('.', end + 1)) {
    if (found(dangerous, name.substr(0, end))) return true;
    if (end == std::string_view::npos) return false;
  }
}

}  // namespace afterimage
