package cli

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"sealbay/appliance/rest"
)

const defaultPort = 8000 // of a node that serves remote clients

// app is one run of qq.
type app struct {
	ui     *ui
	socket string
	host   string // of another node; empty: the one behind socket
	port   int
	store  string // file of credentials for other nodes
}

// Run is qq: it carries out args and returns the exit status.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{ui: &ui{in: stdin, out: stdout, err: stderr}}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		return a.ui.fail(err)
	}
	return exitOK
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:              "qq",
		Short:            "Command a Sealbay node",
		Args:             cobra.ArbitraryArgs,
		SilenceErrors:    true,
		SilenceUsage:     true,
		TraverseChildren: true,
		RunE:             noCommand,
	}
	root.PersistentFlags().StringVar(&a.socket, "socket-path", rest.DefaultSocket, "the daemon's Unix `socket`")
	root.PersistentFlags().StringVar(&a.host, "host", "", "`name` or address of another node, reached over TLS")
	root.PersistentFlags().IntVar(&a.port, "port", defaultPort, "`port` of the other node")
	root.PersistentFlags().StringVar(&a.store, "credentials-store", filepath.Join(os.Getenv("HOME"), ".sealbay_cred"), "`file` that keeps the tokens of login")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(cmd, "%v", err) })
	root.AddCommand(a.encryptionCommands()...)
	root.AddCommand(a.driveCommands()...)
	root.AddCommand(a.nodeCommands()...)
	root.AddCommand(a.keyringCommands()...)
	root.AddCommand(a.probeCommands()...)
	root.AddCommand(a.loginCommands()...)
	return root
}

// get makes a command that prints the answer to one GET.
func (a *app) get(name, short, path string) *cobra.Command {
	return a.command(name, short, func(ctx context.Context) error { return a.printGet(ctx, path) })
}

func (a *app) printGet(ctx context.Context, path string) error {
	var answer any
	if err := a.call(ctx, "GET", path, nil, &answer); err != nil {
		return err
	}
	return a.ui.json(answer)
}

// command makes a command that takes no arguments beside its flags.
func (a *app) command(name, short string, run func(context.Context) error) *cobra.Command {
	return &cobra.Command{
		Use:                   name,
		Short:                 short,
		DisableFlagsInUseLine: true,
		Args:                  noArgs,
		RunE:                  func(cmd *cobra.Command, _ []string) error { return run(cmd.Context()) },
	}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(cmd, "unrecognized arguments: %s", strings.Join(args, " "))
	}
	return nil
}
