package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"lapidary"
	"lapidary/engine/graph/plugin"
)

func newEngineCmd() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "engine",
		Short: "List what models are computed by, and install XLA plugins",
		Long: `List the engines, and the XLA plugins with which the engine graph trains and
uses GPUs and TPUs. Plugins are looked for in $LAPIDARY_HOME/plugins, in
$PJRT_PLUGIN_LIBRARY_PATH, where go-xla installs them, and in Python's packages
(jax_plugins, libtpu). Without one the graph engine runs on a backend in pure Go,
slowly.`,
		Example: `  lapidary engine
  lapidary engine --json
  lapidary engine install cpu`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return listEngines(c.OutOrStdout(), asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	list := &cobra.Command{
		Use: "list", Short: c.Short, Example: "  lapidary engine list --json", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return listEngines(c.OutOrStdout(), asJSON) },
	}
	list.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	c.AddCommand(list, newEngineInstallCmd())
	return c
}

func newEngineInstallCmd() *cobra.Command {
	var from string
	var asJSON bool
	c := &cobra.Command{
		Use:   "install cpu|cuda|tpu",
		Short: "Install an XLA plugin for the engine graph",
		Long: `Install an XLA plugin below $LAPIDARY_HOME/plugins, in place of an earlier one of
the same kind. What was fetched before an interruption is not fetched again.

  cpu    63 MB; the Python package lammps-jax-pjrt-cpu (Linux, x86-64), or GoMLX's
         release files (Linux, macOS, Windows)
  cuda   over 2 GB: JAX's plugin package with NVIDIA's libraries, which come under
         NVIDIA's licence; cuda12 and cuda13 name a version, else the driver
         decides. The driver itself has to be there.
  tpu    137 MB: the Python package libtpu, under Google Cloud's terms

Python packages are fetched by the pip on this machine; nothing of them is run
until a graph is. A plugin is machine code: take it from where you trust.`,
		Example: `  lapidary engine install cpu
  lapidary engine install cuda --from pip
  lapidary engine install cpu --from ./pjrt_c_api_cpu_plugin.so`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"cpu", "cuda", "cuda12", "cuda13", "tpu"},
		RunE: func(c *cobra.Command, args []string) error {
			bars := newBars(c.ErrOrStderr())
			p, err := plugin.Install(c.Context(), args[0], from, bars)
			bars.close(err == nil)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), p)
			}
			fmt.Fprintf(c.OutOrStdout(), "%s %s  %s\nlicence: %s\n", p.Name, p.Version, p.Path, p.Licence)
			return nil
		},
	}
	c.Flags().StringVar(&from, "from", "", "pip, go-xla, or the path of a plugin (default what suits the kind)")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return c
}

// engineJSON is how an engine is written down; the fields from Backend on are
// those of graph.
type engineJSON struct {
	Name    string   `json:"name"`
	About   string   `json:"about"`
	Backend string   `json:"backend,omitempty"` // GoMLX's configuration
	Devices []string `json:"devices,omitempty"`
	Patched bool     `json:"patched,omitempty"` // go-xla has our patch: training keeps its state once
	Note    string   `json:"note,omitempty"`    // why it is not the best it could be
}

const graphEngine = "graph"

var engineAbout = map[string]string{
	"cpu":       "the fast one: quantised, vector kernels",
	"cpu-fast":  "faster prompts, a little less exact",
	"ref":       "the plain one, by which the others are checked",
	graphEngine: "the differentiable one: XLA, for training, GPUs and TPUs",
}

func listEngines(w io.Writer, asJSON bool) error {
	names := lapidary.Engines()
	if !slices.Contains(names, graphEngine) {
		names = append(names, graphEngine)
	}
	engines := make([]engineJSON, 0, len(names))
	for _, name := range names {
		e := engineJSON{Name: name, About: engineAbout[name]}
		if name == graphEngine {
			e.look()
		}
		engines = append(engines, e)
	}
	plugins, broken := plugin.List()
	if asJSON {
		doc := map[string]any{"engines": engines, "plugins": append([]plugin.Plugin{}, plugins...)}
		return cmp.Or(printJSON(w, doc), broken)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ENGINE\tABOUT")
	for _, e := range engines {
		fmt.Fprintf(t, "%s\t%s\n", e.Name, e.About)
		e.details(t)
	}
	if len(plugins) > 0 {
		fmt.Fprintln(t, "\nPLUGIN\tKIND\tVERSION\tFROM\tPATH")
	}
	for _, p := range plugins {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", p.Name, p.Kind, cmp.Or(p.Version, "-"), p.Where, p.Path)
	}
	return cmp.Or(t.Flush(), broken)
}

// look opens what graphs would run on. A list is no place to fail over a
// plugin that cannot be loaded: it is noted.
func (e *engineJSON) look() {
	c, err := plugin.Best("auto")
	if err != nil {
		e.Note = err.Error()
		return
	}
	e.Backend, e.Note = c.Config, c.Reason
	b, err := c.Open()
	if err != nil {
		e.Note = err.Error()
		return
	}
	defer b.Finalize()
	e.Devices, e.Patched = plugin.Devices(b), plugin.Patched(b)
	if c.Plugin != nil && !e.Patched {
		e.Note = "go-xla is not patched in this build (make build does it): training holds its state twice"
	}
}

func (e *engineJSON) details(w io.Writer) {
	if e.Backend != "" {
		fmt.Fprintf(w, "\ton %s\n", e.Backend)
	}
	for _, d := range e.Devices {
		fmt.Fprintf(w, "\tdevice %s\n", d)
	}
	if e.Note != "" {
		fmt.Fprintf(w, "\tnote: %s\n", e.Note)
	}
}
