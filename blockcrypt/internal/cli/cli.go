// Package cli is the command line of sealvol.
//
// What it prints: results on standard output; one line "sealvol: ..." with the
// remedy on standard error when something went wrong. Exit code 0: done; 1: it
// could not be done, and nothing was changed unless the line says so; 2: the
// command line is wrong. No key ever stands on the command line or in output.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// app holds where a command reads and writes.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
}

// errUsage marks a wrong command line.
var errUsage = errors.New("usage")

func usage(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errUsage, fmt.Errorf(format, args...))
}

// Run carries out one command line and returns the exit code.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot(&app{stdin, stdout, stderr})
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		text, code := explain(err)
		fmt.Fprintf(stderr, "sealvol: %s\n", text)
		return code
	}
	return 0
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "sealvol",
		Short: "Make, open and mend encrypted volumes on drives and files that no node has in use",
		Long: `Make, open and mend encrypted volumes on drives and files that no node has in use.

A volume is a LUKS2 drive that opens under a key of 32 bytes. The key is read
raw from a file, or from standard input with "-":

    head -c 32 /dev/urandom > K && chmod 600 K
    truncate -s 64M F
    sealvol format --key-file K F
    echo hello | sealvol write --key-file K F
    sealvol read --key-file K --length 6 F

Without Sealbay, cryptsetup opens the drive with the key that rescue-key makes.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage("%w", err) })
	root.AddCommand(
		formatCommand(a), dumpCommand(a), openTestCommand(a), addKeyCommand(a), killKeyCommand(a), rescueKeyCommand(a),
		repairCommand(a), adoptCommand(a), backupCommand(a), restoreCommand(a), readCommand(a), writeCommand(a),
	)
	return root
}

// onDrive checks that a command was given exactly one drive.
func onDrive(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage("%s takes one drive or file, got %d arguments; try %q", c.Name(), len(args), "sealvol "+c.Name()+" --help")
	}
	return nil
}
