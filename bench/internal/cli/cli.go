// Package cli is the sealbench command: it reads flags, runs package bench and
// prints what package report makes of the result.
//
// Printing rules: the report goes to standard output, progress and errors to
// standard error. With --json - the JSON goes to standard output and the
// report to standard error. Colour only on a terminal and without NO_COLOR.
// Exit code 0 if the run is whole, whatever its verdict; 1 if it failed or was
// interrupted; 2 for wrong usage.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"sealbay/bench"
)

// errUsage marks an error as the caller's, for exit code 2.
var errUsage = errors.New("usage")

// errPartial: the report was printed, but is not whole.
var errPartial = errors.New("interrupted: the report covers whole rounds only")

// Run is the whole command.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:           "sealbench",
		Short:         "Measure what encryption at rest costs",
		Version:       bench.Version(),
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return errors.Join(errUsage, err) })
	root.AddCommand(runCommand(), cipherCommand(), probeCommand())
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	text, code := explain(err)
	if code == 2 {
		text += "\nTry: " + cmd.CommandPath() + " --help"
	}
	fmt.Fprintln(stderr, "sealbench: "+text)
	return code
}
