// Package plugin finds, installs and chooses the XLA plugins that a graph is
// compiled by, and registers GoMLX's backends.
//
// A plugin is a shared library that exports GetPjrtApi, the entry of XLA's
// PJRT interface (openxla/xla, xla/pjrt/c/pjrt_c_api.h). It is looked for in
//
//   - $LAPIDARY_HOME/plugins, where [Install] puts it,
//   - the folders of $PJRT_PLUGIN_LIBRARY_PATH,
//   - the folders that go-xla installs into,
//   - Python's packages: jax_plugins/xla_cuda12 and xla_cuda13, libtpu,
//     lammps_jax_pjrt_cpu.
//
// [Best] says what to give to GoMLX. Loading a plugin needs cgo, on Linux or
// macOS; in other builds, and where no plugin is found, the answer is GoMLX's
// pure-Go backend, which needs nothing and is slow, with a sentence that says
// why. A plugin is machine code that runs with the rights of the program: it is
// checked to be what its packager published and to be a plugin, not to be
// benign.
//
// GOMLX_BACKEND, when set, is obeyed in place of the choice.
package plugin
