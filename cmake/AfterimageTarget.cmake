# What all our own targets share: include root, warnings as errors, sanitizers.
function(afterimage_target name)
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_compile_options(${name} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual)
  # GCC 12 sees overflows in its own std::string, and under sanitizers uninitialised values, that are not there.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    target_compile_options(${name} PRIVATE -Wno-restrict -Wno-stringop-overflow -Wno-array-bounds
                                           $<$<BOOL:${AFTERIMAGE_SANITIZE}>:-Wno-maybe-uninitialized>)
  endif()
  if(AFTERIMAGE_WERROR)
    target_compile_options(${name} PRIVATE -Werror)
  endif()
  if(AFTERIMAGE_SANITIZE)
    target_compile_options(${name} PRIVATE -fsanitize=${AFTERIMAGE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_link_options(${name} PUBLIC -fsanitize=${AFTERIMAGE_SANITIZE})
  endif()
endfunction()
