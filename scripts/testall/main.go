// Testall is `make test`: it runs every check and every test of the project,
// prints how far it is, what failed and what was skipped and why, and keeps all
// of it in out/test.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("testall", flag.ContinueOnError)
	flags.SetOutput(stderr)
	out := flags.String("out", "out/test", "folder for the logs and the summary")
	only := flags.String("only", "", "steps to run, comma-separated (default all)")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "testall: unexpected argument %q\n", flags.Arg(0))
		return 2
	}
	steps, err := chosen(*only)
	if err != nil {
		fmt.Fprintf(stderr, "testall: %v\n", err)
		return 2
	}
	r := &runner{out: *out, stdout: stdout}
	if err := r.all(ctx, steps); err != nil {
		fmt.Fprintf(stderr, "testall: %v\n", strings.TrimSpace(err.Error()))
		return 1
	}
	return 0
}
