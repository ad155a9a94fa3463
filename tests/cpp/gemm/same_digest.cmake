# Runs TEST with 1, 2 and 4 threads: all succeed and print the same digest.
foreach(threads 1 2 4)
  execute_process(COMMAND ${CMAKE_COMMAND} -E env MLX_NUM_THREADS=${threads} ${TEST}
                  OUTPUT_VARIABLE output RESULT_VARIABLE code)
  message("${threads} threads:\n${output}")
  if(NOT code EQUAL 0)
    message(FATAL_ERROR "failed with ${threads} threads")
  endif()
  string(REGEX MATCH "digest [0-9a-f]+" digest "${output}")
  if(DEFINED first AND NOT digest STREQUAL first)
    message(FATAL_ERROR "results depend on the number of threads")
  endif()
  set(first "${digest}")
endforeach()
