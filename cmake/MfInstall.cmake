# What gets installed: headers, both libraries, the tool, the documents, and the two ways by which
# other builds find them (pkg-config, CMake package).
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/memfabric)

install(DIRECTORY ${CMAKE_SOURCE_DIR}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h")
install(TARGETS mf_smem EXPORT memfabricTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS mf_smem_static EXPORT memfabricStaticTargets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
foreach(set memfabricTargets memfabricStaticTargets)
  install(EXPORT ${set} NAMESPACE memfabric:: DESTINATION ${package_dir})
endforeach()

file(RELATIVE_PATH bin_to_lib /prefix/${CMAKE_INSTALL_BINDIR} /prefix/${CMAKE_INSTALL_LIBDIR})
set_target_properties(mfcli PROPERTIES INSTALL_RPATH "$ORIGIN/${bin_to_lib}")
install(TARGETS mfcli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})

configure_package_config_file(${CMAKE_SOURCE_DIR}/cmake/memfabricConfig.cmake.in
                              ${CMAKE_BINARY_DIR}/memfabricConfig.cmake
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/memfabricConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/memfabricConfig.cmake
              ${CMAKE_BINARY_DIR}/memfabricConfigVersion.cmake
        DESTINATION ${package_dir})

# The file speaks of places relative to itself, so that the prefix can be moved.
file(RELATIVE_PATH pc_to_prefix /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
string(REGEX REPLACE "/$" "" pc_to_prefix "${pc_to_prefix}")
configure_file(${CMAKE_SOURCE_DIR}/cmake/memfabric.pc.in ${CMAKE_BINARY_DIR}/memfabric.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/memfabric.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

install(FILES ${CMAKE_SOURCE_DIR}/LICENSE ${CMAKE_SOURCE_DIR}/CHANGELOG.md
        DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY ${CMAKE_SOURCE_DIR}/docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR}
        FILES_MATCHING PATTERN "*.md" PATTERN "man" EXCLUDE)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/docs/man/man1 ${CMAKE_SOURCE_DIR}/docs/man/man3
        DESTINATION ${CMAKE_INSTALL_MANDIR})
