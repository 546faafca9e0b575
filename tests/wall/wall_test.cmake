# Links tests/wall/reader.cpp with the attacks, in the build folder BUILD: the linker must miss each reader that it
# calls. With the readers' own library it must link, or the first would prove nothing.
function(build target result output)
  execute_process(COMMAND ${CMAKE_COMMAND} --build ${BUILD} --config ${CONFIG} --target ${target}
                  RESULT_VARIABLE code OUTPUT_VARIABLE text ERROR_VARIABLE text)
  set(${result} ${code} PARENT_SCOPE)
  set(${output} "${text}" PARENT_SCOPE)
endfunction()

build(attacks_with_reader code output)
if(code EQUAL 0)
  message(FATAL_ERROR "attacks link readers of data sets")
endif()
foreach(reader load_images read_cifar read_csv read_idx read_image)
  if(NOT output MATCHES "undefined reference to `afterimage::${reader}\\(|undefined symbol: afterimage::${reader}\\(")
    message(FATAL_ERROR "the linker did not miss afterimage::${reader}:\n${output}")
  endif()
endforeach()

build(attacks_with_reader_and_data code output)
if(NOT code EQUAL 0)
  message(FATAL_ERROR "with the readers' library it does not link either:\n${output}")
endif()
