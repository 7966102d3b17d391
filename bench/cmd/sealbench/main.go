// Sealbench measures what encryption at rest costs on a drive or file.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"sealbay/bench/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal ends the run with what there is; a second one kills.
	context.AfterFunc(ctx, stop)
	code := cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
